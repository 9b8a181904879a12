"""The pixels of an observed spectrum that a fit uses: range, resolution, windows that are left out, errors.

What is done to a spectrum before a model is compared with it is done here, and said in `notes`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter

from specvit.errors import WavelengthRangeError
from specvit.numerics import median
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


@dataclass(frozen=True)
class FitPixels:
    """L pixels of one star.

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
        return median(self.wavelength / self.fwhm)

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
    # A model must reach every pixel at every velocity that is looked for.
    margin = 1 + settings.velocity / SPEED_OF_LIGHT_KM_S
    inside = (spectrum.wavelength > low * margin + 5) & (spectrum.wavelength < high / margin - 5)
    source, notes = spectrum.source, list[str]()
    if not (inside & spectrum.usable).any():
        raise WavelengthRangeError(
            f"{source}: covers {spectrum.wavelength[0]:.0f}-{spectrum.wavelength[-1]:.0f} Å, the library "
            f"{low:.0f}-{high:.0f} Å: nothing in common that is usable; {_mend(spectrum, low, high)}"
        )
    wavelength, fwhm = spectrum.wavelength[inside], spectrum.fwhm[inside]
    flux, sigma = spectrum.flux[inside], spectrum.sigma[inside]
    resolution = median(wavelength / fwhm)
    if resolution < LOWEST_RESOLUTION:
        raise WavelengthRangeError(
            f"{source}: R = {resolution:.0f} is below {LOWEST_RESOLUTION:.0f}, at which lines of stars are not seen; "
            "if it is wrong, give the right one with --resolution"
        )
    per_fwhm = median(fwhm[1:] / np.diff(wavelength))
    if resolution > SHARPEST or per_fwhm > MOST_PER_FWHM:
        target = wavelength / SMOOTHED_TO if resolution > SHARPEST else np.sqrt(1.25) * fwhm
        notes.append(f"smoothed from R = {resolution:.0f} to {float(np.median(wavelength / target)):.0f}")
        wavelength, flux, sigma, fwhm = _smoothed(wavelength, flux, sigma, fwhm, target)
    in_air = np.zeros(wavelength.size, bool)
    if spectrum.ground:
        in_air = in_windows(wavelength, spectrum, TELLURIC if settings.telluric else ())
    left_out = in_air | in_windows(wavelength, spectrum, settings.masks)
    sigma = np.where(left_out, np.inf, sigma)
    used = np.isfinite(sigma)
    covered = float(np.gradient(wavelength)[used].sum()) if used.any() else 0.0
    if used.sum() < FEWEST_PIXELS or covered < FEWEST_ANGSTROMS:
        raise WavelengthRangeError(
            f"{source}: {int(used.sum())} pixels ({covered:.0f} Å) between {low:.0f} and {high:.0f} Å are left after "
            f"masks, at least {FEWEST_PIXELS} ({FEWEST_ANGSTROMS:.0f} Å) are needed"
        )
    unit = median(np.abs(flux[used])) or 1.0
    flux, sigma = flux / unit, sigma / unit
    level = _level(wavelength, flux, used)
    return FitPixels(spectrum, wavelength, flux, sigma, level, fwhm, in_air, tuple(notes))


def _mend(spectrum: ObservedSpectrum, low: float, high: float) -> str:
    """Return what may help a spectrum outside the range of the library."""
    middle = median(spectrum.wavelength)
    if any(low < middle * factor < high for factor in (0.1, 10.0)):
        return "if that is ten times too much or too little, give the unit with --unit"
    return "take a library of that range"


def in_windows(
    wavelength: np.ndarray, spectrum: ObservedSpectrum, windows: tuple[tuple[float, float], ...]
) -> np.ndarray:
    """Return which pixels lie in windows of the telescope's frame, widened by what the spectrograph spreads, bool (L,)."""
    if not windows:
        return np.zeros(wavelength.size, bool)
    at = wavelength * (1 + spectrum.to_observed / SPEED_OF_LIGHT_KM_S)
    margin = np.interp(wavelength, spectrum.wavelength, spectrum.fwhm)
    # A frame that is not the telescope's, by a velocity nobody states, is known only roughly.
    known = spectrum.frame == "observed" or spectrum.to_observed != 0
    margin = margin + (0.0 if known else FRAME_MARGIN)
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


def _level(wavelength: np.ndarray, flux: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Return the running median of the flux, with a floor of a tenth of the whole median."""
    filled = np.interp(wavelength, wavelength[used], flux[used])
    size = max(3, int(LEVEL_WINDOW / median(np.diff(wavelength))))
    level: np.ndarray = median_filter(filled, size=min(size, filled.size), mode="nearest")
    floored: np.ndarray = np.maximum(np.abs(level), 0.1)
    return floored
