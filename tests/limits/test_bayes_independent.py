"""Posteriors of real spectra against a second sampler: plain importance sampling in labels, errors by jackknife.

It shares the likelihood, which `test_bayes_likelihood` holds against scipy, and nothing else: no adaptation, no
coordinates, no formula of an estimate. Its proposal, one wide t and the box, is fixed before its first draw.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import stats

from specvit.limits.bayes import LEVELS, BayesCeiling, Observation, Posterior, log_likelihood
from specvit.simulate import Simulator
from specvit.spectra import LOW_T_BOX, SpectraBatch

BLOCKS = 20
BOX_SHARE = 0.1
LOW, HIGH = np.array(LOW_T_BOX.low), np.array(LOW_T_BOX.high)


def jackknife(statistic, values: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a statistic of weighted values free of its bias of first order, and its standard error."""
    block = np.arange(len(weight)) % BLOCKS
    whole = statistic(values, weight)
    left = np.array([statistic(values[block != b], weight[block != b]) for b in range(BLOCKS)])
    error = np.sqrt((BLOCKS - 1) * left.var(0))
    return BLOCKS * whole - (BLOCKS - 1) * left.mean(0), error


def weighted_mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return weight @ values / weight.sum()


def weighted_variance(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return weighted_mean((values - weighted_mean(values, weight)) ** 2, weight)


@dataclass(frozen=True)
class Difference:
    """What separates two samplers, in combined standard errors, shape (stars, labels) or (stars, labels, levels)."""

    mean: np.ndarray
    variance: np.ndarray
    level: np.ndarray
    log_ratio: np.ndarray


def reference_draws(
    simulator: Simulator, star: Observation, mean: np.ndarray, covariance: np.ndarray, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (S, P) and weights (S,) of one star; draws outside the box have weight zero and no labels."""
    rng = np.random.default_rng(seed)
    wide = stats.multivariate_t(mean, 1.5**2 * 0.6 * covariance, df=5)  # variance of a t: ν/(ν-2) = 1/0.6
    labels = wide.rvs(count, random_state=rng)
    box = rng.random(count) < BOX_SHARE
    labels[box] = rng.uniform(LOW, HIGH, (int(box.sum()), len(LOW)))
    inside = ((labels >= LOW) & (labels <= HIGH)).all(1)
    kept = labels[inside]
    normal = torch.from_numpy(rng.standard_normal((1, len(kept))))
    score = log_likelihood(simulator.observed, star, torch.from_numpy(kept)[None], normal)[0][0].numpy()
    log_box = np.log(BOX_SHARE) - np.log(HIGH - LOW).sum()
    log_q = np.logaddexp(np.log(1 - BOX_SHARE) + wide.logpdf(kept), log_box)
    weight = np.zeros(count)
    weight[inside] = np.exp(score - log_q - (score - log_q).max())
    return labels, weight


def compare(
    simulator: Simulator, stars: Observation, posterior: Posterior, count: int, seed: int
) -> Difference:
    rows = []
    for k in range(len(stars)):
        mean, covariance = posterior.mean[k].numpy(), posterior.covariance[k].numpy()
        labels, weight = reference_draws(simulator, stars[k : k + 1], mean, covariance, count, seed + k)
        at = posterior.quantiles[k].numpy()

        def below(values: np.ndarray, weight: np.ndarray, at: np.ndarray = at) -> np.ndarray:
            return np.stack([weighted_mean(values < at[:, q], weight) for q in range(len(LEVELS))], -1)

        found = [jackknife(f, labels, weight) for f in (weighted_mean, weighted_variance, below)]
        ours = (mean, np.diag(covariance), np.array(LEVELS))
        errors = posterior.mean_error[k], posterior.variance_error[k], posterior.level_error[k]
        pulls = [
            (mine - theirs) / np.hypot(error.numpy(), their_error)
            for mine, error, (theirs, their_error) in zip(ours, errors, found, strict=True)
        ]
        rows.append((*pulls, np.log(np.diag(covariance) / found[1][0])))
    return Difference(*(np.array(part) for part in zip(*rows, strict=True)))


@dataclass(frozen=True)
class Group:
    """Stars seen under one noise level, at one magnitude or over those of the survey (None)."""

    stars: int
    noise_level: float = 1.0
    mag: float | None = None


def sampled(simulator: Simulator, groups: list[Group], draws: int) -> tuple[np.ndarray, Difference, bool]:
    """Return S/N, differences to the second sampler, and whether every star of every group has converged."""
    snr, differences, converged = [], [], True
    for seed, group in enumerate(groups):
        world = Simulator(
            simulator.observed, simulator.instrument, simulator.prior, noise_level=group.noise_level
        )
        batch = draw(world, group, seed)
        stars = Observation.from_batch(batch, world.instrument, group.noise_level)
        posterior = BayesCeiling(world.observed, world.prior, 1 << 15, seed=seed).posterior(stars)
        differences.append(compare(world, stars, posterior, draws, 1000 * seed))
        snr.append(batch.snr.numpy())
        converged &= bool(posterior.converged.all())
    joined = Difference(*(np.concatenate([getattr(d, f) for d in differences]) for f in vars(differences[0])))
    return np.concatenate(snr), joined, converged


def draw(world: Simulator, group: Group, seed: int) -> SpectraBatch:
    if group.mag is None:
        return world.draw("test", 31 + seed, 0, group.stars)
    labels = world.prior.sample(group.stars, np.random.default_rng(seed))
    noise = torch.randn(group.stars, world.grid.size, generator=torch.Generator().manual_seed(seed))
    return world.observe(labels, world.instrument.fixed_conditions(group.stars, mag=group.mag), noise)


def check(difference: Difference, rows: np.ndarray) -> None:
    """Pulls of unit scatter, no shift. Labels of a star are correlated: their count stands for the worst case."""
    stars = int(rows.sum())
    for pull in (difference.mean[rows], difference.variance[rows], difference.level[rows].reshape(stars, -1)):
        scatter = np.sqrt((pull**2).mean(0))
        # rms of n pulls scatters by 1/√(2n) if normal; those of variances have longer tails: false alarm below 1e-3.
        assert (scatter < 1 + 5 / np.sqrt(2 * stars)).all()
        assert (np.abs(pull.mean(0)) < 4.5 / np.sqrt(stars)).all()
        assert np.abs(pull).max() < 6
    shift = difference.log_ratio[rows].mean(1)
    assert abs(shift.mean()) < 4 * shift.std(ddof=1) / np.sqrt(stars)


def test_sixteen_posteriors_are_those_of_a_second_sampler(simulator):
    groups = [Group(7), Group(3, mag=17.0), Group(3, noise_level=0.1), Group(3, noise_level=2.0)]
    _, difference, _ = sampled(simulator, groups, draws=8000)
    check(difference, np.ones(16, dtype=bool))


@pytest.mark.slow
def test_two_hundred_posteriors_are_those_of_a_second_sampler(simulator):
    """Mean of ln(variance / variance): sees 0.6 % over all stars (4 σ), 1.5 % in one S/N bin."""
    groups = [
        *(Group(120), Group(20, mag=17.0), Group(20, mag=19.0)),
        *(Group(20, noise_level=0.1), Group(20, noise_level=2.0)),
    ]
    snr, difference, _ = sampled(simulator, groups, draws=20_000)
    shift = difference.log_ratio.mean(1)
    assert shift.std(ddof=1) / np.sqrt(200) < 0.0015
    check(difference, np.ones(200, dtype=bool))
    edges = [0, 4, 6, 9, 14, 50, 10_000]
    for low, high in itertools.pairwise(edges):
        rows = (snr >= low) & (snr < high)
        assert rows.sum() >= 10, (low, high)
        check(difference, rows)
