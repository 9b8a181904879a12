"""Offsets and slopes between estimates and known values are found, outliers aside, and never from the star itself."""

import numpy as np
import pytest

from specvit.stellar.label_calibration import LabelCalibration, left_out_values, line_of


def stars(count, offset, slope, noise, seed=0, outliers=0):
    """Return estimates and known values that differ by a line about 3, by noise, and in some by a lot."""
    rng = np.random.default_rng(seed)
    estimate = rng.uniform(1.0, 5.0, count)
    known = estimate + offset + slope * (estimate - 3.0) + noise * rng.standard_normal(count)
    known[:outliers] += 2.0
    return estimate, known


def test_a_line_is_found_through_many_stars():
    estimate, known = stars(4000, 0.2, -0.1, 0.1)
    offset, slope, pivot = line_of(estimate, known - estimate)
    # Five steady stars among 4000.
    assert slope == pytest.approx(-0.1, abs=0.005)
    assert offset + slope * (3.0 - pivot) == pytest.approx(0.2, abs=0.01)


def test_outliers_hardly_count():
    estimate, known = stars(400, 0.2, 0.0, 0.1, outliers=40)
    offset, _, _ = line_of(estimate, known - estimate)
    # The mean would be 0.4.
    assert offset == pytest.approx(0.2, abs=0.03)


def test_few_stars_tell_no_slope():
    estimate, known = stars(8, 0.0, -0.3, 0.05, seed=1)
    _, slope, _ = line_of(estimate, known - estimate)
    assert -0.3 < slope < -0.05


def test_a_star_has_no_part_in_its_own_calibration():
    estimate, known = stars(30, 0.2, 0.0, 0.05)
    before = left_out_values(estimate, known)
    known[4] += 10.0
    after = left_out_values(estimate, known)
    assert after[4] == before[4]
    assert not np.array_equal(after, before)


def test_it_holds_only_where_its_stars_are():
    one = LabelCalibration(0.5, -0.1, 3.0, 1.0, 5.0, 0.2, 30)
    np.testing.assert_allclose(one.of(np.array([2.0, 5.5, 0.9])), [2.6, np.nan, np.nan])
