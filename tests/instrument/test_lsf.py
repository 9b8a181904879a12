"""The LSF matrix: stated widths, conservation, and an independent brute-force convolution."""

import numpy as np
import pytest

from specvit.errors import WavelengthRangeError
from specvit.instrument import Instrument
from specvit.spectra import SPEED_OF_LIGHT_KM_S, WavelengthGrid

FWHM_PER_SIGMA = 2.354820045


@pytest.fixture(scope="module")
def fine_grid():
    """1.5 km/s: fine enough to measure widths on."""
    return WavelengthGrid.log(7050.0, 1.5, 47_500)


@pytest.fixture(scope="module")
def library_grid():
    """The sampling of the built-in library."""
    return WavelengthGrid.log(7000.0, 6.0, 12_288)


def fwhm(offset, profile):
    order = np.argsort(offset)
    offset, profile = offset[order], profile[order]
    above = np.flatnonzero(profile >= 0.5 * profile.max())
    left, right = above[0], above[-1]
    low = np.interp(0.5 * profile.max(), profile[left - 1 : left + 1], offset[left - 1 : left + 1])
    high = np.interp(
        0.5 * profile.max(), profile[right + 1 : right - 1 : -1], offset[right + 1 : right - 1 : -1]
    )
    return high - low


def line_response(instrument, matrix, grid_in, centre, resolution_in):
    """FWHM in Å of a narrow line on the detector, sampled at many positions within a pixel."""
    out = instrument.grid.wavelength
    pixel = instrument.grid.width
    step = pixel[np.argmin(abs(out - centre))]
    offsets, values = [], []
    for shift in np.linspace(0, step, 24, endpoint=False):
        position = centre + shift
        if np.isinf(resolution_in):
            j = np.argmin(abs(grid_in.wavelength - position))
            position = grid_in.wavelength[j]
            column = matrix[:, [j]].toarray()[:, 0] / grid_in.width[j]
        else:
            sigma = position / resolution_in / FWHM_PER_SIGMA
            line = np.exp(-0.5 * ((grid_in.wavelength - position) / sigma) ** 2) / (
                sigma * np.sqrt(2 * np.pi)
            )
            column = matrix @ line
        near = abs(out - position) < 10 * step
        offsets.append((out - position)[near])
        values.append((column * pixel)[near])
    return fwhm(np.concatenate(offsets), np.concatenate(values))


@pytest.mark.parametrize(("resolution_in", "tolerance"), [(np.inf, 1e-3), (20_000.0, 5e-3)])
def test_pfs_line_has_the_calculators_width_at_every_wavelength(
    pfs, etc, fine_grid, resolution_in, tolerance
):
    matrix = pfs.lsf_matrix(fine_grid, resolution_in)
    stated = etc.arrays["lsf_fwhm_A"]
    measured, expected = [], []
    for centre in (7120.0, 7600.0, 8150.0, 8600.0, 8830.0):
        measured.append(line_response(pfs, matrix, fine_grid, centre, resolution_in))
        expected.append(np.interp(centre, etc.arrays["wave_A"], stated))
    np.testing.assert_allclose(measured, expected, rtol=tolerance)
    # The width changes along the spectrum, and the measurement sees it.
    assert measured[-1] / measured[0] == pytest.approx(expected[-1] / expected[0], rel=2e-3)
    assert expected[-1] / expected[0] > 1.01


@pytest.mark.parametrize("resolution_in", [np.inf, 20_000.0])
def test_gaussian_line_has_the_stated_resolving_power(resolution_in):
    instrument = Instrument.load("gaia_rvs")
    grid_in = WavelengthGrid.log(8440.0, 1.0, 10_000)
    matrix = instrument.lsf_matrix(grid_in, resolution_in)
    for centre in (8480.0, 8680.0):
        measured = line_response(instrument, matrix, grid_in, centre, resolution_in)
        # The width is stated with the pixel in quadrature; a top-hat adds a little less to a FWHM than to a
        # variance: 0.3 % here.
        assert measured == pytest.approx(centre / 11_500, rel=5e-3)


@pytest.mark.parametrize("name", ["pfs_mr", "gaia_rvs"])
def test_flux_is_conserved_and_a_constant_stays_constant(name, library_grid):
    instrument = Instrument.load(name)
    matrix = instrument.lsf_matrix(library_grid, 20_000.0)
    pixel, width = instrument.grid.width, library_grid.width
    start, stop = instrument.grid.lower[0], instrument.grid.upper[-1]
    inside = (library_grid.wavelength > start + 10) & (library_grid.wavelength < stop - 10)
    np.testing.assert_allclose((pixel @ matrix)[inside], width[inside], rtol=1e-12)
    np.testing.assert_allclose(matrix @ np.ones(library_grid.size), 1.0, rtol=2e-5)
    assert matrix.data.min() >= -1e-9


def test_pfs_matrix_against_brute_force_convolution(pfs, etc, library_grid):
    """Fine sampling and the raw pixel-integrated table: shares nothing with the product."""
    rng = np.random.default_rng(1)
    centres, depths = rng.uniform(7990, 8010, 12), rng.uniform(0.1, 0.8, 12)

    def spectrum(wavelength):
        sigma = centres / 20_000 / FWHM_PER_SIGMA
        lines = depths * np.exp(-0.5 * ((wavelength[:, None] - centres) / sigma) ** 2)
        return 1.0 + 1e-4 * (wavelength - 8000) - lines.sum(axis=1)

    observed = pfs.lsf_matrix(library_grid, np.inf) @ spectrum(library_grid.wavelength)

    a = etc.arrays
    step = a["dispersion_A_per_pix"] / 64
    fine = np.arange(7975.0, 8025.0, step)
    k = np.interp(8000.0, a["lsf_wave_A"], np.arange(8))
    profile = a["lsf_pixel"][int(k)] * (1 - k % 1) + a["lsf_pixel"][int(k) + 1] * (k % 1)
    offset = np.arange(-16 * 64, 16 * 64 + 1) / 64
    kernel = np.interp(offset, a["lsf_x_pix"], profile)
    smooth = np.convolve(spectrum(fine), kernel / kernel.sum(), mode="same")
    near = (pfs.grid.wavelength > 7992) & (pfs.grid.wavelength < 8008)
    expected = np.interp(pfs.grid.wavelength[near], fine, smooth)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(observed[near], expected, atol=3e-4)


def test_gaussian_matrix_against_analytic_line():
    """A Gaussian line through a Gaussian LSF and a pixel: closed form with the error function."""
    from scipy.special import erf

    instrument = Instrument.load("gaia_rvs")
    grid_in = WavelengthGrid.log(8400.0, 6.0, 2500)
    centre, sigma_in = 8580.03, 8580.03 / 20_000 / FWHM_PER_SIGMA
    line = np.exp(-0.5 * ((grid_in.wavelength - centre) / sigma_in) ** 2)
    observed = instrument.lsf_matrix(grid_in, 20_000.0) @ line
    # All broadening together is the stated R less the pixel's variance.
    sigma = np.sqrt((centre / 11_500 / FWHM_PER_SIGMA) ** 2 - 0.245**2 / 12)
    (segment,) = instrument.grid.segments
    edges = instrument.grid.edges(segment)
    cumulative = 0.5 * (1 + erf((edges - centre) / (np.sqrt(2) * sigma)))
    expected = sigma_in * np.sqrt(2 * np.pi) * np.diff(cumulative) / np.diff(edges)
    np.testing.assert_allclose(observed, expected, atol=2e-4 * expected.max())


@pytest.mark.parametrize(
    ("grid", "resolution", "message"),
    [
        (WavelengthGrid.log(7100.0, 6.0, 11_000), 20_000.0, "needs 7093.2-8856.8 Å"),
        (WavelengthGrid.log(7000.0, 6.0, 12_288), 5_000.0, "R = 5000 is below"),
        (WavelengthGrid.log(7000.0, 60.0, 1_229), 20_000.0, "sampled too coarsely"),
        (WavelengthGrid(WavelengthGrid.log(7000.0, 6.0, 12_288).wavelength, "air"), 20_000.0, "is in air"),
    ],
)
def test_libraries_that_cannot_be_observed_are_refused(pfs, grid, resolution, message):
    with pytest.raises(WavelengthRangeError, match=message):
        pfs.lsf_matrix(grid, resolution)


def test_velocity_step_of_the_library_does_not_matter(pfs):
    """The same R = 20000 spectrum sampled at 2, 4 and 6 km/s is observed alike: samples, not boxes."""
    observed = []
    for step in (2.0, 4.0, 6.0):
        grid = WavelengthGrid.log(7000.0, step, int(12_288 * 6 / step))
        velocity = (np.log(grid.wavelength / 7700.0) * SPEED_OF_LIGHT_KM_S)[:, None] - np.arange(
            -900, 900, 150
        )
        observed.append(
            pfs.lsf_matrix(grid, 20_000.0) @ (1 - 0.5 * np.exp(-0.5 * (velocity / 7.0) ** 2).sum(1))
        )
    np.testing.assert_allclose(observed[1], observed[0], atol=2e-5)
    np.testing.assert_allclose(observed[2], observed[0], atol=2e-4)
