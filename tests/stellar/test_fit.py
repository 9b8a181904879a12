"""Stars made by another path (the emulator, smoothed directly, with waves, gaps and noise) are found again."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from specvit.library import Emulator
from specvit.observed.spectrum import RawSpectrum, checked_spectrum
from specvit.spectra import SPEED_OF_LIGHT_KM_S
from specvit.spectra.resample import smooth
from specvit.stellar import FLAGS, Refusal, StarFitSettings, StarFitter
from specvit.stellar.flags import NOTES
from specvit.stellar.pixels import CALCIUM
from specvit.stellar.systematic import SYSTEMATIC

STARS = {
    "giant": ((4600.0, 2.0, -0.7, 0.2, 0.0), -310.0),
    "dwarf": ((5600.0, 4.4, 0.0, 0.0, 0.0), 25.0),
    "poor dwarf": ((5800.0, 4.3, -1.5, 0.3, 0.0), 140.0),
    "cool dwarf": ((4000.0, 4.7, -0.2, 0.05, 0.0), -20.0),
}


def observe(
    labels, velocity, snr=100.0, resolution=2500.0, seed=0, waves=0.0, emission=0.0, filled=0.0, **changes
):
    """One star on 1.2 Å pixels under a continuum that is no polynomial of the fit."""
    emulator = Emulator.builtin()
    flux = emulator(torch.tensor([labels], dtype=torch.float32))[0].double().numpy()
    seen = smooth(flux, emulator.grid, emulator.resolution, resolution)
    wavelength = np.arange(7010.0, 8940.0, 1.2)
    seen = np.interp(wavelength, emulator.grid.wavelength * (1 + velocity / SPEED_OF_LIGHT_KM_S), seen)
    seen = seen * 40 * np.exp(-((wavelength - 7000) / 2500)) * (1 + waves * np.sin(wavelength / 60))
    seen = seen + emission * np.median(seen) * np.exp(-0.5 * ((wavelength - 7800) / 2) ** 2)
    for core in CALCIUM:
        place = core * (1 + velocity / SPEED_OF_LIGHT_KM_S)
        seen = seen + filled * np.median(seen) * np.exp(-0.5 * ((wavelength - place) / 1.5) ** 2)
    sigma = np.full(wavelength.size, np.median(seen) / snr)
    noisy = seen + sigma * np.random.default_rng(seed).standard_normal(seen.size)
    raw = RawSpectrum("star", "test", wavelength, noisy, sigma, medium="vacuum", **changes)
    raw.fwhm = wavelength / resolution
    return checked_spectrum(raw, "a.fits")


@pytest.fixture(scope="module")
def fitter():
    return StarFitter(settings=StarFitSettings(model_error=0.002, core_error=0.002, wave_error=0.002))


@pytest.fixture(scope="module")
def found(fitter):
    spectra = [observe(*star, seed=k) for k, star in enumerate(STARS.values())]
    return dict(zip(STARS, fitter.fit(spectra), strict=True))


@pytest.mark.parametrize("name", STARS)
def test_a_star_is_found_again_within_its_errors(found, name):
    star, pixels = found[name]
    (labels, velocity) = STARS[name]
    for label, truth in zip(star.labels, labels, strict=True):
        # Four stars with five labels: 4 σ is passed by chance once in a thousand times.
        assert abs(star.labels[label] - truth) < 4 * star.errors[label], label
    assert abs(star.velocity - velocity) < max(4 * star.velocity_error, 3.0)
    assert star.chi2 == pytest.approx(1, abs=0.15)
    assert star.errors["log_g"] < 0.7
    # At [M/H] -1.5 a dwarf has few lines: its Teff is known to some 300 K.
    assert set(star.flags) <= ({"SIGMA_LARGE"} if name == "poor dwarf" else set())
    used = np.isfinite(pixels.sigma)
    assert np.std(((pixels.flux - pixels.model) / pixels.sigma)[used]) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    "bound",
    [
        {"wave_error": 0.0}, {"wave_error": 0.9}, {"core_error": 0.0}, {"core_error": 9.0},
        {"model_error": 1e-6}, {"starts": 1}, {"starts": 12}, {"continuum_order": 0},
        {"continuum_order": 60}, {"continuum_order": 60, "wave_error": 0.0}, {"telluric": False},
    ],
)  # fmt: skip
def test_settings_at_their_bounds_are_fitted_with(bound):
    labels, velocity = STARS["giant"]
    star, pixels = StarFitter(settings=StarFitSettings(**bound)).fit([observe(labels, velocity)])[0]
    assert abs(star.velocity - velocity) < max(4 * star.velocity_error, 3.0)
    assert np.isfinite(list(star.errors.values())).all()
    assert np.isfinite(pixels.model).all()


def test_errors_follow_the_noise(fitter):
    star = STARS["giant"]
    bright, faint = fitter.fit([observe(*star, snr=200), observe(*star, snr=40)])
    for label in ("teff", "log_g", "m_h"):
        assert faint[0].errors[label] > 2.5 * bright[0].errors[label]


def test_order_and_unit_of_the_spectra_do_not_matter(fitter, found):
    spectra = [observe(*star, seed=k) for k, star in enumerate(STARS.values())][::-1]
    for name, (star, _) in zip(reversed(STARS), fitter.fit(spectra), strict=True):
        assert star.labels["log_g"] == pytest.approx(found[name][0].labels["log_g"], abs=1e-3)


def test_a_prior_moves_the_answer_to_it():
    star = observe(*STARS["giant"], snr=30)
    told = StarFitter(settings=StarFitSettings(priors={"log_g": (3.0, 0.001)})).fit([star])[0][0]
    assert told.labels["log_g"] == pytest.approx(3.0, abs=0.01)
    assert told.errors["log_g"] < 0.01


def test_what_is_known_of_one_star_moves_that_one_alone(fitter, found):
    plain = observe(*STARS["giant"], snr=30)
    told = replace(plain, known={"log_g": (3.0, 0.001)})
    both = fitter.fit([told, plain])
    alone = fitter.fit([plain])[0][0]
    assert both[0][0].labels["log_g"] == pytest.approx(3.0, abs=0.01)
    # Products of matrices of other sizes are rounded otherwise, and a descent ends within some hundredths of σ.
    assert both[1][0].labels["log_g"] == pytest.approx(
        alone.labels["log_g"], abs=0.05 * alone.errors["log_g"]
    )
    general = StarFitter(settings=replace(fitter.settings, priors={"log_g": (1.5, 0.001)}))
    assert general.fit([told])[0][0].labels["log_g"] == pytest.approx(3.0, abs=0.01)


def test_what_is_no_late_type_star_is_flagged(fitter):
    wavelength = np.arange(7010.0, 8940.0, 1.2)
    flux = 40 + 0.4 * np.random.default_rng(3).standard_normal(wavelength.size)
    raw = RawSpectrum("lamp", "test", wavelength, flux, np.full(flux.size, 0.4), medium="vacuum")
    raw.fwhm = wavelength / 2500
    smooth_one, emission = fitter.fit(
        [checked_spectrum(raw, "lamp.fits"), observe(*STARS["dwarf"], emission=0.8)]
    )
    assert "NOT_A_STAR" in smooth_one[0].flags
    assert "NOT_A_STAR" in emission[0].flags


def test_filled_cores_are_a_doubt_though_activity_leaves_the_labels_alone():
    # As fits of real stars are: cores count little.
    quiet, active, deeper = StarFitter().fit(
        [observe(*STARS["dwarf"], filled=amount) for amount in (0.0, 0.2, -0.1)]
    )
    assert "CORE_FILLED" in active[0].flags
    # Light of something else fills cores too, and lowers [M/H].
    assert "CORE_FILLED" not in NOTES
    assert "CORE_FILLED" not in quiet[0].flags + deeper[0].flags
    for label in ("teff", "log_g", "m_h"):
        assert abs(active[0].labels[label] - quiet[0].labels[label]) < active[0].total_errors[label], label


@pytest.mark.parametrize(
    ("true", "stated", "flagged"),
    [(2500.0, 2500.0, False), (2500.0, 2400.0, False), (2000.0, 2600.0, True), (2500.0, 2000.0, True)],
)
def test_a_resolution_that_the_lines_contradict_is_a_doubt(fitter, true, stated, flagged):
    star = observe(*STARS["giant"], resolution=true)
    answer, _ = fitter.fit([replace(star, fwhm=star.wavelength / stated)])[0]
    assert ("WIDTH" in answer.flags) == flagged
    assert answer.width == pytest.approx(stated / true, rel=0.04)


def test_a_guessed_resolution_is_a_doubt_only_where_the_width_ended_at_its_edge(fitter):
    star = observe(*STARS["giant"], resolution=2500.0, assumed={"resolution"})
    near, far = (replace(star, fwhm=star.wavelength / stated) for stated in (3100.0, 4200.0))
    assert ["WIDTH" in answer.flags for answer, _ in fitter.fit([near, far])] == [False, True]


def test_a_prior_that_the_spectrum_contradicts_is_a_doubt(fitter):
    star = observe(*STARS["giant"], snr=200)
    right, wrong = fitter.fit([replace(star, known={"teff": (teff, 20.0)}) for teff in (4610.0, 5600.0)])
    assert "PRIOR" not in right[0].flags
    assert "PRIOR" in wrong[0].flags
    # No error is larger than what was known; what a prior does not touch has its systematic one.
    assert right[0].total_errors["teff"] == pytest.approx(20.0, rel=1e-6)
    assert right[0].total_errors["log_g"] > SYSTEMATIC["log_g"]


def test_assumptions_are_flags(fitter):
    star, _ = fitter.fit([observe(*STARS["dwarf"], assumed={"sigma", "resolution"})])[0]
    assert star.flags == ("ASSUMED_SIGMA", "ASSUMED_RESOLUTION")
    assert set(star.flags) <= set(FLAGS)


def test_a_spectrum_out_of_range_is_refused_among_others(fitter):
    raw = RawSpectrum(
        "blue", "test", np.arange(4000.0, 5000.0), np.ones(1000), np.ones(1000), medium="vacuum"
    )
    outcomes = fitter.fit([checked_spectrum(raw, "blue.fits"), observe(*STARS["dwarf"])])
    assert isinstance(outcomes[0], Refusal)
    assert "blue.fits" in outcomes[0].reason
    assert outcomes[1][0].name == "star"


@pytest.mark.parametrize("level", [0.0, -5.0])
def test_noise_is_no_star_and_no_crash(fitter, level):
    wavelength = np.arange(7010.0, 8940.0, 1.2)
    flux = level + np.random.default_rng(4).standard_normal(wavelength.size)
    raw = RawSpectrum("sky", "test", wavelength, flux, np.ones(flux.size), medium="vacuum")
    raw.fwhm = wavelength / 2500
    star, _ = fitter.fit([checked_spectrum(raw, "sky.fits")])[0]
    assert "NOT_A_STAR" in star.flags
    assert all(np.isfinite(value) for value in (*star.labels.values(), *star.errors.values(), star.velocity))
    assert np.isfinite(star.covariance).all()
