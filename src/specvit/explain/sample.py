"""From profiles of single stars to those of a sample: mean densities, shares per window, likeness.

Every star counts the same: its profile is brought to a sum of 1 first. Works on arrays; knows no networks.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from specvit.explain.windows import WINDOWS
from specvit.spectra import WavelengthGrid

#: FWHM, Å, to which profiles are smoothed before they are compared: the token of a SpecViT of 32 pixels.
SMOOTHING = 15.0

#: Half of the 95 % interval of a mean, in standard errors.
INTERVAL = 1.96


def to_shares(profiles: np.ndarray) -> np.ndarray:
    """Return |profiles| (N, ..., L) with a sum of 1 over pixels; rows of zeros stay zero."""
    # Contributions have both signs: as signed numbers they would cancel, over pixels and over stars.
    size = np.abs(np.asarray(profiles, dtype=np.float64))
    total = size.sum(axis=-1, keepdims=True)
    shares: np.ndarray = np.divide(size, total, out=np.zeros_like(size), where=total > 0)
    return shares


def mean_density(shares: np.ndarray, grid: WavelengthGrid) -> np.ndarray:
    """Return the mean over stars (N, ..., L) as a density per Å, shape (..., L); it integrates to 1."""
    density: np.ndarray = shares.mean(axis=0) / grid.width
    return density


def window_shares(shares: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Return mean and 95 % interval over stars of the share in each window, shape (len(WINDOWS), 3).

    Args:
        shares: profiles of N stars, shape (N, L), each with a sum of 1.
        windows: place in `WINDOWS` of each pixel, shape (L,).
    """
    member = windows[:, None] == np.arange(len(WINDOWS))
    per_star = shares @ member
    mean = per_star.mean(axis=0)
    spread = per_star.std(axis=0, ddof=1) if len(per_star) > 1 else np.full_like(mean, np.nan)
    half = INTERVAL * spread / np.sqrt(len(per_star))
    return np.stack([mean, mean - half, mean + half], axis=1)


def likeness(first: np.ndarray, second: np.ndarray, grid: WavelengthGrid) -> float:
    """Return Pearson's correlation over pixels of two densities (L,) after smoothing to `SMOOTHING`."""
    step = float(np.median(np.diff(grid.wavelength)))
    width = SMOOTHING / np.sqrt(8 * np.log(2)) / step
    smooth = [gaussian_filter1d(profile, width, mode="nearest") for profile in (first, second)]
    return float(np.corrcoef(smooth[0], smooth[1])[0, 1])
