"""Reproducible randomness: spectrum k of a split is the same whatever the batch size or worker count.

Labels and conditions are drawn `STARS` at a time, with a generator keyed by (seed, split, group). Noise on
the CPU is drawn in tiles of `TILE` spectra, keyed by (seed, split, epoch, tile), and on an accelerator in
blocks of `BLOCK`, with the device's own generator. No two keys give one stream (see each function).
"""

from __future__ import annotations

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

#: What keys the streams of noise on a CPU: see `noise_key`.
NoiseKey = tuple[int, int]

_EPOCH_BLOCKS = 1 << 20  # 67 million spectra before two epochs' noise counters could meet
_COUNTER_BITS = 30
_EPOCH_BITS = 56


def check_seed(seed: int) -> None:
    """Raise ConfigError unless `seed` is one that files and generators can hold."""
    if not 0 <= seed < SEEDS:
        raise ConfigError(f"seed: expected a whole number from 0 to 2^63 - 1, got {seed}")


def label_generator(seed: int, split: str, group: int) -> np.random.Generator:
    """Return the generator of labels and conditions of `STARS` stars: counter-based, with a 128-bit key."""
    return np.random.Generator(np.random.Philox(seed=(int(seed), split_number(split), int(group))))


def noise_key(seed: int, split: str, epoch: int) -> NoiseKey:
    """Return two 64-bit words: the hashed seed, and (split, epoch) packed without loss."""
    hashed = np.random.SeedSequence(int(seed)).generate_state(1, np.uint64)[0]
    return int(hashed), (split_number(split) << _EPOCH_BITS) | (epoch % (1 << _EPOCH_BITS))


def noise_generator(
    seed: int, split: str, epoch: int, block: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Return PyTorch's noise generator of one block on `device`.

    Noise drawn on different kinds of device differs (different engines); on one kind it is reproducible.
    PyTorch's engines take 32-bit seeds; a bijection keeps every (split, epoch, block) apart, instead of
    hashing and hoping.
    """
    counter = (epoch * _EPOCH_BLOCKS + block) % (1 << _COUNTER_BITS)
    word = (split_number(split) << _COUNTER_BITS) | counter
    mixed = _mix32(word ^ (int(np.random.SeedSequence(int(seed)).generate_state(1)[0])))
    return torch.Generator(device=device).manual_seed(mixed)


def _mix32(word: int) -> int:
    """Return a bijective scrambling of a 32-bit word (finaliser of MurmurHash3, Appleby 2011)."""
    word ^= word >> 16
    word = (word * 0x85EBCA6B) & 0xFFFFFFFF
    word ^= word >> 13
    word = (word * 0xC2B2AE35) & 0xFFFFFFFF
    return word ^ (word >> 16)
