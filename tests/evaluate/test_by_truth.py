"""Scores by true value against closed forms: a Gaussian prior and likelihood shrink by a known factor."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import norm

from specvit.evaluate import scores_by_truth
from specvit.evaluate.by_truth import BINS, true_bins
from specvit.runs import Estimates, TrueBin
from specvit.spectra import LOW_T_BOX

SPACE = LOW_T_BOX.select(["log_g", "teff"])


def shrunken(count, share, seed=1):
    """Uniform log g, and posterior means that keep `share` of it with the posterior's own scatter and error."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(1, 5, count)
    variance = 16 / 12
    noise = variance * (1 - share) / share
    seen = truth + np.sqrt(noise) * rng.standard_normal(count)
    return truth, 3 + share * (seen - 3), np.sqrt(share * noise), np.sqrt(noise)


def test_bias_and_coverage_are_those_of_shrinkage():
    """At true y the estimate is 3 + k (y - 3) + k n: bias (k - 1)(y - 3); the interval is a known share of noise."""
    share = 0.5
    truth, mean, std, noise = shrunken(200_000, share)
    bins = true_bins(truth, mean, np.linspace(1, 5, 9), {68: (mean - std, mean + std)})
    assert sum(one.spectra for one in bins) == 200_000
    for one in bins:
        middle = 0.5 * (one.low + one.high)
        assert one.bias == pytest.approx((share - 1) * (middle - 3), abs=5 * one.bias_error)
        offset = np.linspace(one.low, one.high, 101)
        inside = [norm.cdf((reach + (1 - share) * (offset - 3)) / (share * noise)) for reach in (std, -std)]
        assert one.coverage_68 == pytest.approx(np.mean(inside[0] - inside[1]), abs=5 * one.coverage_68_error)
        expected = np.sqrt(np.mean(((share - 1) * (offset - 3)) ** 2) + (share * noise) ** 2)
        assert one.rms == pytest.approx(expected, rel=0.02)
    # Both right over all stars, as the sentence for readers says.
    assert abs(np.mean(mean - truth)) < 0.01
    assert bins[0].bias > 0.8
    assert bins[-1].bias < -0.8
    assert bins[0].coverage_68 < 0.6 < 0.68 < bins[3].coverage_68


def test_errors_scatter_as_stated():
    found = [true_bins(*shrunken(400, 0.5, seed)[:2], np.linspace(1, 5, 3), {}) for seed in range(400)]
    bias, stated = (np.array([getattr(bins[0], name) for bins in found]) for name in ("bias", "bias_error"))
    assert bias.std() == pytest.approx(np.sqrt(np.mean(stated**2)), rel=0.12)  # 400 repeats: 3.5 %


@given(st.lists(st.floats(1, 5, width=32), min_size=1, max_size=40), st.integers(1, 12))
def test_every_spectrum_is_in_one_bin(truth, count):
    truth = np.array(truth)
    bins = true_bins(truth, truth + 0.25, np.linspace(1, 5, count + 1), {})
    assert sum(one.spectra for one in bins) == len(truth)
    for one in bins:
        inside = (one.low <= truth) & ((truth < one.high) | ((one.high == 5) & (truth == 5)))
        assert one.spectra == inside.sum()
        assert (one.bias is None) == (one.spectra == 0)
        assert one.bias is None or one.bias == pytest.approx(0.25)
        assert one.coverage_68 is None


def test_an_estimator_is_scored_for_the_labels_it_knows_and_where_it_answers():
    rng = np.random.default_rng(3)
    labels = np.stack([rng.uniform(1, 5, 50), rng.uniform(3750, 6250, 50)], axis=1)
    mean = labels[:, 1:] + 100
    mean[labels[:, 1] < 3750 + 2500 / 8] = np.nan
    found = scores_by_truth(Estimates(["teff"], mean, np.full((50, 1), 50.0)), labels, SPACE)
    assert list(found) == ["teff"]
    first, *others = found["teff"]
    assert len(others) == BINS - 1
    at = SPACE.index("teff")
    assert (first.low, others[-1].high) == (SPACE.low[at], SPACE.high[at])
    assert (first.spectra, first.bias, first.coverage_68) == (0, None, None)
    assert all(one.bias == pytest.approx(100) and one.coverage_68 == 0 for one in others if one.spectra)
    # None of a few inside is no certainty.
    assert all(one.coverage_68_error > 0.05 for one in others if one.spectra)


@pytest.mark.parametrize(
    "change",
    [{"low": 2.0}, {"bias": None}, {"spectra": 0}, {"coverage_68": 1.5}, {"coverage_68": 0.5}, {"rms": -1.0}],
)
def test_a_bin_that_contradicts_itself_is_refused(change):
    good = {"low": 1.0, "high": 2.0, "spectra": 3, "bias": 0.1, "bias_error": 0.1, "rms": 0.2}
    TrueBin(**good)
    with pytest.raises(ValidationError):
        TrueBin(**(good | change))
