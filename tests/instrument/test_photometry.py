"""Band, zero point and pivot: closed forms, and the meaning of band-normalised flux."""

import numpy as np
import pytest

from specvit.errors import WavelengthRangeError
from specvit.instrument import Instrument
from specvit.instrument.photometry import Band
from specvit.spectra import WavelengthGrid

C_A_S = 2.99792458e18


def synthetic_ab(band, wavelength, f_lambda):
    """⟨f_ν⟩ = ∫F T λ dλ / (c ∫T/λ dλ), as an AB magnitude (Fukugita et al. 1996, AJ 111, 1748)."""
    response = band.response(wavelength)
    f_nu = np.trapezoid(f_lambda * response * wavelength, wavelength)
    f_nu /= C_A_S * np.trapezoid(response / wavelength, wavelength)
    return -2.5 * np.log10(f_nu / 3.631e-20)


@pytest.fixture(scope="module")
def band():
    return Instrument.load("pfs_mr").band


def test_pivot_of_a_sharp_band_is_the_closed_form():
    blue, red = 7000.0, 8400.0
    expected = np.sqrt(0.5 * (red**2 - blue**2) / np.log(red / blue))
    assert Band("box", blue, red, 1e-3).pivot == pytest.approx(expected, rel=1e-4)


def test_half_response_is_at_the_stated_edges(band):
    np.testing.assert_allclose(band.response(np.array([6950.0, 8450.0])), 0.5, rtol=1e-6)
    np.testing.assert_allclose(band.response(np.array([7700.0, 6000.0, 9500.0])), [1, 0, 0], atol=1e-6)


def test_flat_source_has_its_magnitude(band):
    wavelength = np.linspace(6500, 9000, 50_000)
    f_lambda = band.flat_source(wavelength) * band.flux_ab0 * 10 ** (-0.4 * 21.5)
    assert synthetic_ab(band, wavelength, f_lambda) == pytest.approx(21.5, abs=1e-6)
    np.testing.assert_allclose(f_lambda, 3.631e-20 * 10 ** (-0.4 * 21.5) * C_A_S / wavelength**2, rtol=1e-9)


def test_weights_give_any_spectrum_its_magnitude(band):
    """F / (weights · F), scaled to magnitude m, has synthetic magnitude m if the grid covers the band."""
    grid = WavelengthGrid.log(6500.0, 6.0, 15_000)
    x = 1.438776877e8 / (grid.wavelength * 4000.0)
    spectrum = (
        grid.wavelength**-5 / np.expm1(x) * (1 - 0.6 * np.exp(-0.5 * ((grid.wavelength - 7600) / 80) ** 2))
    )
    normalised = spectrum / (band.weights(grid) @ spectrum)
    f_lambda = normalised * band.flux_ab0 * 10 ** (-0.4 * 19.0)
    assert synthetic_ab(band, grid.wavelength, f_lambda) == pytest.approx(19.0, abs=1e-5)


def test_truncated_band_is_exact_for_a_flat_source(band):
    """The built-in library starts inside the band, at 7000 Å."""
    grid = WavelengthGrid.log(7000.0, 6.0, 12_288)
    flat = band.flat_source(grid.wavelength)
    assert band.weights(grid) @ flat == pytest.approx(1.0, rel=1e-9)


def test_library_without_the_band_is_refused(band):
    with pytest.raises(
        WavelengthRangeError, match=r"covers \d+ % of band HSC-i \(6950-8450 Å\); at least 90 %"
    ):
        band.weights(WavelengthGrid.log(7400.0, 6.0, 9_000))
