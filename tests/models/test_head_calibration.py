"""Recalibrated errors against worlds whose true errors are known."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from specvit.models.calibration import Calibration
from specvit.models.heads import QUANTILES, Head
from specvit.spectra import LOW_T_BOX, LabelSpace

SPACE = LabelSpace(("log_g",), ("dex",), (1.0,), (5.0,))


def world(count, seed, factor):
    """Gaussian errors of true size `factor(stated, level)` times the stated one, over a decade of stated errors.

    Returns error, stated error, noise level and stated probability below the truth, as `Calibration.fit` takes them.
    """
    random = np.random.default_rng(seed)
    level = random.uniform(-1, 1, count)
    stated = np.exp(random.uniform(np.log(0.05), np.log(0.5), count))
    error = factor(stated, level) * stated * random.standard_normal(count)
    error, stated, below = (torch.from_numpy(a)[:, None] for a in (error, stated, norm.cdf(error / stated)))
    return error, stated, torch.from_numpy(level), below


def held(error, stated, shares):
    """Whether the central 68 and 95 % of N(0, stated), corrected to `shares`, hold the errors; (N, 2)."""
    quantiles = torch.from_numpy(norm.ppf(shares))[:, 0] * stated
    return (quantiles[:, [1, 0]] <= error) & (error <= quantiles[:, [3, 4]])


def test_before_it_is_fitted_it_changes_nothing():
    calibration = Calibration(2, QUANTILES)
    std, level = 10 ** (4 * torch.rand(50, 2, dtype=torch.float64) - 2), 10 * torch.randn(50)
    torch.testing.assert_close(calibration.std(std, level), std, rtol=1e-14, atol=0)
    expected = torch.tensor(QUANTILES).double().expand(50, 2, 5)
    torch.testing.assert_close(calibration.corrected(std, level)[1], expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    "factor",
    [
        lambda s, v: 1.0,
        lambda s, v: 0.6,
        lambda s, v: 1.5,
        lambda s, v: 0.6 + 1.5 * s,
        lambda s, v: np.exp(0.5 * v),
        lambda s, v: (0.6 + 1.5 * s) * np.exp(-0.5 * v),
    ],
    ids=["right", "too wide", "too narrow", "by error", "by level", "by both"],
)
def test_errors_and_quantiles_hold_after_it_wherever_they_did_not(factor):
    calibration = Calibration(1, QUANTILES).fit(*world(20_000, 1, factor))
    error, stated, level, _ = world(20_000, 2, factor)
    corrected, inside = (
        calibration.std(stated, level),
        held(error, stated, calibration.corrected(stated, level)[1]),
    )
    quarters = [np.array_split(np.argsort(v), 4) for v in (stated[:, 0].numpy(), level.numpy())]
    for rows in itertools.chain(*quarters):
        ratio = (error[rows] / corrected[rows]).square().mean().sqrt()
        # 5,000 stars: 1 % error of a standard deviation, twice as much for fit and test together; 4 sigma.
        assert float(ratio) == pytest.approx(1, abs=0.06)
        # Binomial errors are 0.7 and 0.3 points here, in the fit too.
        np.testing.assert_allclose(inside[rows].double().mean(dim=0), [0.68, 0.95], rtol=0, atol=0.03)


def test_few_spectra_do_not_make_intervals_narrow():
    """The share held by quantiles of 400 spectra, over 25 such sets: standard errors are 0.5 and 0.25 points."""
    shares = []
    for seed in range(25):
        calibration = Calibration(1, QUANTILES).fit(*world(400, seed, lambda s, v: 1.0))
        error, stated, level, _ = world(2000, 100 + seed, lambda s, v: 1.0)
        shares.append(held(error, stated, calibration.corrected(stated, level)[1]).double().mean(dim=0))
    np.testing.assert_allclose(torch.stack(shares).mean(dim=0), [0.68, 0.95], rtol=0, atol=0.015)


@given(count=st.integers(2, 80), ties=st.booleans(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_stated_quantiles_never_cross(count, ties, seed):
    """Whatever it was fitted to: few spectra, equal ones, probabilities of exactly 0 and 1."""
    random = np.random.default_rng(seed)
    error, std = random.standard_normal((count, 2)), np.exp(3 * random.standard_normal((count, 2)))
    level, below = random.standard_normal(count), random.uniform(-0.2, 1.2, (count, 2)).clip(0, 1)
    if ties:
        std, level, below = np.round(std) + 1, np.round(level), np.round(below)
    calibration = Calibration(2, QUANTILES).fit(*(torch.from_numpy(a) for a in (error, std, level, below)))
    std, level = torch.logspace(-4, 4, 60).double()[:, None].expand(-1, 2), 3 * torch.randn(60)
    shares, corrected = calibration.corrected(std, level)[1], calibration.std(std, level)
    assert bool((shares.diff(dim=-1) >= -1e-12).all())
    assert bool(((shares >= -1e-12) & (shares <= 1 + 1e-12)).all())
    assert bool((torch.isfinite(corrected) & (corrected >= 0)).all())


def test_equal_stated_errors_are_one_correction():
    error, _, _, _ = world(4000, 4, lambda s, v: 1.0)
    std, level = torch.full_like(error, 0.2), torch.zeros(len(error))
    calibration = Calibration(1, QUANTILES).fit(error, std, level, torch.full_like(error, 0.5))
    expected = error.square().mean().sqrt()
    torch.testing.assert_close(calibration.std(std, level)[0, 0], expected, rtol=1e-6, atol=0)


def logits(mean, std, bins=64):
    """Outputs of an ordinal head that say N(mean, std)."""
    edges = torch.linspace(1.0, 5.0, bins + 1, dtype=torch.float64)
    cumulative = torch.distributions.Normal(mean[:, None], std[:, None]).cdf(edges)
    return cumulative.diff(dim=1).clamp(min=1e-30).log()[:, None]


def test_an_ordinal_head_learns_that_it_is_sharper_than_its_bins():
    """True errors of 0.15 to 1 bin by noise level: the histogram states about a bin, the calibrated head the truth."""
    torch.manual_seed(0)
    head = Head(4, 1, SPACE, "ordinal")
    level = 2 * torch.rand(40_000, 1, dtype=torch.float64) - 1
    std = 0.024 * torch.exp(0.95 * level[:, 0])
    mean = 2 + 2 * torch.rand(40_000, dtype=torch.float64)
    truth, raw = mean + std * torch.randn(40_000, dtype=torch.float64), logits(mean, std)
    before = head.decode(raw, level)
    head.calibrate(raw[:20_000], level[:20_000], truth[:20_000, None])
    after = head.decode(raw, level)
    assert torch.equal(before.mean, after.mean)
    assert torch.equal(head.mean(raw), after.mean)
    for rows in np.array_split(20_000 + np.argsort(level[20_000:, 0].numpy()), 5):
        rms = float((truth[rows] - after.mean[rows, 0]).square().mean().sqrt())
        assert float(after.std[rows].square().mean().sqrt()) == pytest.approx(rms, rel=0.05)
        for (first, last), nominal in (((1, 3), 0.68), ((0, 4), 0.95)):
            low, high = after.quantiles[rows, 0, first], after.quantiles[rows, 0, last]
            inside = (low <= truth[rows]) & (truth[rows] <= high)
            # Two points, and three binomial standard errors of 4,000 stars, fit and test together.
            error = 2**0.5 * (nominal * (1 - nominal) / len(rows)) ** 0.5
            assert float(inside.double().mean()) == pytest.approx(nominal, abs=0.02 + 3 * error)


def test_a_gaussian_head_is_corrected_too_and_a_point_head_has_nothing_to_correct():
    torch.manual_seed(0)
    truth, level = torch.randn(3000, 5, dtype=torch.float64), torch.randn(3000, 1)
    head = Head(4, 1, LOW_T_BOX, "gaussian")
    scaling = head.labels_scaling
    raw = torch.stack([torch.zeros_like(truth), torch.zeros_like(truth)], dim=-1)
    head.calibrate(raw, level, scaling.to_labels(0.5 * truth))
    ratio = head.decode(raw, level).std / scaling.width
    assert float(ratio.square().mean().sqrt()) == pytest.approx(0.5, rel=0.02)
    # A tenth or so of the spectra is near each node.
    torch.testing.assert_close(ratio, torch.full_like(ratio, 0.5), rtol=0.15, atol=0)
    point = Head(4, 1, LOW_T_BOX, "point")
    point.calibrate(raw[..., :1], level, truth)
    assert point.decode(raw[..., :1], level).std is None


def test_spectra_at_the_bound_of_the_noise_level_are_corrected_by_their_own_kind():
    """A third of them all stand at the bound of what a front end states, and are twice as wrong as the others."""

    def bound(count, seed):
        error, stated, level, _ = world(count, seed, lambda s, v: np.where(v > 1 / 3, 2.0, 1.0))
        below = torch.from_numpy(norm.cdf((error / stated).numpy()))
        return error, stated, level.clamp(max=1 / 3), below

    calibration = Calibration(1, QUANTILES).fit(*bound(20_000, 1))
    error, stated, level, _ = bound(20_000, 2)
    inside = held(error, stated, calibration.corrected(stated, level)[1])
    at_bound = (level == level.max()).numpy()
    assert 0.3 < at_bound.mean() < 0.37
    # The correction is linear in the level, and this is a jump: up to the last node below it counts too, by half.
    np.testing.assert_allclose(inside[at_bound].double().mean(dim=0), [0.68, 0.95], rtol=0, atol=0.05)
    ratio = (error / calibration.std(stated, level))[at_bound].square().mean().sqrt()
    assert float(ratio) == pytest.approx(1, abs=0.1)
