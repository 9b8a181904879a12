"""A line that the library lacks is found from known stars, corrected, and never learned from the star it is scored on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from specvit.errors import ConfigError, DataError
from specvit.library import Emulator
from specvit.observed.spectrum import RawSpectrum, checked_spectrum
from specvit.spectra.resample import smooth
from specvit.stellar import ModelError, StarFitSettings, StarFitter, load_model_error
from specvit.stellar import calibration as calibration_module
from specvit.stellar.calibration import KnownStar, build_model_error, known_residuals, leave_out, scale_of
from specvit.stellar.model_error import builtin_model_error, library_digest

LACKING, DEPTH = 7950.0, 0.08
SETTINGS = StarFitSettings(wave_error=0.002, starts=3)


def known_star(number, emulator):
    rng = np.random.default_rng(number)
    labels = [rng.uniform(4200, 5600), rng.uniform(1.5, 4.5), rng.uniform(-0.6, 0.2), 0.1, 0.0]
    flux = emulator(torch.tensor([labels], dtype=torch.float32))[0].double().numpy()
    flux = flux * (1 - DEPTH * np.exp(-0.5 * ((emulator.grid.wavelength - LACKING) / 1.5) ** 2))
    seen = smooth(flux, emulator.grid, emulator.resolution, 2200.0)
    wavelength = np.arange(7430.0, 8890.0, 1.4)
    seen = np.interp(wavelength, emulator.grid.wavelength, seen)
    seen = seen / np.median(seen) + 0.004 * rng.standard_normal(wavelength.size)
    raw = RawSpectrum(f"star {number}", "test", wavelength, seen, np.full(seen.size, 0.004), medium="vacuum")
    raw.fwhm = wavelength / 2200
    known = dict(zip(("teff", "log_g", "m_h"), labels, strict=False))
    return KnownStar(checked_spectrum(raw, "a"), known, "even" if number % 2 else "odd")


@pytest.fixture(scope="module")
def case():
    emulator = Emulator.builtin()
    stars = [known_star(number, emulator) for number in range(18)]
    residuals = known_residuals(stars, emulator, SETTINGS)
    return emulator, stars, residuals, build_model_error(residuals, emulator, "made")


def test_a_lacking_line_is_found_where_it_is_and_as_deep_as_it_is(case):
    emulator, stars, residuals, error = case
    assert error.stars == len(residuals) == len(stars)
    at = np.argmin(error.correction)
    assert abs(np.exp(error.log_wavelength[at]) - LACKING) < 2
    # As deep as at R = 2200, less what the mean is shrunk by and what is smooth.
    sigma = LACKING * np.sqrt(2200.0**-2 - emulator.resolution**-2) / 2.3548
    depth = DEPTH * 1.5 / np.hypot(1.5, sigma)
    assert -1.05 * depth < error.correction[at] < -0.6 * depth
    far = np.abs(np.exp(error.log_wavelength) - LACKING) > 30
    assert np.abs(np.array(error.correction)[far]).max() < 0.006


def test_the_correction_lets_the_line_be_fitted(case):
    emulator, _, _, error = case
    star = known_star(99, emulator).spectrum
    (_, plain), (_, fitted) = (
        StarFitter(emulator, *words).fit([star])[0]
        for words in ((replace(SETTINGS, model_error=0.015),), (SETTINGS, error))
    )
    line = np.abs(plain.wavelength - LACKING) < 2
    off, left = (np.abs((one.flux - one.model)[line]).max() for one in (plain, fitted))
    assert left < 0.5 * off


def test_a_star_has_no_part_in_what_it_is_scored_with(case, monkeypatch):
    emulator, stars, residuals, _ = case
    made = []

    def build(others, *words):
        made.append({one.star.spectrum.name for one in others})
        return build_model_error(others, *words)

    fitted = []
    fit = StarFitter.fit

    def fit_and_note(fitter, spectra):
        if fitter.model_error is not None:
            fitted.append({one.name for one in spectra})
        return fit(fitter, spectra)

    monkeypatch.setattr(calibration_module, "build_model_error", build)
    monkeypatch.setattr(StarFitter, "fit", fit_and_note)
    found = leave_out(residuals, emulator, SETTINGS, folds=3)
    assert [one.spectrum.name for one in found.stars] == [one.spectrum.name for one in stars]
    assert set.union(*fitted) == {one.spectrum.name for one in stars}
    assert all(not (one & other) for one, other in zip(made, fitted, strict=True))
    assert [outcome[0].name for outcome in found.corrected] == [one.spectrum.name for one in stars]
    made.clear()
    fitted.clear()
    leave_out(residuals, emulator, SETTINGS, groups=True)
    assert fitted == [{s.spectrum.name for s in stars if s.group == group} for group in ("even", "odd")]
    assert all(not (one & other) for one, other in zip(made, fitted, strict=True))


def test_stars_outside_the_library_have_no_part(case):
    emulator, stars, _, _ = case
    hot = replace(stars[0], labels=stars[0].labels | {"teff": 6500.0})
    assert known_residuals([hot], emulator, SETTINGS) == []
    with pytest.raises(DataError, match="0 stars of known parameters"):
        build_model_error([], emulator, "")


def test_a_file_comes_back_and_a_damaged_one_is_named(case, tmp_path):
    error = case[3]
    error.save(tmp_path / "a.json")
    assert load_model_error(tmp_path / "a.json") == error
    (tmp_path / "b.json").write_text((tmp_path / "a.json").read_text().replace('"form": 1', '"form": 2'))
    (tmp_path / "c.json").write_text("{}")
    for name in ("b.json", "c.json", "none.json"):
        with pytest.raises(DataError, match=name):
            load_model_error(tmp_path / name)


def test_the_error_of_another_library_is_refused(case):
    with pytest.raises(ConfigError, match="calibrate-stars"):
        StarFitter(settings=SETTINGS, model_error=replace(case[3], library="0" * 16))


def test_the_builtin_library_has_its_own_unless_an_error_is_stated():
    assert builtin_model_error().library == library_digest(Emulator.builtin())
    assert StarFitter().model_error is builtin_model_error()
    assert StarFitter(settings=StarFitSettings(model_error=0.02)).model_error is None


def made(correction, error=(0.02, 0.02)):
    return ModelError(8.9, 0.1, 2000.0, correction, error, 0.2, -0.1, 9, "x", "")


def test_errors_follow_teff_and_log_g_within_limits():
    one, at = made((0.0, 0.0)), np.array([8.95])
    assert one.error_at(at, {"teff": 5000.0, "log_g": 3.0}) == pytest.approx([0.02])
    assert one.error_at(at, {"teff": 6000.0, "log_g": 4.0}) == pytest.approx([0.02 * np.exp(0.1)])
    assert one.error_at(at, {"teff": 9000.0, "log_g": 1.0}) == pytest.approx([0.02 * 1.5])


def test_a_correction_is_smoothed_for_blunter_spectra_and_not_for_sharper():
    grid = np.linspace(8.9, 9.0, 4001)
    spike = made(tuple(np.where(np.arange(4001) == 2000, 0.5, 0.0).tolist()), (0.02,) * 4001)
    spike = replace(spike, step=float(grid[1] - grid[0]))
    assert spike.correction_at(grid, 5000.0).max() == pytest.approx(0.5)
    blunt = spike.correction_at(grid, 1000.0)
    width = np.sqrt((blunt * (grid - 8.95) ** 2).sum() / blunt.sum())
    assert blunt.sum() == pytest.approx(0.5, rel=1e-6)
    assert width == pytest.approx(np.sqrt(1000.0**-2 - 2000.0**-2) / 2.3548, rel=0.01)


def test_what_left_out_stars_say_of_errors_and_scale(case):
    emulator, _, residuals, error = case
    scale = scale_of(leave_out(residuals, emulator, SETTINGS))
    assert set(scale.systematic) == set(scale.calibration) == {"teff", "log_g", "m_h"}
    # Made by the library itself: nothing to calibrate.
    assert abs(scale.calibration["log_g"].offset) < 0.1
    assert abs(scale.calibration["teff"].offset) < 30
    told = replace(error, systematic={"teff": 77.0}, calibration=scale.calibration)
    star, _ = StarFitter(emulator, SETTINGS, told).fit([known_star(5, emulator).spectrum])[0]
    assert star.total_errors["teff"] == pytest.approx(np.hypot(star.errors["teff"], 77.0))
    assert star.total_errors["log_g"] == pytest.approx(star.errors["log_g"])


def test_a_line_of_known_values_off_the_estimates_is_found(case):
    emulator, _, residuals, _ = case
    left_out = leave_out(residuals, emulator, SETTINGS)
    moved = tuple(
        replace(star, labels=star.labels | {"log_g": star.labels["log_g"] + 0.4}) for star in left_out.stars
    )
    plain, other = scale_of(left_out), scale_of(replace(left_out, stars=moved))
    shift = other.calibration["log_g"].offset - plain.calibration["log_g"].offset
    assert shift == pytest.approx(0.4, abs=1e-6)
    assert other.before["log_g"] > 0.3 > 0.15 > other.after["log_g"]
