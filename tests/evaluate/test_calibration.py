"""Coverage of stated errors and efficiency against a ceiling, on cases with known answers."""

import numpy as np
import pytest
from scipy import stats

from specvit.errors import DataError, ShapeError
from specvit.evaluate import SnrBins, coverage, efficiency, pit, r2


def test_true_gaussian_errors_cover_at_their_level():
    generator = np.random.default_rng(0)
    std = generator.uniform(0.1, 1.0, 20_000)
    mean = generator.uniform(1, 5, 20_000)
    truth = mean + std * generator.normal(size=20_000)
    found = coverage(truth, mean, std)
    for probability in (0.68, 0.95):
        assert found.within[probability] == pytest.approx(probability, abs=4 * found.error[probability])
    assert found.pull_mean == pytest.approx(0, abs=0.03)
    assert found.pull_std == pytest.approx(1, abs=0.02)
    # False alarm once in a thousand seeds.
    assert stats.kstest(pit(truth, mean, std), "uniform").pvalue > 1e-3


def test_errors_stated_half_too_small_show():
    generator = np.random.default_rng(1)
    truth = generator.normal(size=5000)
    found = coverage(truth, np.zeros(5000), np.full(5000, 0.5))
    assert found.within[0.68] == pytest.approx(2 * stats.norm.cdf(0.5 * 0.9945) - 1, abs=0.03)
    assert found.pull_std == pytest.approx(2, abs=0.1)


def test_impossible_errors_are_refused():
    with pytest.raises(DataError, match="1 of 2 errors are not positive"):
        coverage([1.0, 2.0], [1.0, 2.0], [0.0, 1.0])
    with pytest.raises(ShapeError, match="one length"):
        coverage([1.0, 2.0], [1.0, 2.0], [1.0])


def gaussian_world(count, noise, seed=0):
    """Truth N(0, 1) seen through noise: the best estimate truth + noise, shrunk, attains V / (V + noise²)."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=count)
    seen = truth + noise * generator.normal(size=count)
    return truth, seen / (1 + noise**2), np.full(count, 1 / (1 + noise**2))


def test_the_best_estimator_has_efficiency_one_within_its_interval():
    truth, best, ceiling = gaussian_world(4000, 0.7)
    (found,) = efficiency(truth, best, ceiling)
    assert found.eta.low < 1 < found.eta.high
    assert not found.above_ceiling
    assert found.eta.value == pytest.approx(found.model.value / found.ceiling.value)
    assert found.headroom.value == pytest.approx(found.ceiling.value - found.model.value)


def test_a_worse_estimator_shows_its_share():
    truth, best, ceiling = gaussian_world(4000, 0.7)
    (found,) = efficiency(truth, 0.5 * best, ceiling)
    assert found.eta.value == pytest.approx(float(r2(truth, 0.5 * best)) / ceiling[0])
    assert found.eta.high < 1


def test_an_estimator_that_sees_the_truth_is_flagged():
    truth, best, ceiling = gaussian_world(2000, 0.7)
    (found,) = efficiency(truth, 0.5 * (best + truth), ceiling)
    assert found.above_ceiling


def test_bins_are_scored_on_their_own_stars():
    truth, best, ceiling = gaussian_world(900, 0.5)
    snr = np.linspace(2, 8, 900)
    rows = efficiency(truth, best, ceiling, snr, SnrBins("three", (2, 4, 6, 8.1, 10)), resamples=50)
    assert [row.count for row in rows] == [300, 300, 300]
    inside = snr < 4
    assert rows[0].model.value == pytest.approx(float(r2(truth[inside], best[inside])))
    with pytest.raises(ShapeError, match="snr with bins"):
        efficiency(truth, best, ceiling, snr=snr)
