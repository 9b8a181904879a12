"""A library of one's own, with other labels, range and limits, works to its own limits."""

import copy

import numpy as np
import pytest

from specvit.library import CoveredCells, FitSettings, SyntheticLibrary, fit_emulator
from specvit.observed.spectrum import RawSpectrum, checked_spectrum
from specvit.spectra import LabelSpace, WavelengthGrid
from specvit.spectra.resample import smooth
from specvit.stellar import StarFitSettings, StarFitter

SPACE = LabelSpace(("teff", "log_g", "m_h"), ("K", "dex", "dex"), (7000, 3, -1), (9000, 5, 0.5))
GRID = WavelengthGrid.log(5000.0, 10.0, 7200)
LINES = np.random.default_rng(7).uniform(5050, 6300, 60)


def spectra(labels):
    """Lines that get weaker with Teff, broader with log g and stronger with [M/H], each its own way."""
    teff, log_g, m_h = (
        (labels[:, i : i + 1] - SPACE.low[i]) / (SPACE.high[i] - SPACE.low[i]) for i in range(3)
    )
    flux = np.ones((len(labels), GRID.size))
    for k, line in enumerate(LINES):
        weight = np.random.default_rng(k).uniform(0.2, 1, 3)
        depth = 0.3 + 0.3 * weight[0] * m_h - 0.2 * weight[1] * teff
        width = 1.0 + 0.8 * weight[2] * log_g
        flux -= depth * np.exp(-0.5 * ((GRID.wavelength - line) / width) ** 2)
    return flux.clip(0.05)


@pytest.fixture(scope="module")
def fitter():
    low, high = np.array(SPACE.low), np.array(SPACE.high)
    labels = low + (high - low) * np.random.default_rng(0).random((300, 3))
    library = SyntheticLibrary(labels, spectra(labels), GRID, 20_000.0, SPACE)
    settings = FitSettings(components=12, width=48, depth=2, coordinates="labels", steps=700)
    return StarFitter(
        fit_emulator(library, settings=settings), StarFitSettings(velocity=400.0, model_error=0.005)
    )


def star(labels):
    seen = smooth(spectra(np.array([labels]))[0], GRID, 20_000.0, 3000.0)
    wavelength = np.arange(5060.0, 6300.0, 0.7)
    flux = np.interp(wavelength, GRID.wavelength, seen)
    noisy = flux + 0.01 * np.random.default_rng(1).standard_normal(flux.size)
    raw = RawSpectrum("A star", "test", wavelength, noisy, np.full(flux.size, 0.01), medium="vacuum")
    raw.fwhm = wavelength / 3000
    return checked_spectrum(raw, "a.fits")


def test_its_stars_are_found_and_its_limits_are_flagged(fitter):
    inside, outside = fitter.fit([star([8000.0, 4.0, -0.2]), star([8000.0, 4.0, 1.4])])
    labels = inside[0].labels
    assert list(labels) == ["teff", "log_g", "m_h"]
    assert abs(labels["teff"] - 8000) < 4 * inside[0].errors["teff"] + 60
    assert abs(labels["m_h"] + 0.2) < 4 * inside[0].errors["m_h"] + 0.05
    # The triplet is no part of its range; nothing else is wrong.
    assert inside[0].flags == ("NO_CAT",)
    assert "LABEL_ON_FACE" in outside[0].flags


def test_a_star_in_a_hole_of_the_library_ends_at_its_edge_and_is_flagged(fitter):
    """The library without its hot stars of high gravity: the first is one of them, the second none."""
    edges = (np.array([7000.0, 7600.0, 9000.0]), np.array([3.0, 3.7, 5.0]), np.array([-1.0, 0.5]))
    coverage = CoveredCells(edges, np.array([[True, True], [True, False]])[:, :, None])
    emulator = copy.copy(fitter.emulator)
    emulator.coverage = coverage
    holed = StarFitter(emulator, fitter.settings)
    found, other = holed.fit([star([8300.0, 4.4, -0.2]), star([8300.0, 3.3, -0.2])])
    labels = np.array([[answer[0].labels[name] for name in SPACE.names] for answer in (found, other)])
    assert coverage.covers(labels).all()
    assert "LABEL_ON_FACE" in found[0].flags
    assert labels[0, 0] == pytest.approx(7600) or labels[0, 1] == pytest.approx(3.7)
    assert "LABEL_ON_FACE" not in other[0].flags
    (alone,) = fitter.fit([star([8300.0, 3.3, -0.2])])
    assert labels[1] == pytest.approx(list(alone[0].labels.values()), rel=2e-3, abs=1e-2)
