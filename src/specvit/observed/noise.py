"""The noise of a spectrum that comes without errors, from its own pixels."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter

from specvit.errors import DataError

#: Pixels over which the noise is taken to be one number.
WINDOW = 301


def estimated_sigma(flux: np.ndarray, dead: np.ndarray, source: str) -> np.ndarray:
    """Return the 1 σ noise per pixel, shape (L,), from differences of pixels that are two apart.

    σ = 1.482602 / √6 · median |2 f_i - f_(i-2) - f_(i+2)|, over windows of `WINDOW` pixels. Lines narrower than
    some five pixels count as noise, so σ is too large for sharp lines at high S/N; noise that resampling has
    correlated over more than two pixels is underestimated.

    Raises:
        DataError: if every pixel has the same flux.

    Source: Stoehr, White, Smith et al. 2008, ADASS XVII, ASP Conf. 394, 505 (DER_SNR).
    """
    filled = np.where(dead, np.nan, flux)
    if np.isnan(filled).any():
        there = ~np.isnan(filled)
        filled = np.interp(np.arange(flux.size), np.flatnonzero(there), filled[there])
    difference = np.abs(2 * filled[2:-2] - filled[:-4] - filled[4:])
    # Zero-filled ends and gaps say nothing of the noise where there is flux.
    quiet = difference[difference > 0]
    if quiet.size == 0:
        raise DataError(f"{source}: the flux is the same in every pixel; this is no spectrum of a star")
    floor = 0.05 * float(np.median(quiet))
    local = median_filter(difference, size=min(WINDOW, difference.size), mode="nearest")
    sigma: np.ndarray = 1.482602 / np.sqrt(6) * np.pad(np.maximum(local, floor), 2, mode="edge")
    return sigma
