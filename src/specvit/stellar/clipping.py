"""Sigma clipping: pixels far from the best template are left out, and the star is fitted again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from specvit.observed import ObservedSpectrum
from specvit.stellar.fit import Outcome, StarFitter
from specvit.stellar.parameters import FittedSpectrum, Refusal, StellarParameters
from specvit.stellar.pixels import fit_pixels

#: Fits after the first, and the share of pixels beyond which a model is wrong and not its pixels.
ROUNDS, MOST_CLIPPED = 3, 0.1


def fit_clipped(fitter: StarFitter, spectra: Sequence[ObservedSpectrum], clip: float) -> list[Outcome]:
    """Return what is found for each spectrum without the pixels more than `clip` σ off; how many is among what is assumed.

    σ is that of the fit: noise and model error, times the root of χ² per degree of freedom where that is above 1.
    Where more than a tenth of the pixels are off, the model is wrong and nothing is left out.
    """
    outcomes = fitter.fit(spectra)
    clipped = [0] * len(outcomes)
    going = list(range(len(outcomes)))
    rounds = 0
    while going and rounds < ROUNDS:
        rounds += 1
        cut: dict[int, ObservedSpectrum] = {}
        for number in going:
            outcome = outcomes[number]
            if isinstance(outcome, Refusal):
                continue
            off = _off(fitter, *outcome, clip)
            if off.sum() > 0 and clipped[number] + off.sum() <= MOST_CLIPPED * outcome[0].pixels:
                clipped[number] += int(off.sum())
                cut[number] = _without(outcome[1], off)
        again = dict(zip(cut, fitter.fit(list(cut.values())), strict=True))
        # A star that is refused without these pixels keeps what was found with them.
        for number, outcome in again.items():
            if isinstance(outcome, Refusal):
                clipped[number] = 0
            else:
                outcomes[number] = outcome
        going = [number for number, outcome in again.items() if not isinstance(outcome, Refusal)]
    return [_said(outcome, count, clip) for outcome, count in zip(outcomes, clipped, strict=True)]


def _off(fitter: StarFitter, star: StellarParameters, fitted: FittedSpectrum, clip: float) -> np.ndarray:
    """Return which pixels are off, shape (L,), bool."""
    grid = fitter.emulator.grid
    # The same pixels again: an answer does not keep the errors they were fitted with.
    pixels = fit_pixels(fitted.spectrum, fitter.settings, grid.start, grid.stop)
    weight = fitter.weight(pixels, star.velocity, star.labels) / max(star.chi2, 1.0)
    off: np.ndarray = (fitted.flux - fitted.model) ** 2 * weight > clip**2
    return off


def _without(fitted: FittedSpectrum, off: np.ndarray) -> ObservedSpectrum:
    """Return the spectrum with its own pixels nearest to those that are off dead."""
    spectrum = fitted.spectrum
    middle = 0.5 * (fitted.wavelength[1:] + fitted.wavelength[:-1])
    nearest = np.searchsorted(middle, spectrum.wavelength)
    inside = (spectrum.wavelength >= fitted.wavelength[0]) & (spectrum.wavelength <= fitted.wavelength[-1])
    return replace(spectrum, sigma=np.where(inside & off[nearest], np.inf, spectrum.sigma))


def _said(outcome: Outcome, count: int, clip: float) -> Outcome:
    if isinstance(outcome, Refusal) or not count:
        return outcome
    star, fitted = outcome
    note = f"{count} pixels more than {clip:g} σ off the template were left out"
    return replace(star, assumptions=(*star.assumptions, note)), fitted
