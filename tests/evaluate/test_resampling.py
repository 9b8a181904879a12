"""Bootstrap intervals: seeded, vectorised, and true to their level where the answer is known."""

import numpy as np
import pytest
from scipy import stats

from specvit.errors import ConfigError, ShapeError
from specvit.evaluate import bootstrap, paired_difference, r2, rmse


def mean(values):
    return values.mean(axis=-1)


def test_equal_seeds_give_equal_intervals():
    values = np.random.default_rng(0).normal(size=40)
    assert bootstrap(mean, values, seed=3) == bootstrap(mean, values, seed=3)
    assert bootstrap(mean, values, seed=3) != bootstrap(mean, values, seed=4)


def test_the_interval_does_not_depend_on_the_memory_chunk(monkeypatch):
    values = np.random.default_rng(0).normal(size=40)
    whole = bootstrap(mean, values, resamples=100)
    monkeypatch.setattr("specvit.evaluate.resampling.CHUNK", 40 * 7)
    assert bootstrap(mean, values, resamples=100) == whole


def test_the_interval_of_a_mean_is_the_normal_one():
    values = np.random.default_rng(1).normal(size=4000)
    found = bootstrap(mean, values, resamples=4000)
    half = 1.96 * values.std() / np.sqrt(4000)
    assert found.value == pytest.approx(values.mean())
    # Percentiles of 4000 draws are good to about 3 % of the half width; 5 sigma.
    assert found.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_the_interval_agrees_with_scipy():
    generator = np.random.default_rng(5)
    truth = generator.normal(size=300)
    estimate = truth + 0.5 * generator.normal(size=300)
    ours = bootstrap(rmse, truth, estimate, resamples=5000)
    theirs = stats.bootstrap(
        (truth, estimate), rmse, paired=True, method="percentile", n_resamples=5000, rng=generator
    )
    width = ours.high - ours.low
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.1 * width)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.1 * width)


def test_intervals_cover_the_true_r2_at_their_level():
    """R² of y + noise is 1 - s² for unit-variance y: 90 % intervals of 300 sets must hold it."""
    generator, hits, sets = np.random.default_rng(7), 0, 300
    for k in range(sets):
        truth = generator.normal(size=200)
        estimate = truth + 0.6 * generator.normal(size=200)
        found = bootstrap(r2, truth, estimate, resamples=300, level=0.9, seed=k)
        hits += found.low <= 1 - 0.36 <= found.high
    # Binomial error 1.7 %; the percentile interval is known to be slightly short at N = 200.
    assert 0.83 < hits / sets < 0.96


def test_a_paired_difference_is_narrower_than_two_scores():
    generator = np.random.default_rng(2)
    truth = generator.uniform(1, 5, 500)
    hard = generator.normal(size=500)
    first, second = truth + 0.5 * hard, truth + 0.55 * hard
    paired = paired_difference(r2, truth, first, second)
    alone = bootstrap(r2, truth, first)
    assert paired.value == pytest.approx(float(r2(truth, first) - r2(truth, second)))
    assert paired.low > 0
    assert paired.high - paired.low < 0.5 * (alone.high - alone.low)


def test_a_model_does_not_differ_from_itself():
    truth = np.arange(10.0)
    same = paired_difference(r2, truth, truth[::-1], truth[::-1])
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_bad_requests_are_refused():
    with pytest.raises(ShapeError, match="one length"):
        bootstrap(mean, [])
    with pytest.raises(ShapeError, match="one length"):
        bootstrap(r2, [1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ConfigError, match="resamples"):
        bootstrap(mean, [1.0, 2.0], resamples=1)
