import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specvit.errors import WavelengthRangeError
from specvit.spectra import SPEED_OF_LIGHT_KM_S, WavelengthGrid


@given(
    start=st.floats(3000, 20000),
    steps=st.lists(st.floats(0.01, 5), min_size=1, max_size=50),
)
def test_edges_enclose_centres_and_join_up(start, steps):
    grid = WavelengthGrid(start + np.concatenate([[0], np.cumsum(steps)]))
    assert (grid.lower < grid.wavelength).all()
    assert (grid.wavelength < grid.upper).all()
    assert [grid.segments[0].start, grid.segments[-1].stop] == [0, grid.size]
    for segment, following in itertools.pairwise(grid.segments):
        assert segment.stop == following.start
        assert grid.upper[segment][-1] <= grid.lower[following][0]
    for segment in grid.segments:
        np.testing.assert_array_equal(grid.lower[segment][1:], grid.upper[segment][:-1])
        np.testing.assert_array_equal(np.diff(grid.edges(segment)), grid.width[segment])


@given(
    start=st.floats(3000, 20000),
    change=st.floats(-1e-3, 1e-3),
    pieces=st.lists(st.tuples(st.integers(5, 15), st.integers(1, 30)), min_size=1, max_size=6),
    rounding=st.sampled_from([1e-9, 0.01]),
)
def test_no_pixel_spans_a_gap_however_many_pixels_are_missing(start, change, pieces, rounding):
    kept = np.concatenate([np.repeat([True, False], piece) for piece in pieces] + [np.full(5, True)])
    centres = start + np.cumsum(0.2 * (1 + change) ** np.arange(kept.size))
    whole = WavelengthGrid(centres)
    grid = WavelengthGrid(np.round(centres[kept] / rounding) * rounding)
    assert len(grid.segments) == len(pieces) + 1
    np.testing.assert_allclose(grid.width, whole.width[kept], atol=2.1 * rounding + 1e-3 * 0.2)
    assert not grid.covers(grid.lower[0], grid.upper[-1])


def test_a_pixel_alone_between_two_gaps_is_as_wide_as_the_others():
    grid = WavelengthGrid(np.array([1.0, 2, 3, 4, 8, 12, 13, 14, 15]))
    assert grid.segments == (slice(0, 4), slice(4, 5), slice(5, 9))
    np.testing.assert_array_equal(grid.width, 1.0)


def test_a_change_of_step_is_no_gap():
    grid = WavelengthGrid(np.concatenate([np.arange(7000, 7010, 0.5), np.arange(7010, 7030, 1.0)]))
    assert len(grid.segments) == 1


def test_arms_may_overlap_and_are_found_again_in_what_was_stored():
    red, infrared = np.arange(7000.0, 7600.0), np.arange(7400.0, 8000.0)
    centres = np.concatenate([red, infrared])
    with pytest.raises(WavelengthRangeError, match="pixel 600"):
        WavelengthGrid(centres)
    grid = WavelengthGrid(centres, arms=(600,))
    assert grid.segments == (slice(0, 600), slice(600, 1200))
    assert (grid.start, grid.stop, grid.size) == (7000, 7999, 1200)
    np.testing.assert_allclose(grid.width, 1.0)
    again = WavelengthGrid.joined(centres)
    assert again.arms == grid.arms
    assert again.fingerprint == grid.fingerprint
    assert grid.covers(6999.6, 7599.4)
    assert not grid.covers(7000, 7900)
    assert "2 segments (7000.00-7599.00, 7400.00-7999.00)" in grid.describe()
    kept = grid.take(grid.wavelength > 7500)
    assert kept.arms == (99,)
    np.testing.assert_array_equal(kept.lower, grid.lower[grid.wavelength > 7500])
    assert grid.take(np.arange(1200) < 500).arms == ()


def test_known_edges_are_kept():
    bounds = np.array([[10.0, 11.0, 20.0], [11.0, 13.0, 21.0]])
    grid = WavelengthGrid(bounds.mean(axis=0), bounds=bounds)
    assert grid.segments == (slice(0, 2), slice(2, 3))
    np.testing.assert_array_equal(grid.width, [1, 2, 1])
    with pytest.raises(WavelengthRangeError, match="pixel 1 has its centre"):
        WavelengthGrid(np.array([10.5, 13.5, 20.5]), bounds=bounds)
    with pytest.raises(WavelengthRangeError, match=r"pixel 1 begins at 10\.5"):
        WavelengthGrid(np.array([10.3, 12.0]), bounds=np.array([[10.0, 10.5], [11.0, 13.0]]))
    with pytest.raises(WavelengthRangeError, match="expected a lower and an upper one"):
        WavelengthGrid(np.array([10.3, 12.0]), bounds=bounds)
    with pytest.raises(WavelengthRangeError, match="arms begin at"):
        WavelengthGrid(np.array([10.3, 12.0]), arms=(2,))


def test_edges_of_a_linear_grid_are_half_steps():
    grid = WavelengthGrid.linear(7100.0, 0.5, 10)
    (segment,) = grid.segments
    np.testing.assert_allclose(grid.edges(segment), 7099.75 + 0.5 * np.arange(11))


def test_log_grid_has_a_constant_velocity_step():
    grid = WavelengthGrid.log(7000.0, 6.0, 1000)
    step = np.diff(np.log(grid.wavelength)) * SPEED_OF_LIGHT_KM_S
    np.testing.assert_allclose(step, 6.0, rtol=1e-9)


@pytest.mark.parametrize(
    ("wavelength", "word"),
    [
        ([5000.0], "at least 2"),
        ([[1.0, 2.0]], "one axis"),
        ([1.0, np.nan, 3.0], "pixel 1"),
        ([5000.0, -1.0], "pixel 1"),
        ([5000.0, 5001.0, 5000.5], "pixel 2"),
    ],
)
def test_bad_grids_name_the_pixel(wavelength, word):
    with pytest.raises(WavelengthRangeError, match=word):
        WavelengthGrid(np.array(wavelength))


def test_grids_match_by_value_and_medium():
    grid = WavelengthGrid.linear(7100.0, 0.5, 10)
    assert grid.matches(WavelengthGrid.linear(7100.0, 0.5, 10))
    assert not grid.matches(WavelengthGrid(grid.wavelength, medium="air"))
    assert not grid.matches(WavelengthGrid.linear(7100.01, 0.5, 10))
    assert grid.fingerprint == WavelengthGrid.linear(7100.0, 0.5, 10).fingerprint
    assert grid.fingerprint != WavelengthGrid.linear(7100.01, 0.5, 10).fingerprint
    with pytest.raises(WavelengthRangeError, match=r"star\.fits: expected 10 pixels"):
        grid.check_matches(WavelengthGrid.linear(7100.0, 0.5, 9), "star.fits")


def test_a_grid_cannot_be_changed_behind_its_back():
    wavelength = np.linspace(7000.0, 7100.0, 5)
    grid = WavelengthGrid(wavelength)
    with pytest.raises(ValueError, match="read-only"):
        grid.wavelength[0] = 1.0
