"""Changing the pixels and the resolution of spectra: flux-conserving rebinning, and Gaussian smoothing.

Knows no instrument: detector line-spread functions belong to `instrument`.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
from scipy.interpolate import CubicSpline

from specvit.errors import ShapeError, WavelengthRangeError
from specvit.spectra.grid import WavelengthGrid

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))

#: Half width of the smoothing kernel, in σ: cutting at 4 σ would lose 6e-5 of the flux of a line.
KERNEL_REACH = 5.0

#: Below this kernel width (in pixels) the sum over samples is no longer the integral: oversample first.
MINIMUM_SIGMA_PIXELS = 1.0


def smoothing_sigma(
    wavelength: np.ndarray, resolution_in: np.ndarray | float, resolution_out: np.ndarray | float
) -> np.ndarray:
    """Return the σ (Å) of the Gaussian that lowers the resolution λ/FWHM to `resolution_out`.

    σ = λ sqrt(1/R_out² - 1/R_in²) / 2.3548, at each wavelength; the resolutions may vary with wavelength.

    Raises:
        WavelengthRangeError: if a spectrum would have to be sharpened; names the wavelength.
    """
    wide, narrow = 1.0 / np.asarray(resolution_out, float) ** 2, 1.0 / np.asarray(resolution_in, float) ** 2
    difference = np.broadcast_to(wide - narrow, np.shape(wavelength))
    if (difference < 0).any():
        first = int(np.argmax(difference < 0))
        have = np.broadcast_to(resolution_in, np.shape(wavelength))[first]
        want = np.broadcast_to(resolution_out, np.shape(wavelength))[first]
        raise WavelengthRangeError(
            f"smoothing: the spectrum has R = {have:g} at {wavelength[first]:.1f} Å and cannot be sharpened "
            f"to R = {want:g}; ask for at most {have:g}"
        )
    sigma: np.ndarray = wavelength * np.sqrt(difference) / FWHM_PER_SIGMA
    return sigma


def smooth(
    flux: np.ndarray,
    grid: WavelengthGrid,
    resolution_in: np.ndarray | float,
    resolution_out: np.ndarray | float,
) -> np.ndarray:
    """Return the spectra at lower resolution, on the same pixels, shape (..., L), float64.

    Samples are taken as point values of the flux density and convolved with a Gaussian whose width follows
    the wavelength (see `smoothing_sigma`). Where the kernel is narrower than a pixel, the spectrum is first
    oversampled by a cubic spline. The kernel is normalised at every pixel, so a constant stays constant;
    within 5 σ of the ends it is one-sided: give a spectrum that reaches that far beyond the wanted range.

    Args:
        flux: shape (..., L).
        grid: the L pixels.
        resolution_in: λ/FWHM of the input, scalar or shape (L,).
        resolution_out: λ/FWHM wanted, scalar or shape (L,).

    Raises:
        ShapeError: if the last axis is not L long.
        WavelengthRangeError: if `resolution_out` exceeds `resolution_in` anywhere.
    """
    flux = _checked(flux, grid)
    wavelength = grid.wavelength
    sigma = smoothing_sigma(wavelength, resolution_in, resolution_out)
    if not sigma.any():
        return flux
    narrowest = (sigma / np.gradient(wavelength))[sigma > 0].min()
    # A kernel narrower than 1/20 pixel changes the spectrum by less than its sampling does.
    factor = min(int(np.ceil(MINIMUM_SIGMA_PIXELS / narrowest)), 20)
    if factor > 1:
        # Between the pixels of any grid, not on a linear one: a logarithmic grid stays nearly logarithmic.
        fine = np.interp(np.arange(factor * (grid.size - 1) + 1) / factor, np.arange(grid.size), wavelength)
        flux = CubicSpline(wavelength, flux, axis=-1)(fine)
    else:
        fine = wavelength
    matrix = gaussian_matrix(fine, wavelength, sigma)
    rows = flux.reshape(-1, fine.size)
    smoothed: np.ndarray = (matrix @ rows.T).T.reshape(*flux.shape[:-1], grid.size)
    return smoothed


def gaussian_matrix(
    wavelength_in: np.ndarray, wavelength_out: np.ndarray, sigma: np.ndarray
) -> scipy.sparse.csr_array:
    """Return the matrix (L_out, L_in) of Gaussian means of width `sigma` (L_out,), Å; rows sum to one.

    Weights are the Gaussian at the samples times the sample widths: the trapezoidal rule, whose error for a
    Gaussian sampled at σ >= 1 pixel is below 1e-8. Rows with σ = 0 take the nearest sample.
    """
    width = np.gradient(wavelength_in)
    nearest = np.clip(np.searchsorted(wavelength_in, wavelength_out), 1, len(wavelength_in) - 1)
    nearest -= wavelength_out - wavelength_in[nearest - 1] < wavelength_in[nearest] - wavelength_out
    reach = KERNEL_REACH * sigma
    first = np.minimum(np.searchsorted(wavelength_in, wavelength_out - reach), nearest)
    last = np.maximum(np.searchsorted(wavelength_in, wavelength_out + reach, side="right"), nearest + 1)
    counts = last - first
    row_start = np.concatenate([[0], np.cumsum(counts)])
    rows = np.repeat(np.arange(len(wavelength_out)), counts)
    columns = np.arange(row_start[-1]) - np.repeat(row_start[:-1] - first, counts)
    distance = (wavelength_in[columns] - wavelength_out[rows]) / np.where(sigma > 0, sigma, 1.0)[rows]
    weights = np.exp(-0.5 * distance**2) * width[columns]
    # No width at all: a delta function, which takes the sample as it is.
    weights = np.where(sigma[rows] > 0, weights, columns == nearest[rows])
    # At the ends part of the kernel is missing: normalising keeps a constant constant.
    weights /= np.add.reduceat(weights, row_start[:-1])[rows]
    return scipy.sparse.csr_array(
        (weights, columns, row_start), shape=(len(wavelength_out), len(wavelength_in))
    )


def _checked(flux: np.ndarray, grid: WavelengthGrid) -> np.ndarray:
    flux = np.asarray(flux, dtype=np.float64)
    if flux.ndim < 1 or flux.shape[-1] != grid.size:
        raise ShapeError(f"flux: expected {grid.size} pixels on the last axis, got shape {flux.shape}")
    return flux
