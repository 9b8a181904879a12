"""Groups of lines cover every pixel once; shares and densities add up."""

import numpy as np
import pytest

from specvit.explain import WINDOWS, likeness, mean_density, to_shares, window_of_pixels, window_shares
from specvit.spectra import WavelengthGrid

GRID = WavelengthGrid.linear(7100, 0.5, 3500)


def group_at(wavelength):
    return WINDOWS[window_of_pixels(GRID)[np.argmin(np.abs(GRID.wavelength - wavelength))]]


@pytest.mark.parametrize(
    ("wavelength", "group"),
    [
        (8544.4, "Ca II"),
        (8185.5, "Na I"),
        (8809.2, "Mg I"),
        (8691.0, "Fe I"),
        (8752.9, "Paschen"),
        (7140.0, "TiO"),
        (7150.1, "other lines"),
        (7667.0, "other lines"),
        (7900.0, "elsewhere"),
    ],
)
def test_lines_lie_in_their_groups_and_lines_go_before_bands(wavelength, group):
    assert group_at(wavelength) == group


def test_blends_with_the_triplet_count_as_calcium():
    assert [group_at(at) for at in (8547.7, 8504.8, 8667.4)] == ["Ca II"] * 3


def test_shares_sum_to_one_and_nothing_stays_nothing():
    shares = to_shares(np.array([[1.0, -3.0, 4.0], [0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(shares, [[0.125, 0.375, 0.5], [0, 0, 0]])


def test_a_mean_density_integrates_to_one():
    grid = WavelengthGrid.log(7100, 20.0, 300)
    shares = to_shares(np.random.default_rng(0).normal(size=(7, 2, 300)))
    density = mean_density(shares, grid)
    np.testing.assert_allclose((density * grid.width).sum(axis=-1), [1, 1])


def test_an_even_profile_has_the_shares_of_the_pixels_without_spread():
    windows = window_of_pixels(GRID)
    shares = window_shares(np.full((5, GRID.size), 1 / GRID.size), windows)
    np.testing.assert_allclose(shares[:, 0], np.bincount(windows, minlength=len(WINDOWS)) / GRID.size)
    np.testing.assert_allclose(shares[:, 1:], shares[:, :1] * [1, 1], atol=1e-12)


def test_intervals_are_two_standard_errors_of_the_mean():
    windows = np.array([0, 1])
    first = np.array([0.2, 0.4, 0.6, 0.8])
    share = window_shares(np.stack([first, 1 - first], axis=1), windows)
    error = first.std(ddof=1) / 2
    np.testing.assert_allclose(share[0], [0.5, 0.5 - 1.96 * error, 0.5 + 1.96 * error])
    assert np.isnan(window_shares(np.array([[0.3, 0.7]]), windows)[0, 1])


def test_likeness_is_one_for_equal_profiles_and_small_for_unrelated_ones():
    random = np.random.default_rng(1).normal(size=(2, GRID.size))
    assert likeness(random[0], 3 * random[0] + 1, GRID) == pytest.approx(1)
    # 3500 pixels smoothed over 30: some 50 independent values, whose correlation has σ = 0.14.
    assert abs(likeness(random[0], random[1], GRID)) < 0.5
