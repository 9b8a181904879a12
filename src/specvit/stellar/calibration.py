"""From stars of known parameters to a `ModelError`, judged on stars that were left out.

Each star is fitted with its labels held where they are known; what the best template then leaves over, put into the
rest frame, is the library's error, the star's noise and the spectrograph's. The correction is the weighted mean over
stars, shrunk to zero and without what is smooth over `HIGH_PASS`, which belongs to spectrographs more than to stars. The
error is the root mean square of what is left beyond the noise, enlarged because its neighbours are alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from specvit.errors import DataError
from specvit.library import Emulator
from specvit.observed import ObservedSpectrum
from specvit.spectra import SPEED_OF_LIGHT_KM_S
from specvit.spectra.resample import FWHM_PER_SIGMA
from specvit.stellar.fit import Outcome, StarFitter
from specvit.stellar.flags import NOTES
from specvit.stellar.label_calibration import FEWEST as FEWEST_CALIBRATED
from specvit.stellar.label_calibration import LabelCalibration, left_out_values, line_of
from specvit.stellar.model_error import MIDDLE_LOG_G, MIDDLE_TEFF, ModelError, library_digest
from specvit.stellar.parameters import Refusal
from specvit.stellar.settings import FLAT_ERROR, StarFitSettings
from specvit.stellar.systematic import missing_error

#: 1 σ to which labels are held where they are known.
HELD = {"teff": 3.0, "log_g": 0.01, "m_h": 0.01}
#: 1 / step of the grid in ln λ: three points per FWHM at R = 1800.
POINTS_PER_E = 5500.0
#: Å (FWHM) of the Gaussian whose result is taken off residuals.
HIGH_PASS = 15.0
#: Relative error that every pixel may have in any star, and how often the residuals of a star count as its noise.
FLOOR, SPREAD = 0.005, 1.5
#: Weight at zero of the correction, and at the mean of all pixels of the error, in stars with an error of 1 %.
SHRINK, SHRINK_ERROR = 2.0, 1.0
#: Points over which the error is smoothed; by what it is enlarged, and the least it is.
SMOOTH, ENLARGED, LEAST = 3.0, 2.0, 0.015
#: Stars without any change of the error with Teff and log g that count beside those given.
STEADY = 10.0
#: Fewest stars a model error is made of.
FEWEST = 8


@dataclass(frozen=True)
class KnownStar:
    """A spectrum and what is known of its star.

    Args:
        spectrum: as read.
        labels: label -> value; `teff` and `log_g` at least.
        group: survey or spectrograph; whole groups can be left out.
    """

    spectrum: ObservedSpectrum
    labels: dict[str, float]
    group: str = ""


@dataclass(frozen=True)
class KnownResidual:
    """What is left over of one star at its known labels, on the grid; NaN where nothing was seen.

    Args:
        star: whose.
        off: flux over model, minus one, shape (n,).
        noise: 1 σ of it, shape (n,).
        resolution: λ/FWHM of the spectrum.
    """

    star: KnownStar
    off: np.ndarray
    noise: np.ndarray
    resolution: float


def grid_of(emulator: Emulator) -> np.ndarray:
    """Return ln λ of the grid, shape (n,)."""
    low, high = np.log(emulator.grid.start), np.log(emulator.grid.stop)
    grid: np.ndarray = low + np.arange(int((high - low) * POINTS_PER_E)) / POINTS_PER_E
    return grid


def known_residuals(
    stars: Sequence[KnownStar], emulator: Emulator, settings: StarFitSettings
) -> list[KnownResidual]:
    """Return the residuals of the stars that can be fitted and whose labels the library holds, in their order."""
    space, grid = emulator.label_space, grid_of(emulator)
    bounds = dict(zip(space.names, zip(space.low, space.high, strict=True), strict=True))
    inside = [
        star
        for star in stars
        if all(bounds[n][0] <= v <= bounds[n][1] for n, v in star.labels.items() if n in bounds)
    ]
    # Cores that a fit leaves out are looked at here; and the flat error knows nothing yet.
    plain = replace(settings, core_error=0.0, model_error=LEAST)
    held = [
        replace(
            star.spectrum,
            known={n: (v, HELD.get(n, 0.01)) for n, v in star.labels.items() if n in bounds},
        )
        for star in inside
    ]
    found = []
    for star, outcome in zip(inside, StarFitter(emulator, plain).fit(held), strict=True):
        if isinstance(outcome, Refusal):
            continue
        answer, pixels = outcome
        rest = np.log(pixels.wavelength) - np.log1p(answer.velocity / SPEED_OF_LIGHT_KM_S)
        used = np.isfinite(pixels.sigma) & (pixels.model > 0.05)
        model = np.where(used, pixels.model, 1.0)
        off = np.where(used, pixels.flux / model - 1, 0.0)
        variance = np.where(used, (pixels.sigma / model) ** 2, 0.0)
        found.append(
            KnownResidual(star, *_on_grid(rest, used, off, variance, grid), resolution=answer.resolution)
        )
    return found


def _on_grid(
    rest: np.ndarray, used: np.ndarray, off: np.ndarray, variance: np.ndarray, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return residual and noise on the grid: means of finer pixels, values between coarser ones."""
    step = grid[1] - grid[0]
    if np.median(np.diff(rest)) > 0.7 * step:
        nearest = np.searchsorted(0.5 * (rest[1:] + rest[:-1]), grid)
        near = used[nearest] & (np.abs(rest[nearest] - grid) < 1.5 * np.gradient(rest)[nearest])
        mean = np.interp(grid, rest[used], off[used])
        return np.where(near, mean, np.nan), np.where(near, np.sqrt(variance[nearest]), np.nan)
    at = np.rint((rest - grid[0]) / step).astype(int)
    chosen = used & (at >= 0) & (at < grid.size)
    count, total, spread = (
        np.bincount(at[chosen], weights, grid.size) for weights in (None, off[chosen], variance[chosen])
    )
    safe = np.maximum(count, 1)
    seen = count > 0
    return np.where(seen, total / safe, np.nan), np.where(seen, np.sqrt(spread) / safe, np.nan)


def build_model_error(residuals: Sequence[KnownResidual], emulator: Emulator, sources: str) -> ModelError:
    """Return the model error of the residuals of known stars.

    Args:
        residuals: of at least `FEWEST` stars.
        emulator: that they were found with.
        sources: in words, where the stars are from.

    Raises:
        DataError: for fewer stars.
    """
    if len(residuals) < FEWEST:
        raise DataError(
            f"{len(residuals)} stars of known parameters could be fitted inside the library, {FEWEST} are the least"
        )
    off = np.array([one.off for one in residuals])
    noise = np.array([one.noise for one in residuals])
    seen = np.isfinite(off) & np.isfinite(noise)
    off, noise = np.where(seen, off, 0.0), np.where(seen, noise, 0.0)
    grid = grid_of(emulator)
    blur = HIGH_PASS / FWHM_PER_SIGMA / (np.exp(grid.mean()) / POINTS_PER_E)
    share = gaussian_filter1d(seen.astype(float), blur, axis=1).clip(1e-3)
    off = np.where(seen, off - gaussian_filter1d(off, blur, axis=1) / share, 0.0)
    own = np.array([np.median(np.abs(row[there])) / 0.6745 for row, there in zip(off, seen, strict=True)])
    weight = np.where(seen, 1e-4 / (noise**2 + (SPREAD * own[:, None]) ** 2 + FLOOR**2), 0.0)
    correction = (weight * off).sum(0) / (weight.sum(0) + SHRINK)
    left = np.where(seen, (off - correction) ** 2 - noise**2, 0.0)
    total, stars = (weight * left).sum(0), weight.sum(0)
    typical = total.sum() / stars.sum()
    variance = (gaussian_filter1d(total, SMOOTH) + SHRINK_ERROR * typical) / (
        gaussian_filter1d(stars, SMOOTH) + SHRINK_ERROR
    )
    error = np.maximum(ENLARGED * np.sqrt(variance.clip(0)), LEAST)
    by_teff, by_log_g = _trend(residuals, left, seen, error)
    return ModelError(
        float(grid[0]),
        1 / POINTS_PER_E,
        float(np.median([one.resolution for one in residuals])),
        tuple(np.round(correction, 5).tolist()),
        tuple(np.round(error, 5).tolist()),
        by_teff,
        by_log_g,
        len(residuals),
        library_digest(emulator),
        sources,
    )


def _trend(
    residuals: Sequence[KnownResidual], left: np.ndarray, seen: np.ndarray, error: np.ndarray
) -> tuple[float, float]:
    """Return the change of ln(error) per 1000 K and per dex, within groups, shrunk to none."""
    scaled = np.where(seen, left / error**2, 0.0).sum(1) / seen.sum(1)
    good = scaled > 0
    groups = np.array([one.star.group for one in residuals])[good]
    target = 0.5 * np.log(scaled[good])
    labels = np.array(
        [
            [(one.star.labels["teff"] - MIDDLE_TEFF) / 1000, one.star.labels["log_g"] - MIDDLE_LOG_G]
            for one in residuals
        ]
    )[good]
    for group in np.unique(groups):
        here = groups == group
        target[here] -= target[here].mean()
        labels[here] -= labels[here].mean(0)
    slope = np.linalg.solve(labels.T @ labels + STEADY * np.eye(2), labels.T @ target)
    return float(round(slope[0], 4)), float(round(slope[1], 4))


@dataclass(frozen=True)
class LeftOut:
    """Stars fitted without a model error and with one that they have no part in.

    Args:
        stars: N of them.
        plain, corrected: what was found for each.
    """

    stars: tuple[KnownStar, ...]
    plain: tuple[Outcome, ...]
    corrected: tuple[Outcome, ...]

    def off(self, outcomes: Sequence[Outcome], label: str) -> np.ndarray:
        """Return estimates minus known values of a label, shape (N,); NaN where one of them is missing."""
        return np.array(
            [
                np.nan if isinstance(one, Refusal) else one[0].labels[label] - star.labels.get(label, np.nan)
                for one, star in zip(outcomes, self.stars, strict=True)
            ]
        )


def folds_of(stars: int, folds: int) -> np.ndarray:
    """Return the number of the part of each star, shape (stars,), drawn with a fixed seed."""
    return np.random.default_rng(1).permutation(stars) % min(folds, stars)


def leave_out(
    residuals: Sequence[KnownResidual],
    emulator: Emulator,
    settings: StarFitSettings,
    groups: bool = False,
    folds: int = 10,
) -> LeftOut:
    """Fit every star with a model error that is made without it.

    Args:
        residuals: of the stars.
        emulator, settings: of the fit.
        groups: leave out the whole group of a star, instead of a part of the stars, drawn with a fixed seed.
        folds: how many parts, without `groups`.

    Raises:
        DataError: if too few stars are left to make a model error of.
    """
    stars = [one.star for one in residuals]
    if groups:
        names = sorted({star.group for star in stars})
        part = np.array([names.index(star.group) for star in stars])
    else:
        part = folds_of(len(stars), folds)
    flat = StarFitter(emulator, replace(settings, model_error=FLAT_ERROR))
    plain = flat.fit([star.spectrum for star in stars])
    corrected: dict[int, Outcome] = {}
    for number in np.unique(part):
        here = np.flatnonzero(part == number)
        others = [one for one, other in zip(residuals, part, strict=True) if other != number]
        fitter = StarFitter(emulator, settings, build_model_error(others, emulator, ""), flat.banks)
        corrected |= zip(here.tolist(), fitter.fit([stars[k].spectrum for k in here]), strict=True)
    return LeftOut(tuple(stars), tuple(plain), tuple(corrected[k] for k in range(len(stars))))


@dataclass(frozen=True)
class KnownScale:
    """What stars that were left out say of estimates.

    Args:
        systematic: label -> 1 σ that statistical errors lack.
        calibration: label -> what brings estimates to the known scale.
        before, after: label -> median absolute deviation of estimates, and of calibrated ones, each star by the others.
    """

    systematic: dict[str, float]
    calibration: dict[str, LabelCalibration]
    before: dict[str, float]
    after: dict[str, float]


def scale_of(left_out: LeftOut) -> KnownScale:
    """Return what the stars without doubts say, of the labels of which enough are known."""
    found = KnownScale({}, {}, {}, {})
    sound = [
        (star, one[0])
        for star, one in zip(left_out.stars, left_out.corrected, strict=True)
        if not isinstance(one, Refusal) and set(one[0].flags) <= set(NOTES)
    ]
    for label in sorted(set().union(*(star.labels for star, _ in sound))):
        pairs = [
            (star.labels[label], one) for star, one in sound if label in star.labels and label in one.labels
        ]
        if len(pairs) < FEWEST_CALIBRATED:
            continue
        known = np.array([value for value, _ in pairs])
        estimate, sigma = (
            np.array([getattr(one, part)[label] for _, one in pairs]) for part in ("labels", "errors")
        )
        calibrated = left_out_values(estimate, known)
        offset, slope, pivot = line_of(estimate, known - estimate)
        missing = missing_error(calibrated - known, sigma)
        reach = float(estimate.min()), float(estimate.max())
        found.systematic[label] = missing_error(estimate - known, sigma)
        found.calibration[label] = LabelCalibration(offset, slope, pivot, *reach, missing, len(pairs))
        found.before[label], found.after[label] = (
            float(np.median(np.abs(values - known))) for values in (estimate, calibrated)
        )
    return found
