"""The pixels of an observed spectrum that a fit uses: range, resolution, windows that are left out, errors.

What is done to a spectrum before a model is compared with it is done here, and said in `notes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from specvit.errors import WavelengthRangeError
from specvit.numerics import locked, median, remembered
from specvit.observed import ObservedSpectrum
from specvit.spectra import SPEED_OF_LIGHT_KM_S
from specvit.spectra.resample import FWHM_PER_SIGMA, gaussian_matrix
from specvit.stellar.settings import TELLURIC, StarFitSettings

#: Air of the Ca II triplet's cores, Å in vacuum (NIST ASD).
CALCIUM = (8500.36, 8544.44, 8664.52)
#: λ/FWHM: of spectra that cannot be fitted, of those that are fitted as they are, and to which sharper are smoothed.
LOWEST_RESOLUTION, SHARPEST, SMOOTHED_TO = 500.0, 12_000.0, 10_000.0
#: Pixels per FWHM beyond which a spectrum is binned: finer ones cost time and hold correlated noise.
MOST_PER_FWHM = 8.0
#: Fewest pixels and fewest Å that can say anything of a star.
FEWEST_PIXELS, FEWEST_ANGSTROMS = 60, 60.0
#: Å by which windows of the air are widened where the velocity frame is known only roughly.
FRAME_MARGIN = 1.2
#: Å over which the level of the flux, that model errors are relative to, is a median.
LEVEL_WINDOW = 60.0

#: Windows of the telescope's frame: lowest and highest wavelength, Å in vacuum.
Windows = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class FitPixels:
    """L pixels of one star; `wavelength`, `fwhm` and `in_air` may be those of others, too, and are not written to.

    Args:
        spectrum: where they are from.
        wavelength: shape (L,), Å in vacuum, in the frame of the file.
        flux: shape (L,), in units of its median.
        sigma: shape (L,), same unit, of the noise alone; `inf` where a pixel is left out.
        level: shape (L,): the running median of the flux, > 0.
        fwhm: of the line-spread function, shape (L,), Å.
        in_air: whether a pixel lies in a window of the air, shape (L,), bool.
        cores: whether it lies in a core of the Ca II triplet at rest, shape (L,), bool.
        notes: what was done.
    """

    spectrum: ObservedSpectrum
    wavelength: np.ndarray
    flux: np.ndarray
    sigma: np.ndarray
    level: np.ndarray
    fwhm: np.ndarray
    in_air: np.ndarray
    notes: tuple[str, ...]

    @property
    def usable(self) -> np.ndarray:
        """Which pixels are fitted, shape (L,), bool."""
        usable: np.ndarray = np.isfinite(self.sigma)
        return usable

    @property
    def resolution(self) -> float:
        """λ/FWHM, median over the pixels."""
        return _resolution(self.wavelength, self.fwhm)

    @property
    def span(self) -> float:
        """Å from the first to the last pixel that is fitted."""
        used = self.wavelength[self.usable]
        return float(used[-1] - used[0])


def fit_pixels(spectrum: ObservedSpectrum, settings: StarFitSettings, low: float, high: float) -> FitPixels:
    """Return the pixels of `spectrum` that a library of `low` to `high` Å can be compared with.

    Raises:
        WavelengthRangeError: if too little lies in the range, or the resolution is too low; names the file.
    """
    seen = _within(spectrum.wavelength, spectrum.fwhm, settings.velocity, low, high)
    source, notes = spectrum.source, list[str]()
    flux, sigma = spectrum.flux[seen.inside], spectrum.sigma[seen.inside]
    if sigma.size < 2 or not np.isfinite(sigma).any():
        raise WavelengthRangeError(
            f"{source}: covers {spectrum.wavelength[0]:.0f}-{spectrum.wavelength[-1]:.0f} Å, the library "
            f"{low:.0f}-{high:.0f} Å: nothing in common that is usable; {_mend(spectrum, low, high)}"
        )
    wavelength, fwhm, resolution = seen.wavelength, seen.fwhm, seen.resolution
    if resolution < LOWEST_RESOLUTION:
        raise WavelengthRangeError(
            f"{source}: R = {resolution:.0f} is below {LOWEST_RESOLUTION:.0f}, at which lines of stars are not seen; "
            "if it is wrong, give the right one with --resolution"
        )
    if resolution > SHARPEST or seen.per_fwhm > MOST_PER_FWHM:
        target = wavelength / SMOOTHED_TO if resolution > SHARPEST else np.sqrt(1.25) * fwhm
        notes.append(f"smoothed from R = {resolution:.0f} to {float(np.median(wavelength / target)):.0f}")
        wavelength, flux, sigma, fwhm = _smoothed(wavelength, flux, sigma, fwhm, target)
    spread = np.interp(wavelength, seen.wavelength, seen.fwhm) if notes else fwhm
    air = TELLURIC if settings.telluric and spectrum.ground else ()
    left = _left_out(wavelength, spread, _is_known(spectrum), spectrum.to_observed, air, settings.masks)
    sigma = np.where(left.out, np.inf, sigma)
    used = np.isfinite(sigma)
    count, covered = int(np.count_nonzero(used)), float(left.widths[used].sum())
    if count < FEWEST_PIXELS or covered < FEWEST_ANGSTROMS:
        raise WavelengthRangeError(
            f"{source}: {count} pixels ({covered:.0f} Å) between {low:.0f} and {high:.0f} Å are left after "
            f"masks, at least {FEWEST_PIXELS} ({FEWEST_ANGSTROMS:.0f} Å) are needed"
        )
    unit = median(np.abs(flux[used])) or 1.0
    flux, sigma = flux / unit, sigma / unit
    level = _level(wavelength, flux, used, left.step)
    return FitPixels(spectrum, wavelength, flux, sigma, level, fwhm, left.in_air, tuple(notes))


@remembered
def _resolution(wavelength: np.ndarray, fwhm: np.ndarray) -> float:
    return median(wavelength / fwhm)


class _Within(NamedTuple):
    """Which pixels of a file lie within a library, their wavelengths and FWHM (L,), Å, medians of R and pixels per FWHM."""

    inside: slice
    wavelength: np.ndarray
    fwhm: np.ndarray
    resolution: float
    per_fwhm: float


@remembered
def _within(wavelength: np.ndarray, fwhm: np.ndarray, velocity: float, low: float, high: float) -> _Within:
    """Return the pixels that a model of `low` to `high` Å reaches at every velocity that is looked for."""
    margin = 1 + velocity / SPEED_OF_LIGHT_KM_S
    # Wavelengths increase.
    first = int(np.searchsorted(wavelength, low * margin + 5, "right"))
    inside = slice(first, max(first, int(np.searchsorted(wavelength, high / margin - 5, "left"))))
    wavelength, fwhm = wavelength[inside].copy(), fwhm[inside].copy()
    resolution = per_fwhm = 0.0
    if wavelength.size > 1:
        resolution, per_fwhm = median(wavelength / fwhm), median(fwhm[1:] / np.diff(wavelength))
    return _Within(inside, locked(wavelength), locked(fwhm), resolution, per_fwhm)


class _LeftOut(NamedTuple):
    """Which pixels lie in windows of the air, and in any, shape (L,), bool; widths of pixels (L,) and the usual step, Å."""

    in_air: np.ndarray
    out: np.ndarray
    widths: np.ndarray
    step: float


@remembered
def _left_out(
    wavelength: np.ndarray,
    spread: np.ndarray,
    is_known: bool,
    to_observed: float,
    air: Windows,
    masks: Windows,
) -> _LeftOut:
    in_air, masked = (_inside(wavelength, spread, is_known, to_observed, each) for each in (air, masks))
    step = median(np.diff(wavelength))
    return _LeftOut(locked(in_air), locked(in_air | masked), locked(np.gradient(wavelength)), step)


def _mend(spectrum: ObservedSpectrum, low: float, high: float) -> str:
    """Return what may help a spectrum outside the range of the library."""
    middle = median(spectrum.wavelength)
    if any(low < middle * factor < high for factor in (0.1, 10.0)):
        return "if that is ten times too much or too little, give the unit with --unit"
    return "take a library of that range"


def in_windows(wavelength: np.ndarray, spectrum: ObservedSpectrum, windows: Windows) -> np.ndarray:
    """Return which pixels lie in windows of the telescope's frame, widened by what the spectrograph spreads, bool (L,)."""
    spread = np.interp(wavelength, spectrum.wavelength, spectrum.fwhm)
    return _inside(wavelength, spread, _is_known(spectrum), spectrum.to_observed, windows)


def _is_known(spectrum: ObservedSpectrum) -> bool:
    """Return whether the velocity frame is the telescope's, or differs from it by a velocity that is stated."""
    return spectrum.frame == "observed" or spectrum.to_observed != 0


def _inside(
    wavelength: np.ndarray, spread: np.ndarray, is_known: bool, to_observed: float, windows: Windows
) -> np.ndarray:
    """Return the same for a FWHM `spread` (L,), Å, and wavelengths that `to_observed` km/s bring to the telescope."""
    at = wavelength * (1 + to_observed / SPEED_OF_LIGHT_KM_S)
    # A frame that is not the telescope's, by a velocity nobody states, is known only roughly.
    margin = spread + (0.0 if is_known else FRAME_MARGIN)
    inside = np.zeros(wavelength.size, bool)
    for low, high in windows:
        inside |= (at > low - margin) & (at < high + margin)
    return inside


def _smoothed(
    wavelength: np.ndarray, flux: np.ndarray, sigma: np.ndarray, fwhm: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return wavelength, flux, sigma and FWHM on three pixels per FWHM `target` (L,), Å.

    Neighbours then share their noise. The error is enlarged so that a feature as wide as a few pixels has the
    uncertainty it had: by √(Σ_n corr_n), corr_n = exp(-n² Δ² / 4 σ²) for pixels of Δ and a kernel of σ.
    """
    relative = median(target / wavelength) / 3
    count = int(np.log(wavelength[-1] / wavelength[0]) / relative)
    out = wavelength[0] * np.exp(relative * np.arange(count))
    width = np.interp(out, wavelength, target)
    kernel = (
        np.sqrt((width**2 - np.interp(out, wavelength, fwhm) ** 2).clip((0.3 * width) ** 2)) / FWHM_PER_SIGMA
    )
    # In a gap there is nothing to smooth.
    above = np.searchsorted(wavelength, out).clip(1, wavelength.size - 1)
    nearest = np.minimum(np.abs(out - wavelength[above - 1]), np.abs(wavelength[above] - out))
    seen = nearest < 2 * kernel
    out, width, kernel = out[seen], width[seen], kernel[seen]
    matrix = gaussian_matrix(wavelength, out, kernel)
    alive = np.isfinite(sigma)
    share = matrix @ alive.astype(float)
    safe = np.where(share > 0.5, share, 1.0)
    variance = (matrix.multiply(matrix) @ np.where(alive, sigma, 0.0) ** 2) / safe**2
    shared = np.sqrt(4 * np.pi) * kernel / (relative * out)
    error = np.sqrt(variance * shared.clip(1.0))
    return out, matrix @ np.where(alive, flux, 0.0) / safe, np.where(share > 0.5, error, np.inf), width


def _level(wavelength: np.ndarray, flux: np.ndarray, used: np.ndarray, step: float) -> np.ndarray:
    """Return the running median of the flux, with a floor of a tenth of the whole median; `step` is Å from pixel to pixel."""
    # Needs Numba, which asking for help does not.
    from specvit.stellar.compiled import running_median

    filled = np.interp(wavelength, wavelength[used], flux[used])
    level = np.empty_like(filled)
    running_median(filled, min(max(3, int(LEVEL_WINDOW / step)), filled.size), level)
    floored: np.ndarray = np.maximum(np.abs(level), 0.1)
    return floored
