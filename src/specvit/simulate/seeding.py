"""Reproducible randomness: spectrum k of a split is the same whatever the batch size or worker count.

Labels and conditions are drawn `STARS` at a time, with a generator keyed by (seed, split, group). Noise on
the CPU is drawn in tiles of `TILE` spectra, keyed by (seed, split, epoch, tile), and on an accelerator in
blocks of `BLOCK`, with the device's own generator. Within a seed no two keys give one stream, and no star of one
seed is a star of another, whatever their sizes (see each function).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from specvit.errors import ConfigError
from specvit.simulate.splits import split_number

#: Stars whose labels and conditions are drawn together: enough to hide the cost of the small steps per star.
STARS = 2048

#: Spectra whose matrix products are made together on a CPU, and whose noise is drawn together elsewhere.
BLOCK = 64

#: Spectra computed together on a CPU; 32 x 4096 float32 = 512 kB: few enough to stay in the caches.
TILE = 32

#: Seeds run from 0 to this, exclusive: what a signed 64-bit attribute of a file can hold.
SEEDS = 2**63

#: Groups of `STARS` run from 0 to this, exclusive: a word of the key, 8.8 10^12 stars.
GROUPS = 2**32

#: What keys the streams of noise on a CPU: see `noise_key`.
NoiseKey = tuple[int, int]

_EPOCH_BLOCKS = 1 << 20  # 67 million spectra before two epochs' noise counters could meet
_COUNTER_BITS = 30
_EPOCH_BITS = 56
_WORD = 2**32


def check_seed(seed: int) -> None:
    """Raise ConfigError unless `seed` is one that files and generators can hold."""
    if not 0 <= seed < SEEDS:
        raise ConfigError(f"seed: expected a whole number from 0 to 2^63 - 1, got {seed}")


def entropy_words(seed: int, first: int, second: int = 0) -> tuple[int, int, int, int]:
    """Return four 32-bit words for NumPy's `SeedSequence`: other arguments, other words, and other states.

    `SeedSequence` takes a whole number of any size for as many words as it needs and fills up with zeros, so that
    (42, 1, 2) and (42 + 2^32, 2, 0) are the same to it: 42, 1, 2, 0. Here each argument has words of its own, the
    upper half of the seed the last; seeds below 2^32 keep the streams they have as a tuple. Four words are its
    pool, which it mixes by bijections (odd factors, shifts, additions of what stays), so no two states are alike.

    Args:
        seed: 0 to 2^63 - 1.
        first, second: 0 to 2^32 - 1.

    Raises:
        ConfigError: for a number that its words cannot hold.
    """
    check_seed(seed)
    for name, number in (("first", first), ("second", second)):
        if not 0 <= number < _WORD:
            raise ConfigError(f"random stream: expected {name} from 0 to 2^32 - 1, got {number}")
    return int(seed) % _WORD, int(first), int(second), int(seed) // _WORD


def label_generator(seed: int, split: str, group: int) -> np.random.Generator:
    """Return the generator of labels and conditions of `STARS` stars: counter-based, with a 128-bit key.

    The key is the state of four words of entropy, so no two of (seed, split, group) have one.
    """
    if not 0 <= group < GROUPS:
        raise ConfigError(f"draw: stars are numbered from 0 to {GROUPS * STARS - 1}, got {group * STARS}")
    return np.random.Generator(np.random.Philox(seed=entropy_words(seed, split_number(split), group)))


def noise_key(seed: int, split: str, epoch: int) -> NoiseKey:
    """Return two 64-bit words: the hashed seed, and (split, epoch) packed without loss.

    A seed alone is never filled up to another one; two of them share a hash by chance only, one pair in 2^64.
    """
    hashed = np.random.SeedSequence(int(seed)).generate_state(1, np.uint64)[0]
    return int(hashed), (split_number(split) << _EPOCH_BITS) | (epoch % (1 << _EPOCH_BITS))


def noise_generator(
    seed: int, split: str, epoch: int, block: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Return PyTorch's noise generator of one block on `device`; see `noise_seeds`.

    Noise drawn on different kinds of device differs (different engines); on one kind it is reproducible.
    """
    return torch.Generator(device=device).manual_seed(noise_seeds(seed, split, epoch, (block,))[0])


def noise_seeds(seed: int, split: str, epoch: int, blocks: Iterable[int]) -> list[int]:
    """Return the seeds of PyTorch's noise generator for some blocks: one for all of them is made once and set anew.

    PyTorch's engines take 32-bit seeds; a bijection keeps every (split, epoch, block) of a seed apart, instead of
    hashing and hoping. Another seed orders the same 2^32 streams differently: its stars are others, the noise of
    some block is not.
    """
    hashed, high = (
        int(np.random.SeedSequence(int(seed)).generate_state(1)[0]),
        split_number(split) << _COUNTER_BITS,
    )
    counters = ((epoch * _EPOCH_BLOCKS + block) % (1 << _COUNTER_BITS) for block in blocks)
    return [_mix32((high | counter) ^ hashed) for counter in counters]


def _mix32(word: int) -> int:
    """Return a bijective scrambling of a 32-bit word (finaliser of MurmurHash3, Appleby 2011)."""
    word ^= word >> 16
    word = (word * 0x85EBCA6B) & 0xFFFFFFFF
    word ^= word >> 13
    word = (word * 0xC2B2AE35) & 0xFFFFFFFF
    return word ^ (word >> 16)
