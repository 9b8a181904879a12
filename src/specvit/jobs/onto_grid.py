"""A spectrum of a file on the pixels of a denoiser, with errors that count no information twice.

Where the file's pixels are wider than the grid's, flux lies on a cubic spline through them, and the 1/σ² of a file pixel is
dealt out to the pixels of the grid about it, most to the nearest, so that the sum is kept. Where they are finer, flux is the mean of what lies inside a pixel, and a file pixel that lies in two counts in each by its share.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline

from specvit.spectra import WavelengthGrid
from specvit.spectra.neighbours import neighbours

#: σ, in steps of the file, of the bell by which a file pixel's information is dealt out to the pixels of the grid.
NEAR = 0.15

#: Share of a pixel that live file pixels have to cover.
LEAST_COVERED = 0.5


def onto_grid(
    wavelength: np.ndarray, flux: np.ndarray, sigma: np.ndarray, grid: WavelengthGrid
) -> tuple[np.ndarray, np.ndarray]:
    """Return flux and sigma at the L pixels of a grid, float64; dead (0, `inf`) where the spectrum is not there.

    Args:
        wavelength: of N pixels, increasing, Å in vacuum, in the frame of the grid.
        flux, sigma: shape (N,); sigma is `inf` on dead pixels.
        grid: the pixels wanted.
    """
    own, live = WavelengthGrid(wavelength), np.isfinite(sigma) & np.isfinite(flux)
    flux, sigma = np.where(live, flux, 0.0), np.where(live, sigma, 0.0)
    width = np.interp(grid.wavelength, own.wavelength, own.width)
    between, binned = (make(own, flux, sigma, live, grid) for make in (_between, _binned))
    found, noise = (np.where(width < grid.width, *both) for both in zip(binned, between, strict=True))
    dead = ~np.isfinite(noise)
    return np.where(dead, 0.0, found), noise


def _between(
    own: WavelengthGrid, flux: np.ndarray, sigma: np.ndarray, live: np.ndarray, grid: WavelengthGrid
) -> tuple[np.ndarray, np.ndarray]:
    """Return flux between file pixels, and sigma of which 1/σ² adds up to that of the file."""
    right, share, inside = neighbours(own, grid.wavelength)
    there = inside & ((1 - share) * live[right - 1] + share * live[right] > 1 - 1e-9)
    information = np.zeros(grid.size)
    known = np.where(live, sigma, np.inf) ** -2.0
    near = [np.where(inside, np.exp(-0.5 * (away / NEAR) ** 2), 0.0) for away in (share, 1 - share)]
    both = list(zip((right - 1, right), near, strict=True))
    total = np.zeros(own.size)
    for pixel, part in both:
        total += np.bincount(pixel, part, own.size)
    for pixel, part in both:
        information += part / np.maximum(total[pixel], 1e-30) * known[pixel]
    there &= information > 0
    noise = np.where(there, np.where(there, information, 1.0) ** -0.5, np.inf)
    return _spline(own, flux, live, grid.wavelength), noise


def _spline(own: WavelengthGrid, flux: np.ndarray, live: np.ndarray, wavelength: np.ndarray) -> np.ndarray:
    """Return flux on cubic splines through the live pixels of each segment, 0 beyond.

    Straight lines would cut the cores of lines: of bright stars by more than the errors of what is denoised.
    """
    curve = np.zeros(len(wavelength))
    for segment in own.segments:
        some = np.flatnonzero(live[segment]) + segment.start
        if len(some) < 2:
            continue
        low, high = own.wavelength[some[[0, -1]]]
        inside = (wavelength >= low) & (wavelength <= high)
        curve[inside] = CubicSpline(own.wavelength[some], flux[some])(wavelength[inside])
    return curve


def _binned(
    own: WavelengthGrid, flux: np.ndarray, sigma: np.ndarray, live: np.ndarray, grid: WavelengthGrid
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of the live file pixels in each pixel and its error.

    Weights are the widths that lie inside, not inverse variances: these follow the noise of the flux, and a mean by
    them is too low.
    """
    knots = np.stack([own.lower, own.upper], axis=1).ravel()

    def inside(values: np.ndarray) -> np.ndarray:
        """Return the sum of values per file pixel, those that lie in part in a pixel by that part."""
        until = np.concatenate([[0.0], np.cumsum(np.where(live, values, 0.0))])
        total = np.stack([until[:-1], until[1:]], axis=1).ravel()
        found: np.ndarray = np.interp(grid.upper, knots, total) - np.interp(grid.lower, knots, total)
        return found

    covered = inside(own.width)
    there = covered >= LEAST_COVERED * grid.width
    covered = np.where(there, covered, 1.0)
    noise = np.sqrt(np.maximum(inside((own.width * sigma) ** 2), 0.0)) / covered
    return inside(own.width * flux) / covered, np.where(there, noise, np.inf)
