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
    assert len(grid.edges) == grid.size + 1
    assert (grid.edges[:-1] < grid.wavelength).all()
    assert (grid.wavelength < grid.edges[1:]).all()


def test_edges_of_a_linear_grid_are_half_steps():
    grid = WavelengthGrid.linear(7100.0, 0.5, 10)
    np.testing.assert_allclose(grid.edges, 7099.75 + 0.5 * np.arange(11))


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
