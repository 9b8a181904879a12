"""The inner loop of rest frames, compiled by Numba: spectra between their pixels.

One file that takes nothing from its neighbours, because Numba's cache on disk notices changes of the compiled file only.
"""

from __future__ import annotations

import numpy as np

from specvit.numerics.compiling import kept_on_disk


@kept_on_disk
def resample_rows(
    whole: np.ndarray,
    shifts: np.ndarray,
    log_pixels: np.ndarray,
    bridged: np.ndarray,
    flux: np.ndarray,
    sigma: np.ndarray,
    seen: np.ndarray,
    error: np.ndarray,
) -> None:
    """Write flux and sigma on straight lines from pixel to pixel.

    Args:
        whole: ln λ that are wanted, rising, shape (W,).
        shifts: what is added to them for each spectrum, shape (N,).
        log_pixels: ln λ of the pixels, rising, shape (L,), L > 1.
        bridged: whether a pixel and the next are neighbours, shape (L - 1,), bool.
        flux, sigma: shape (N, L); `inf` marks a dead pixel.
        seen, error: shape (N, W), float32: 0 and `inf` beyond the pixels, in gaps, and beside dead pixels.
    """
    last = log_pixels.shape[0] - 1
    for n in range(seen.shape[0]):
        at = 0
        for k in range(whole.shape[0]):
            place = whole[k] + shifts[n]
            while at < last - 1 and log_pixels[at + 1] <= place:
                at += 1
            seen[n, k], error[n, k] = 0.0, np.inf
            if log_pixels[at] <= place <= log_pixels[at + 1] and bridged[at]:
                low, high = np.float32(sigma[n, at]), np.float32(sigma[n, at + 1])
                if np.isfinite(low) and np.isfinite(high):
                    part = np.float32((place - log_pixels[at]) / (log_pixels[at + 1] - log_pixels[at]))
                    error[n, k] = low + part * (high - low)
                    low, high = np.float32(flux[n, at]), np.float32(flux[n, at + 1])
                    seen[n, k] = low + part * (high - low)
