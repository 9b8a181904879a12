"""Means over seeds and stars: intervals that hold, with skewed stars and few seeds, at the stated rates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specvit.errors import ShapeError
from specvit.evaluate.crossed import crossed_mean, crossed_ratio

#: Repetitions of a simulated comparison, and draws in each.
REPEATS, DRAWS = 400, 600


def simulated(rng, seeds, stars, between_seeds, between_stars, rest, mean=0.0):
    """A matrix of known mean, its stars as skewed as squared errors are."""

    def skewed(*shape):
        return (rng.chisquare(1, shape) - 1) / np.sqrt(2)

    rows = between_seeds * rng.standard_normal((seeds, 1))
    return mean + rows + between_stars * skewed(1, stars) + rest * skewed(seeds, stars)


def rates(mean=0.0, **layout):
    """Shares of repetitions whose 95 % interval lies below and above zero."""
    rng = np.random.default_rng(5)
    found = [crossed_mean(simulated(rng, **layout, mean=mean), DRAWS, k).interval() for k in range(REPEATS)]
    return np.mean([i.high < 0 for i in found]), np.mean([i.low > 0 for i in found])


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("between_seeds", [0.0, 0.05, 0.5])
def test_a_mean_of_zero_is_told_from_zero_no_more_often_than_stated(seeds, between_seeds):
    below, above = rates(seeds=seeds, stars=200, between_seeds=between_seeds, between_stars=0.3, rest=0.5)
    # 2.5 % each; of 400 repetitions 5.5 % or more come by chance once in 3000 such tests.
    assert below < 0.055
    assert above < 0.055


def test_ignoring_the_scatter_between_trainings_would_be_found_out():
    """Averaged over seeds first, as if stars were all that scatters, a fifth of the intervals miss."""
    rng = np.random.default_rng(5)
    wrong = 0
    for k in range(200):
        values = simulated(rng, 3, 200, 0.1, 0.3, 0.5)
        alone = crossed_mean(values.mean(axis=0, keepdims=True), DRAWS, k).interval()
        wrong += alone.high < 0 or alone.low > 0
    assert wrong / 200 > 0.2


def test_an_effect_of_the_detectable_size_is_seen_in_four_of_five_repetitions():
    layout = {"seeds": 5, "stars": 200, "between_seeds": 0.05, "between_stars": 0.3, "rest": 0.5}
    rng = np.random.default_rng(9)
    size = np.median([crossed_mean(simulated(rng, **layout), DRAWS, k).detectable() for k in range(40)])
    below, above = rates(mean=-size, **layout)
    # Three in five to all but all: with five seeds the intervals' own width scatters by a third.
    assert 0.6 < below < 0.95
    assert above == 0


def test_where_seeds_rule_the_interval_is_that_of_students_t():
    rows = np.array([0.1, 0.4, 0.7])
    found = crossed_mean(np.repeat(rows[:, None], 50, axis=1), 200_000, 1).interval()
    # t(0.975, 2) = 4.3027; standard error 0.3 / sqrt(3).
    assert found.high - found.value == pytest.approx(4.3027 * 0.3 / 3**0.5, rel=0.03)


def test_with_one_seed_it_is_the_bootstrap_of_the_stars():
    values = np.random.default_rng(0).standard_normal((1, 400))
    found = crossed_mean(values, 20_000, 1).interval()
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std(ddof=1) / 20, rel=0.03)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(2, 30), st.floats(-5, 5), st.floats(0.1, 10))
def test_units_do_not_matter(seeds, stars, shift, scale):
    values = np.random.default_rng(seeds * stars).standard_normal((seeds, stars))
    one, two = crossed_mean(values, 200, 3), crossed_mean(shift + scale * values, 200, 3)
    np.testing.assert_allclose(two.draws, shift + scale * one.draws, rtol=1e-6, atol=1e-8)


def test_equal_values_have_no_width():
    found = crossed_mean(np.zeros((3, 40)), 200)
    assert (found.interval().low, found.interval().high) == (0, 0)
    assert found.chance_not_below == found.chance_not_above == 1
    assert found.detectable() == 0


@pytest.mark.parametrize("shape", [(0, 5), (3, 1), (4,)])
def test_what_is_no_matrix_is_refused(shape):
    with pytest.raises(ShapeError, match="seeds x stars"):
        crossed_mean(np.zeros(shape))


def ratios(ratio, whole, seeds=3, stars=150, repeats=REPEATS):
    """Intervals of a ratio that is known, of wholes whose scatter is skewed and shared with their parts."""
    rng = np.random.default_rng(11)
    for k in range(repeats):
        below = simulated(rng, seeds, stars, 0.05, 0.3, 0.5, whole)
        above = ratio * below + simulated(rng, seeds, stars, 0.03, 0.1, 0.3)
        yield crossed_ratio(above, below, DRAWS, k)


@pytest.mark.parametrize("ratio", [0.0, 0.7, -2.0])
def test_an_interval_of_a_ratio_holds_it_as_often_as_stated(ratio):
    found = [one for one in ratios(ratio, 0.4) if one is not None]
    assert len(found) > 0.9 * REPEATS
    inside = np.mean([one.low <= ratio <= one.high for one in found])
    # Chance scatters it by 1.1 points; chi-square draws of two degrees of freedom make it wide rather than narrow.
    assert 0.92 < inside <= 1.0
    assert all(one.low <= one.value <= one.high for one in found)


def test_where_the_whole_may_be_nothing_there_is_no_share():
    assert np.mean([one is None for one in ratios(0.5, 0.0, repeats=100)]) > 0.9


def test_a_ratio_has_the_interval_of_its_part_where_the_whole_is_certain():
    part = simulated(np.random.default_rng(3), 3, 100, 0.05, 0.3, 0.5, 0.2)
    mean = crossed_mean(part, DRAWS).interval()
    for whole in (2.0, -2.0):
        found = crossed_ratio(part, np.full_like(part, whole), DRAWS)
        assert found.value == pytest.approx(mean.value / whole)
        assert sorted([found.low * whole, found.high * whole]) == pytest.approx(
            [mean.low, mean.high], abs=1e-4
        )
