import itertools

import numpy as np
import pytest
import torch

from specvit.errors import ConfigError
from specvit.simulate import SPLITS
from specvit.simulate.seeding import _mix32, label_generator, noise_generator


def test_noise_seeds_never_meet():
    """The scrambling is a bijection: distinct (split, epoch, block) give distinct engine seeds."""
    seeds = {
        noise_generator(42, split, epoch, block).initial_seed()
        for split, epoch, block in itertools.product(SPLITS, range(5), range(300))
    }
    assert len(seeds) == len(SPLITS) * 5 * 300


def test_mixing_is_a_bijection_on_a_sample():
    words = np.random.default_rng(0).choice(2**32, 200_000, replace=False)
    assert len({_mix32(int(word)) for word in words}) == len(np.unique(words))


def test_label_streams_differ_between_splits_seeds_and_blocks():
    first = {
        (seed, split, block): tuple(label_generator(seed, split, block).random(2))
        for seed, split, block in itertools.product((1, 2), SPLITS, (0, 1))
    }
    assert len(set(first.values())) == len(first)
    assert first[1, "train", 0] == tuple(label_generator(1, "train", 0).random(2))


def test_noise_of_neighbouring_blocks_is_uncorrelated():
    a, b = (torch.randn(200_000, generator=noise_generator(0, "train", 0, k)) for k in (0, 1))
    assert abs(float((a * b).mean())) < 5 / np.sqrt(200_000)


def test_unknown_splits_are_refused():
    with pytest.raises(ConfigError, match="choose one of train, validation, test"):
        label_generator(0, "dev", 0)
