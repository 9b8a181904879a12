"""The flags of a fit, each with what it means and what to do. Owns the thresholds.

A doubt says that the answer may be further off than its total error. A note says what was assumed, or why the error is
as large as it is; the error holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter1d

from specvit.numerics import locked, remembered
from specvit.spectra import SPEED_OF_LIGHT_KM_S
from specvit.stellar.parameters import Minimum
from specvit.stellar.pixels import CALCIUM, FitPixels

#: Flag -> what it means and what to do.
FLAGS = {
    "LABEL_ON_FACE": "Teff, log g or [M/H] ended on the edge of the library, or of a hole in it: the star is beyond; use a wider library.",
    "CHI2": "the best template does not fit: look at the residuals; check resolution, medium and masks.",
    "SIGMA_LARGE": "the spectrum hardly says: more signal, more range, or priors of your own are needed.",
    "RV_EDGE": "the velocity ended on the edge of what was looked for: wavelengths or medium may be wrong.",
    "NO_CAT": "fewer than two lines of the Ca II triplet are in the spectrum: log g is weakly constrained.",
    "LOW_COVERAGE": "less than 200 Å were left to fit.",
    "WIDTH": "lines are broader or narrower than the resolution allows: give the right one with --resolution; else a rotating or a double star, or a galaxy.",
    "PRIOR": "the spectrum disagrees with a prior that was given, by more than 3 sigma: one of the two is wrong.",
    "NOT_A_STAR": "a smooth continuum fits as well, or emission is left over: no late-type star is seen.",
    "MULTIPLE_MINIMA": "another, different answer fits almost as well: see `minima`; a prior on Teff decides.",
    "CORE_FILLED": "cores of the Ca II triplet are shallower than in the best template: an active star, emission, or the light of something else.",
    "OUT_OF_DOMAIN": "unlike what the library and the instrument make, noise included: see the reason given with it.",
    "ASSUMED_SIGMA": "the file has no errors: sigma was estimated from the spectrum.",
    "ASSUMED_RESOLUTION": "the file does not state the resolution: give it with --resolution.",
}
#: The flags that are notes; the others are doubts.
NOTES = ("NO_CAT", "LOW_COVERAGE", "ASSUMED_SIGMA", "ASSUMED_RESOLUTION")

#: χ² per degree of freedom, with the model error in sigma.
LARGEST_CHI2 = 1.5
#: Beyond these an answer is hardly one. A hot star in a library of cool ones often shows itself by them alone; of known
#: stars 0.8 dex in log g finds nearly as many as 0.5, with half of the false alarms (docs/predict.md).
LARGEST_SIGMA = {"teff": 300.0, "log_g": 0.8, "m_h": 0.4}
#: Share of the box within which a label is on its face.
FACE = 0.005
#: Å around a core of Ca II that must be there.
CORE_REACH = 8.0
FEWEST_ANGSTROMS = 200.0
#: By how much a star's lines must improve χ² over a smooth continuum, times χ² per degree of freedom.
LINES_MATTER = 60.0
#: A line in emission: its mean over one FWHM above the model, in units of the flux and of σ.
EMISSION, EMISSION_SIGMA = 0.15, 8.0
#: Å (and FWHM) from a core that are looked at; by how much of the flux cores are filled, and in units of its error.
CORE_HALF, CORE_SHARE, FILLED, FILLED_SIGMA = 1.5, 0.5, 0.06, 4.0
#: Relative error of a template at a core that stars without activity have.
QUIET_CORE = 0.015
#: ln of the line width over the stated one, in σ of its prior; share of the range it may have, at whose edge it is.
WIDTH_SIGMA, WIDTH_EDGE = 3.3, 0.95
#: σ of a prior beyond which an answer contradicts it.
PRIOR_SIGMA = 3.0
#: Another minimum counts within this of the best (2 ln of the posterior), if a label differs by this much.
ALMOST, DIFFERENT = 9.0, {"teff": 300.0, "log_g": 0.5, "m_h": 0.4}


@dataclass(frozen=True)
class FittedStar:
    """What flags are made of, for one star.

    Args:
        pixels: of the fit.
        model: best template times continuum, shape (L,).
        weight: of the pixels, shape (L,).
        labels, errors: of the answer.
        room: label -> distance to the nearest face of what the library covers, in shares of its box.
        velocity, largest: km/s, found and looked for.
        chi2, freedom: of the pixels, and degrees of freedom.
        smooth_chi2: of the continuum alone.
        minima: the best first.
        width, width_sigma, width_range: ln of the line width over the stated one, 1 σ of its prior, and how far it may go.
        prior_pull: label -> distance from a prior that was given, in its σ.
    """

    pixels: FitPixels
    model: np.ndarray
    weight: np.ndarray
    labels: dict[str, float]
    errors: dict[str, float]
    room: dict[str, float]
    velocity: float
    largest: float
    chi2: float
    freedom: int
    smooth_chi2: float
    minima: tuple[Minimum, ...]
    width: float
    width_sigma: float
    width_range: float
    prior_pull: dict[str, float]


def flags_of(star: FittedStar) -> tuple[str, ...]:
    """Return the flags of a star, in the order of `FLAGS`."""
    reduced = star.chi2 / star.freedom
    raised = {
        "LABEL_ON_FACE": any(star.room[name] <= FACE for name in LARGEST_SIGMA if name in star.room),
        "CHI2": reduced > LARGEST_CHI2,
        "SIGMA_LARGE": any(
            star.errors[name] > most for name, most in LARGEST_SIGMA.items() if name in star.errors
        ),
        "RV_EDGE": abs(star.velocity) > 0.98 * star.largest,
        "WIDTH": abs(star.width) > min(WIDTH_SIGMA * star.width_sigma, WIDTH_EDGE * star.width_range),
        "PRIOR": any(abs(pull) > PRIOR_SIGMA for pull in star.prior_pull.values()),
        "NO_CAT": lines_seen(star.pixels, star.velocity) < 2,
        "LOW_COVERAGE": covered(star.pixels) < FEWEST_ANGSTROMS,
        "NOT_A_STAR": star.smooth_chi2 - star.chi2 < LINES_MATTER * max(1.0, reduced) or _has_emission(star),
        "MULTIPLE_MINIMA": any(
            _differs(star.minima[0], other) for other in star.minima[1:] if other.excess < ALMOST
        ),
        "CORE_FILLED": _core_filled(star),
        "ASSUMED_SIGMA": "sigma" in star.pixels.spectrum.assumed,
        "ASSUMED_RESOLUTION": "resolution" in star.pixels.spectrum.assumed,
    }
    return tuple(name for name in FLAGS if raised.get(name, False))


def covered(pixels: FitPixels) -> float:
    """Return how many Å are fitted."""
    return float(_widths(pixels.wavelength)[pixels.usable].sum())


@remembered
def _widths(wavelength: np.ndarray) -> np.ndarray:
    """Return the widths of pixels, shape (L,), Å."""
    return locked(np.gradient(wavelength))


def lines_seen(pixels: FitPixels, velocity: float) -> int:
    """Return how many lines of the Ca II triplet are among the pixels of a star of `velocity` km/s."""
    emitted = pixels.wavelength / (1 + velocity / SPEED_OF_LIGHT_KM_S)
    # Wavelengths increase: what is nearer than `CORE_REACH` lies between two places.
    first = np.searchsorted(emitted, [core - CORE_REACH for core in CALCIUM], "right").tolist()
    last = np.searchsorted(emitted, [core + CORE_REACH for core in CALCIUM], "left").tolist()
    usable, seen = pixels.usable, 0
    for start, stop in zip(first, last, strict=True):
        seen += stop - start >= 3 and np.count_nonzero(usable[start:stop]) / (stop - start) > 0.7
    return seen


def _core_filled(star: FittedStar) -> bool:
    """Return whether the cores of at least two lines of Ca II are less deep than in the best template."""
    pixels = star.pixels
    rest = pixels.wavelength / (1 + star.velocity / SPEED_OF_LIGHT_KM_S)
    half = max(CORE_HALF, CORE_SHARE * float(np.median(pixels.fwhm)))
    above, noise = [], []
    for core in CALCIUM:
        here = (np.abs(rest - core) < half) & pixels.usable
        if here.any():
            above.append(float(((pixels.flux - star.model) / pixels.level)[here].mean()))
            noise.append(float(np.sqrt(((pixels.sigma / pixels.level)[here] ** 2).sum())) / int(here.sum()))
    if len(above) < 2:
        return False
    error = np.hypot(QUIET_CORE, np.sqrt(np.square(noise).sum()) / len(noise))
    return bool(np.mean(above) > max(FILLED, FILLED_SIGMA * error) and min(above) > 0)


def _has_emission(star: FittedStar) -> bool:
    """Return whether a line as wide as the resolution rises above the model."""
    pixels = star.pixels
    size = max(2, round(float(np.median(pixels.fwhm) / np.median(np.diff(pixels.wavelength)))))
    used = star.weight > 0
    above = np.where(used, pixels.flux - star.model, 0.0)
    mean = uniform_filter1d(above, size)
    variance = uniform_filter1d(np.where(used, 1 / np.where(used, star.weight, 1.0), 0.0), size)
    noise = np.sqrt(variance.clip(0) / size)
    line = (mean > EMISSION * pixels.level) & (mean > EMISSION_SIGMA * noise) & used
    return bool(line.any())


def _differs(best: Minimum, other: Minimum) -> bool:
    return any(
        abs(best.values[name] - other.values[name]) > least
        for name, least in DIFFERENT.items()
        if name in best.values
    )
