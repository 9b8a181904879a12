"""Coverage: the share of true values inside the intervals that an estimator states."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from gaussian_stars import ALL, BINS, EDGES, overall, score, scorer, stars, stated
from specvit.evaluate import bootstrap, stated_intervals
from specvit.runs import Estimates


def test_coverage_of_a_slice_is_the_plain_bootstrap_of_hits():
    truth, snr, mean, variance = stars(300, 12)
    std = np.sqrt(variance)
    found = score(truth, snr, mean, stated(mean, std))
    inside = (np.abs(truth - mean) <= norm.ppf(0.84) * std).astype(float)
    for k, part in enumerate(scorer(snr).slices):
        plain = bootstrap(lambda hit: hit.mean(axis=-1), inside[part.mask], resamples=100, seed=1 + k)
        one = found.metrics[part.name]["coverage_68"]
        assert (one.value, one.low, one.high) == pytest.approx((plain.value, plain.low, plain.high))


def test_coverage_is_the_share_of_truths_inside_the_stated_interval():
    truth, snr, mean, variance = stars(4000, 1)
    std = 1.5 * np.sqrt(variance)
    found = score(truth, snr, mean, stated(mean, std))
    for share in (68, 95):
        reach = norm.ppf(0.5 + share / 200)
        # Errors stated 1.5 times too large hold more; 4 binomial standard errors.
        expected = pytest.approx(2 * norm.cdf(1.5 * reach) - 1, abs=4 * np.sqrt(0.2 / 4000))
        assert found.metrics[ALL][f"coverage_{share}"].value == expected
        for part, (low, high) in zip(BINS, itertools.pairwise(EDGES), strict=True):
            rows = (snr >= low) & (snr < high)
            inside = np.abs(truth - mean)[rows] <= reach * std[rows]
            assert found.metrics[part][f"coverage_{share}"].value == pytest.approx(inside.mean())


def test_errors_stated_half_too_small_show():
    truth = np.random.default_rng(1).normal(size=5000)
    found = overall(truth, np.full(5000, 5.0), np.zeros(5000), stated(np.zeros(5000), np.full(5000, 0.5)))
    assert found["coverage_68"].value == pytest.approx(2 * norm.cdf(0.5 * norm.ppf(0.84)) - 1, abs=0.03)


def test_an_infinite_error_covers_and_an_unknown_one_does_not_count():
    truth, snr, mean, _ = stars(200, 2)
    std = np.full(200, 1e-9)
    std[:50], std[50:100] = np.inf, np.nan
    found = overall(truth, snr, mean, stated(mean, std))
    assert found["coverage_68"].value == pytest.approx(50 / 150)


def test_stated_quantiles_are_taken_as_they_are():
    """Skewed intervals: of an exponential posterior, not of a Gaussian of its moments."""
    truth, levels = np.random.default_rng(3).exponential(size=4000), np.array([0.025, 0.16, 0.5, 0.84, 0.975])
    quantiles = np.tile(-np.log(1 - levels), (4000, 1))[:, None]
    estimates = Estimates(["log_g"], np.ones((4000, 1)), np.ones((4000, 1)), quantiles, levels)
    snr = np.full(4000, 5.0)
    found = overall(truth, snr, np.ones(4000), stated_intervals(estimates, "log_g"))
    for share in (68, 95):
        assert found[f"coverage_{share}"].value == pytest.approx(share / 100, abs=0.03)
    gaussian = replace(estimates, quantiles=None, probabilities=None)
    wide = overall(truth, snr, np.ones(4000), stated_intervals(gaussian, "log_g"))
    assert wide["coverage_68"].value > 0.8
    assert "coverage_68" not in overall(truth, snr, np.ones(4000))


@pytest.mark.parametrize("std", [None, np.ones((3, 1))])
def test_quantiles_at_other_probabilities_are_not_taken_for_those_asked_for(std):
    """The quartiles hold a half, not 95 %: where an interval is not stated, none is scored."""
    levels = np.array([0.25, 0.5, 0.75])
    quantiles = np.tile([-1.0, 0.0, 1.0], (3, 1))[:, None]
    found = stated_intervals(Estimates(["log_g"], np.zeros((3, 1)), std, quantiles, levels), "log_g")
    if std is None:
        assert found == {}
    else:
        assert found[95][1][0] == pytest.approx(norm.ppf(0.975))


def test_intervals_are_of_the_label_asked_for():
    mean, std = np.array([[1.0, 5000.0]]), np.array([[0.1, 100.0]])
    estimates = Estimates(["log_g", "teff"], mean, std)
    low, high = stated_intervals(estimates, "teff")[68]
    assert (high - low) == pytest.approx(2 * norm.ppf(0.84) * 100)
