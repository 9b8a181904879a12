"""Which pixels are fitted, and with which errors."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import median_filter

from specvit.errors import ConfigError, WavelengthRangeError
from specvit.observed.spectrum import RawSpectrum, checked_spectrum
from specvit.stellar import StarFitSettings
from specvit.stellar import pixels as pixels_module
from specvit.stellar.compiled import running_median
from specvit.stellar.pixels import fit_pixels

SETTINGS = StarFitSettings()


def spectrum(start=6500.0, stop=9500.0, step=1.0, resolution=3000.0, seed=0, **changes):
    wavelength = np.arange(start, stop, step)
    flux = 7.0 + 0.1 * np.random.default_rng(seed).standard_normal(wavelength.size)
    raw = RawSpectrum("star", "test", wavelength, flux, np.full(flux.size, 0.1), medium="vacuum")
    raw.fwhm = wavelength / resolution
    return replace(checked_spectrum(raw, "a.fits"), **changes)


def pixels(star, **settings):
    return fit_pixels(star, replace(SETTINGS, **settings), 7000.0, 8950.0)


def test_windows_of_the_air_are_left_out_where_the_telescope_saw_them():
    still = pixels(spectrum())
    # Shifted by +1000 km/s to the barycentre: in the telescope's frame the air is elsewhere.
    moved = pixels(spectrum(frame="barycentric", to_observed=-1000.0))
    for found, factor in ((still, 1.0), (moved, 1 + 1000 / 299_792.458)):
        at = found.wavelength / factor
        inside = (at > 7590) & (at < 7720)
        assert not found.usable[inside].any()
        assert found.usable[(at > 7740) & (at < 8080)].all()
        assert found.usable[(at > 7440) & (at < 7570)].all()


def test_the_air_is_not_above_the_atmosphere_and_can_be_switched_off():
    assert pixels(spectrum(ground=False)).usable.all()
    assert pixels(spectrum(), telluric=False).usable.all()
    assert not pixels(spectrum(), telluric=False, masks=((8000.0, 8010.0),)).usable.all()


def test_every_pixel_can_be_reached_at_every_velocity():
    found = pixels(spectrum())
    shift = 1 + SETTINGS.velocity / 299_792.458
    assert found.wavelength[0] / shift > 7000
    assert found.wavelength[-1] * shift < 8950


def test_flux_is_in_units_of_its_median_and_sigma_with_it():
    found = pixels(spectrum())
    assert np.median(found.flux[found.usable]) == pytest.approx(1, abs=1e-3)
    assert found.sigma[found.usable] == pytest.approx(0.1 / 7, rel=1e-2)


@pytest.mark.parametrize("step", [0.02, 0.05])
def test_sharp_spectra_are_smoothed_and_their_noise_with_them(step):
    star = spectrum(7700.0, 8100.0, step, resolution=40_000.0)
    found = pixels(star)
    assert found.resolution == pytest.approx(10_000, rel=1e-3)
    scatter = np.std(found.flux[found.usable])
    # What one pixel scatters by, times the root of how many neighbours share its noise.
    kernel = np.sqrt(1e-4**2 - (1 / 40_000) ** 2) / 2.354820045
    shared = np.sqrt(4 * np.pi) * kernel / (1e-4 / 3)
    assert np.median(found.sigma[found.usable]) == pytest.approx(scatter * np.sqrt(shared), rel=0.15)
    assert any("smoothed" in note for note in found.notes)


def test_smoothing_keeps_dead_pixels_out():
    star = spectrum(7700.0, 8100.0, 0.02, resolution=40_000.0)
    sigma = star.sigma.copy()
    dead = (star.wavelength > 7900) & (star.wavelength < 7910)
    sigma[dead] = np.inf
    flux = np.where(dead, 1e6, star.flux)
    found = pixels(replace(star, sigma=sigma, flux=flux))
    assert not found.usable[(found.wavelength > 7901) & (found.wavelength < 7909)].any()
    assert np.abs(found.flux[found.usable] - 1).max() < 0.1


@pytest.mark.parametrize(
    ("star", "words"),
    [
        (spectrum(3800.0, 6800.0), "nothing in common"),
        (spectrum(resolution=300.0), r"R = 300 is below 500.*--resolution"),
        (spectrum(8105.0, 8400.0), r"are left after masks|nothing in common"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_the_reason(star, words):
    with pytest.raises(WavelengthRangeError, match=words):
        pixels(star)


def test_settings_that_cannot_be_meant():
    for wrong in (
        {"masks": ((2.0, 1.0),)},
        {"priors": {"teff": (1.0, 0.0)}},
        {"model_error": 0.0},
        {"starts": 0},
    ):
        with pytest.raises(ConfigError):
            StarFitSettings(**wrong)


def test_a_gap_in_a_sharp_spectrum_stays_one():
    star = spectrum(7700.0, 8100.0, 0.02, resolution=40_000.0)
    there = (star.wavelength < 7850) | (star.wavelength > 7900)
    parts = {key: getattr(star, key)[there] for key in ("wavelength", "flux", "sigma", "fwhm")}
    found = pixels(replace(star, **parts))
    assert np.isfinite(found.flux).all()
    assert not ((found.wavelength > 7851) & (found.wavelength < 7899)).any()


def test_a_running_median_is_that_of_scipy():
    rng = np.random.default_rng(1)
    for length in (3, 4, 61, 200):
        smooth, steps = rng.standard_normal(length), rng.integers(0, 4, length).astype(float)
        for size in (1, 2, 3, 4, 43, 60):
            for values in (smooth, steps):
                found, size = np.empty(length), min(size, length)
                running_median(values, size, found)
                np.testing.assert_array_equal(found, median_filter(values, size=size, mode="nearest"))


def test_spectra_that_take_turns_have_the_pixels_they_have_alone(monkeypatch):
    """What is found of pixels is kept for the next spectrum with the same ones: others must not get it."""
    sigma = spectrum().sigma.copy()
    sigma[1500:1560] = np.inf
    kinds = [
        spectrum(),
        spectrum(sigma=sigma),
        spectrum(resolution=2500.0),
        spectrum(frame="barycentric", to_observed=40.0),
        spectrum(frame="rest"),
        spectrum(ground=False),
        spectrum(step=1.1),
    ]
    with monkeypatch.context() as patch:
        for name in ("_within", "_left_out"):
            patch.setattr(pixels_module, name, getattr(pixels_module, name).__wrapped__)
        alone = {k: pixels(star) for k, star in enumerate(kinds)}
    for turn in range(3):
        for k in np.random.default_rng(turn).permutation(len(kinds)):
            found = pixels(kinds[k])
            for name in ("wavelength", "flux", "sigma", "level", "fwhm", "in_air"):
                np.testing.assert_array_equal(getattr(found, name), getattr(alone[k], name))
            assert found.resolution == alone[k].resolution
    # All of these differ in what is left out, or in what it is.
    assert len({one.usable.tobytes() + one.fwhm.tobytes() for one in alone.values()}) == len(kinds)


def test_a_single_pixel_in_the_range_is_none():
    with pytest.raises(WavelengthRangeError, match="nothing in common that is usable"):
        fit_pixels(spectrum(), SETTINGS, 7000.0, 7000.0 * (1 + 2000 / 299_792.458) + 10.5)
