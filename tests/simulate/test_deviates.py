"""Noise deviates: exactly normal to float32, independent within a piece and between pieces.

Statistical tests use fixed seeds and limits that a correct generator would fail once in about 10^4 seeds.
"""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from specvit.simulate import SPLITS
from specvit.simulate.deviates import NoiseStream, normal_from_bits
from specvit.simulate.seeding import TILE, noise_key

SIZE = TILE * 4096


def piece(number: int, seed: int = 3, split: str = "train", epoch: int = 0, size: int = SIZE) -> np.ndarray:
    out = torch.empty(size)
    NoiseStream(noise_key(seed, split, epoch), size).fill(number, out)
    return out.numpy()


@pytest.fixture(scope="module")
def pieces():
    """Four million deviates, shape (32, SIZE)."""
    return np.stack([piece(k) for k in range(32)])


def test_deviates_are_those_of_box_and_muller():
    words = np.random.default_rng(1).integers(-(2**31), 2**31, 2000, dtype=np.int32)
    extremes = np.array([0, 1, -1, 2**31 - 1, -(2**31)], dtype=np.int32)
    words[:25], words[1000:1025] = np.repeat(extremes, 5), np.tile(extremes, 5)
    u = np.abs((words[:1000] | 1).astype(np.float64)) / 2**31
    angle = np.pi * words[1000:] / 2**31
    radius = np.sqrt(-2 * np.log(u))
    out = torch.empty(2000)
    normal_from_bits(words.copy(), out, np.empty(1000, np.float32))
    expected = np.concatenate([radius * np.sin(angle), radius * np.cos(angle)])
    # A float32 u near 1 is known to 2^-25, and with it the smallest radii.
    allowed = 2e-6 + 2.0**-24 / np.maximum(np.tile(radius, 2), 2.0**-12)
    assert (np.abs(out.numpy() - expected) < allowed).all()


def test_moments_and_distribution_are_normal(pieces):
    z = pieces.astype(np.float64).ravel()
    count = z.size
    for order, moment in enumerate([0, 1, 0, 3, 0, 15, 0, 105], start=1):
        # Var(z^k) = (2k - 1)!! - moment².
        spread = np.sqrt((np.prod(np.arange(2 * order - 1, 0, -2.0)) - moment**2) / count)
        assert abs((z**order).mean() - moment) < 4 * spread, order
    assert stats.kstest(z, "norm").pvalue > 1e-4
    edges = stats.norm.ppf(np.linspace(0, 1, 1001))
    assert stats.chisquare(np.histogram(z, edges)[0]).pvalue > 1e-4


def test_tails_are_normal(pieces):
    for limit in (3.0, 3.5, 4.0, 4.5, 5.0):
        for beyond in ((pieces > limit).sum(), (pieces < -limit).sum()):
            expected = pieces.size * stats.norm.sf(limit)
            assert stats.poisson.sf(beyond - 1, expected) > 1e-4
            assert stats.poisson.cdf(beyond, expected) > 1e-4


def test_the_farthest_deviate_is_that_of_the_smallest_uniform_number():
    words = np.array([1, 0], dtype=np.int32)
    out = torch.empty(2)
    normal_from_bits(words, out, np.empty(1, np.float32))
    assert out.numpy() == pytest.approx([0.0, np.sqrt(62 * np.log(2.0))], rel=1e-6)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return the correlation in units of its standard error."""
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).mean() / (a.std() * b.std()) * np.sqrt(a.size))


@pytest.mark.parametrize("power", [1, 2])
def test_deviates_of_a_piece_are_independent(pieces, power):
    """Neighbouring pixels, the same pixel of neighbouring spectra, and the two that share a radius."""
    z = pieces[:8].astype(np.float64) ** power
    for lag in (1, 2, 3, 64, 4095, 4096, 4097, SIZE // 2 - 1, SIZE // 2, SIZE // 2 + 1):
        assert abs(correlation(z[:, lag:].ravel(), z[:, :-lag].ravel())) < 4.5, lag


@pytest.mark.parametrize("power", [1, 2])
def test_pieces_epochs_splits_and_seeds_are_independent(power):
    keys = list(itertools.product((0, 1, 2**40), (1, 2), SPLITS[:2], (0, 1)))
    noise = [piece(p, seed, split, epoch, 65536) ** power for p, seed, split, epoch in keys]
    pairs = [abs(correlation(a, b)) for a, b in itertools.combinations(noise, 2)]
    assert max(pairs) < 5  # 276 pairs
    assert np.sqrt(np.mean(np.square(pairs))) == pytest.approx(1, abs=0.2)


def test_a_piece_does_not_depend_on_the_pieces_before_it():
    stream = NoiseStream(noise_key(3, "test", 1), 256)
    first, again, alone = torch.empty(256), torch.empty(256), torch.empty(256)
    stream.fill(7, first)
    stream.fill(8, alone)
    stream.fill(7, again)
    assert torch.equal(first, again)
    assert not torch.isin(first, alone).any()
    NoiseStream(noise_key(3, "test", 1), 256).fill(8, again)
    assert torch.equal(alone, again)
