"""Reproducible randomness: spectrum k of a split is the same whatever the batch size or worker count.

Spectra are drawn in blocks of `BLOCK`; a block has its own generators, keyed by (seed, split, epoch, block).
Labels and conditions come from a counter-based generator with a 128-bit key, so that splits cannot share a
draw. Noise comes from the device's own generator: PyTorch's CPU engine takes 32-bit seeds only, hence the
bijection below that keeps every (split, epoch, block) apart instead of hashing and hoping.
"""

from __future__ import annotations

import numpy as np
import torch

from specvit.errors import ConfigError

#: Spectra per block. 64 x 4096 float32 = 1 MiB: the working arrays of a block stay in a core's cache.
BLOCK = 64

SPLITS = ("train", "validation", "test", "calibration")

_EPOCH_BLOCKS = 1 << 20  # 67 million spectra before two epochs' noise counters could meet
_COUNTER_BITS = 30


def split_number(split: str) -> int:
    """Return the stable number of a split; ConfigError lists the known ones."""
    if split not in SPLITS:
        raise ConfigError(f"split: '{split}' is not known; choose one of {', '.join(SPLITS)}")
    return SPLITS.index(split)


def label_generator(seed: int, split: str, block: int) -> np.random.Generator:
    """Return the generator of labels and conditions of one block."""
    return np.random.Generator(np.random.Philox(seed=(int(seed), split_number(split), int(block))))


def noise_generator(
    seed: int, split: str, epoch: int, block: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Return the noise generator of one block on `device`.

    Noise drawn on different kinds of device differs (different engines); on one kind it is reproducible.
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
