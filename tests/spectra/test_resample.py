import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from specvit.errors import ShapeError, WavelengthRangeError
from specvit.spectra import WavelengthGrid
from specvit.spectra.resample import FWHM_PER_SIGMA, smooth, smoothing_sigma


@pytest.mark.parametrize(("source", "wanted"), [(50_000, 20_000), (50_000, 48_000), (300_000, 20_000)])
def test_a_gaussian_line_comes_out_with_the_wanted_resolution(source, wanted):
    step = 1 / (2.2 * source)
    grid = WavelengthGrid(np.exp(np.arange(np.log(8500), np.log(8600), step)))
    centre = 8544.44
    sigma_in, sigma_out = centre / source / FWHM_PER_SIGMA, centre / wanted / FWHM_PER_SIGMA
    line = np.exp(-0.5 * ((grid.wavelength - centre) / sigma_in) ** 2) / sigma_in
    out = smooth(line, grid, source, wanted)
    expected = np.exp(-0.5 * ((grid.wavelength - centre) / sigma_out) ** 2) / sigma_out
    # The input itself is sampled at 2.2 pixels per FWHM: that, not the smoothing, is the floor.
    np.testing.assert_allclose(out, expected, atol=4e-3 * expected.max())


def test_constant_resolution_on_a_log_grid_agrees_with_scipy():
    grid = WavelengthGrid(np.exp(np.arange(np.log(8000), np.log(8300), 1 / 100_000)))
    flux = 1 - 0.5 * np.random.default_rng(3).random(grid.size)
    sigma_pixels = 100_000 * np.sqrt(1 / 20_000**2 - 1 / 50_000**2) / FWHM_PER_SIGMA
    expected = gaussian_filter1d(flux, sigma_pixels, truncate=5, mode="nearest")
    np.testing.assert_allclose(smooth(flux, grid, 50_000, 20_000)[50:-50], expected[50:-50], atol=3e-5)


def test_the_kernel_follows_a_varying_resolution():
    grid = WavelengthGrid.linear(8000.0, 0.02, 30_001)
    wanted = np.linspace(5000, 10_000, grid.size)
    flux = np.zeros(grid.size)
    at = [5000, 25_000]
    flux[at] = 1.0
    out = smooth(flux, grid, 1e6, wanted)
    for k in at:
        part = slice(k - 2000, k + 2000)
        offset = grid.wavelength[part] - grid.wavelength[k]
        width = np.sqrt((out[part] * offset**2).sum() / out[part].sum()) * FWHM_PER_SIGMA
        assert width == pytest.approx(grid.wavelength[k] / wanted[k], rel=5e-3)
        assert out[part].sum() == pytest.approx(1.0, rel=5e-3)


def test_a_constant_stays_constant_to_the_last_pixel():
    grid = WavelengthGrid.log(8000.0, 3.0, 400)
    np.testing.assert_allclose(smooth(np.full((2, 400), 3.5), grid, 50_000, 9_000), 3.5, rtol=1e-12)


def test_equal_resolution_returns_the_spectrum():
    grid = WavelengthGrid.log(8000.0, 3.0, 400)
    flux = np.random.default_rng(0).random(400)
    np.testing.assert_array_equal(smooth(flux, grid, 20_000, 20_000), flux)


def test_sharpening_is_refused_with_the_wavelength():
    with pytest.raises(WavelengthRangeError, match=r"8000\.0 Å and cannot be sharpened"):
        smoothing_sigma(np.array([8000.0, 8100.0]), 20_000, 50_000)


def test_a_spectrum_of_other_pixels_than_its_grid_is_refused():
    with pytest.raises(ShapeError, match="100 pixels"):
        smooth(np.ones(99), WavelengthGrid.linear(5000.0, 1.0, 100), 5000, 2000)
