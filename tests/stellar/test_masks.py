"""What masks leave out and cost, and clipping."""

from dataclasses import replace

import numpy as np
import pytest

from specvit.spectra.airglow import NIGHT_SKY_LINES
from specvit.stellar import Refusal, StarFitSettings, StarFitter
from specvit.stellar.clipping import fit_clipped
from specvit.stellar.mask_cost import mask_costs
from specvit.stellar.settings import TELLURIC
from test_fit import STARS, observe

SETTINGS = StarFitSettings(model_error=0.002, core_error=0.3)


@pytest.fixture(scope="module")
def fitter():
    return StarFitter(settings=SETTINGS)


@pytest.fixture(scope="module")
def giant(fitter):
    return fitter.fit([observe(*STARS["giant"])])[0]


def test_a_mask_costs_what_is_in_it(fitter, giant):
    lines = tuple((line - 4.0, line + 4.0) for line in (8740.0, 8806.76, 8807.0))
    windows = {"air": TELLURIC, "nothing": ((5000.0, 5010.0),), "bare": ((8580.0, 8585.0),), "lines": lines}
    costs = mask_costs(fitter, *giant, windows)
    assert set(costs) == {"air", "bare", "lines", "Ca II cores"}
    assert all(ratio > 0.9999 for cost in costs.values() for ratio in cost.ratio.values())
    # Five ångströms of continuum say less than the cores from which log g comes, or half of the spectrum.
    assert costs["bare"].ratio["log_g"] < 1.01
    assert costs["Ca II cores"].ratio["log_g"] > costs["bare"].ratio["log_g"] + 0.02
    assert costs["air"].ratio["teff"] > 1.05
    assert costs["air"].angstroms == pytest.approx(sum(high - low for low, high in TELLURIC), rel=0.05)


def test_the_cost_is_what_a_fit_without_the_mask_gains(fitter, giant):
    """Errors of two fits, one with the windows of the air and one without, on spectra of the same noise."""
    star, fitted = giant
    other = StarFitter(settings=replace(SETTINGS, telluric=False))
    without = other.fit([fitted.spectrum])[0][0]
    cost = mask_costs(fitter, star, fitted, {"air": TELLURIC})["air"]
    for label in ("teff", "m_h"):
        # Errors of a fit are of its own best labels, and of every minimum.
        assert cost.ratio[label] == pytest.approx(star.errors[label] / without.errors[label], rel=0.15), label


def test_a_window_known_in_the_telescopes_frame_is_not_widened(fitter):
    lines = tuple((line - 0.05, line + 0.05) for line in NIGHT_SKY_LINES)
    masked = StarFitter(settings=replace(SETTINGS, masks=lines))
    spectrum = observe(*STARS["giant"])
    still, moved, unknown = (
        masked.fit([replace(spectrum, frame=frame, to_observed=speed)])[0][0].pixels
        for frame, speed in (("observed", 0.0), ("barycentric", 10.0), ("barycentric", 0.0))
    )
    assert abs(still - moved) < 12
    assert unknown < still - 40


def test_clipping_takes_cosmic_rays_and_says_how_many(fitter):
    clean = observe(*STARS["dwarf"], snr=60)
    rng = np.random.default_rng(5)
    hit = rng.choice(np.flatnonzero((clean.wavelength > 7440) & (clean.wavelength < 7580)), 8, replace=False)
    flux = clean.flux.copy()
    flux[hit] *= rng.uniform(2, 5, hit.size)
    dirty = replace(clean, flux=flux)
    plain, _ = fitter.fit([dirty])[0]
    (clipped, fitted), kept = fit_clipped(fitter, [dirty, replace(clean, name="kept")], 5.0)
    assert plain.chi2 > 2 * clipped.chi2
    assert clipped.chi2 == pytest.approx(1, abs=0.2)
    assert not np.isfinite(fitted.sigma[np.isin(fitted.wavelength, clean.wavelength[hit])]).any()
    (note,) = [line for line in clipped.assumptions if "left out" in line]
    assert note.startswith(("8 pixels", "9 pixels", "10 pixels"))
    assert kept[0].pixels - clipped.pixels == int(note.split()[0])
    assert not any("σ off the template" in line for line in kept[0].assumptions)


def test_clipping_leaves_a_wrong_model_and_refusals_alone(fitter):
    spectrum = observe(*STARS["dwarf"])
    wrong = replace(spectrum, flux=spectrum.flux * (1 + 0.5 * np.sin(np.arange(spectrum.flux.size) / 2.0)))
    blue = replace(spectrum, wavelength=spectrum.wavelength - 4000)
    star, refused = fit_clipped(fitter, [wrong, blue], 3.0)
    assert not any("σ off the template" in line for line in star[0].assumptions)
    assert isinstance(refused, Refusal)
