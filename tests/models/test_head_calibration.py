"""Recalibrated errors against worlds whose true errors are known."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from specvit.models.calibration import Calibration
from specvit.models.heads import QUANTILES, Head
from specvit.spectra import LOW_T_BOX, LabelSpace

SPACE = LabelSpace(("log_g",), ("dex",), (1.0,), (5.0,))


def world(count, seed, factor):
    """Gaussian errors of true size `factor(stated)` times the stated one, over a decade of stated errors."""
    random = np.random.default_rng(seed)
    stated = np.exp(random.uniform(np.log(0.05), np.log(0.5), count))
    error = factor(stated) * stated * random.standard_normal(count)
    level = norm.cdf(error / stated)
    return tuple(torch.from_numpy(a)[:, None] for a in (error, stated, level))


def test_before_it_is_fitted_it_changes_nothing():
    calibration = Calibration(2, QUANTILES)
    std = torch.rand(7, 2, dtype=torch.float64) + 0.1
    assert torch.equal(calibration.std(std), std)
    torch.testing.assert_close(calibration.shares(std), torch.tensor(QUANTILES).double().expand(7, 2, 5))


@pytest.mark.parametrize(
    "factor",
    [lambda s: 1.0, lambda s: 0.6, lambda s: 1.5, lambda s: 0.6 + 1.5 * s],
    ids=["right", "too wide", "too narrow", "by size"],
)
def test_errors_and_quantiles_hold_after_it_wherever_they_did_not(factor):
    calibration = Calibration(1, QUANTILES).fit(*world(20_000, 1, factor))
    error, stated, _ = world(20_000, 2, factor)
    corrected = calibration.std(stated)
    quantiles = torch.from_numpy(norm.ppf(calibration.shares(stated))) * stated[..., None]
    for rows in np.array_split(np.argsort(stated[:, 0].numpy()), 4):
        ratio = (error[rows] / corrected[rows]).square().mean().sqrt()
        # 5,000 stars: 1 % error of a standard deviation, twice as much for fit and test together; 4 sigma.
        assert float(ratio) == pytest.approx(1, abs=0.06)
        for first, last, nominal in ((1, 3, 0.68), (0, 4, 0.95)):
            inside = (quantiles[rows, 0, first] <= error[rows, 0]) & (
                error[rows, 0] <= quantiles[rows, 0, last]
            )
            assert float(inside.double().mean()) == pytest.approx(nominal, abs=0.03)


def test_stated_quantiles_stay_in_order():
    calibration = Calibration(1, QUANTILES).fit(*world(500, 3, lambda s: 0.5 + s))
    shares = calibration.shares(torch.logspace(-3, 1, 50, dtype=torch.float64)[:, None])
    assert bool((shares.diff(dim=-1) >= 0).all())


def test_equal_stated_errors_are_one_correction():
    error, _, _ = world(4000, 4, lambda s: 1.0)
    std = torch.full_like(error, 0.2)
    calibration = Calibration(1, QUANTILES).fit(error, std, torch.full_like(error, 0.5))
    expected = error.square().mean().sqrt()
    torch.testing.assert_close(calibration.std(std)[0, 0], expected, rtol=1e-6, atol=0)


def logits(mean, std, bins=64):
    """Outputs of an ordinal head that say N(mean, std)."""
    edges = torch.linspace(1.0, 5.0, bins + 1, dtype=torch.float64)
    cumulative = torch.distributions.Normal(mean[:, None], std[:, None]).cdf(edges)
    return cumulative.diff(dim=1).clamp(min=1e-30).log()[:, None]


def test_an_ordinal_head_learns_that_it_is_sharper_than_its_bins():
    """True errors of half a bin: the histogram states a whole bin, the calibrated head the truth."""
    torch.manual_seed(0)
    head = Head(4, 0, SPACE, "ordinal")
    mean = 2 + 2 * torch.rand(8000, dtype=torch.float64)
    truth = mean + 0.02 * torch.randn(8000, dtype=torch.float64)
    raw = logits(mean, torch.full_like(mean, 0.02))
    before = head.decode(raw[4000:])
    head.calibrate(raw[:4000], truth[:4000, None])
    after = head.decode(raw[4000:])
    assert torch.equal(before.mean, after.mean)
    rms = float((truth[4000:] - after.mean[:, 0]).square().mean().sqrt())
    assert float(before.std.mean()) > 1.15 * rms
    assert float(after.std.square().mean().sqrt()) == pytest.approx(rms, rel=0.05)
    inside = (after.quantiles[:, 0, 1] <= truth[4000:]) & (truth[4000:] <= after.quantiles[:, 0, 3])
    assert float(inside.double().mean()) == pytest.approx(0.68, abs=0.03)


def test_a_gaussian_head_is_corrected_too_and_a_point_head_has_nothing_to_correct():
    torch.manual_seed(0)
    truth = torch.randn(3000, 5, dtype=torch.float64)
    head = Head(4, 0, LOW_T_BOX, "gaussian")
    scaling = head.labels_scaling
    raw = torch.stack([torch.zeros_like(truth), torch.zeros_like(truth)], dim=-1)
    head.calibrate(raw, scaling.to_labels(0.5 * truth))
    ratio = head.decode(raw).std / scaling.width
    torch.testing.assert_close(ratio, torch.full_like(ratio, 0.5), rtol=0.05, atol=0)
    point = Head(4, 0, LOW_T_BOX, "point")
    point.calibrate(raw[..., :1], truth)
    assert point.decode(raw[..., :1]).std is None
