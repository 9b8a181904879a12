"""The line-spread function and its sparse matrix: library flux -> mean flux density in each detector pixel.

Owns broadening and pixel integration, both exact for a spectrum that is properly sampled by its own grid.
Undersampled spectra are refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import scipy.sparse
from scipy.interpolate import CubicSpline
from scipy.special import ndtr

from specvit.errors import DataError, WavelengthRangeError
from specvit.instrument.schema_optics import GaussianLsf, ProfileLsf
from specvit.instrument.tables import Tables
from specvit.spectra import WavelengthGrid

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))

#: A Gaussian is cut where it is below 2e-9 of its area.
GAUSSIAN_REACH = 6.0

#: Smallest FWHM of kernel and pixel together, in steps of the input grid, at which summing samples is still
#: an integral to 1e-4 (aliasing of a Gaussian: exp(-2 (π σ)²), σ = FWHM / 2.355).
SMALLEST_FWHM_IN_STEPS = 1.6


#: By so much a resolving power may be exceeded: it is known no better, and widths are interpolated between pixels.
SLACK = 1e-3

#: Samples of the library per FWHM of its own lines at which what lies between them is known.
SMALLEST_SAMPLES = 2.0

#: Samples that an interpolated one is made of.
NEIGHBOURS = 12

#: A kernel is at least this share as wide as the library's own lines, which makes them 0.1 % wider; else the steps
#: into which the library is divided would have no end.
NARROWEST = 0.05

#: Of widths that are meant to be equal.
ROUNDING = 1e-6

#: More pixels per FWHM than this are a mistyped step (spectrographs have 2 to 10), and would fill the memory.
MOST_PIXELS_PER_FWHM = 200.0


class Lsf(Protocol):
    """An optical line-spread function, without the pixel's own width."""

    def cumulative(self, line: np.ndarray, at: np.ndarray, narrowed: np.ndarray) -> np.ndarray:
        """Return the share of a line's flux that falls below wavelength `at`.

        Args:
            line: line wavelengths, shape (J,), Å.
            at: wavelengths, shape (J, W), Å.
            narrowed: FWHM of the kernel to use, over the nominal one, shape (J,).
        """

    def fwhm(self, wavelength: np.ndarray) -> np.ndarray:
        """Return the FWHM in Å at `wavelength`, shape (J,)."""

    def reach(self, wavelength: np.ndarray) -> np.ndarray:
        """Return the distance in Å beyond which the function is zero, shape (J,)."""


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian of a given FWHM (Å) at each wavelength, linear between the nodes."""

    nodes: np.ndarray
    fwhm_nodes: np.ndarray

    def fwhm(self, wavelength: np.ndarray) -> np.ndarray:
        """Return the FWHM, Å."""
        fwhm: np.ndarray = np.interp(wavelength, self.nodes, self.fwhm_nodes)
        return fwhm

    def reach(self, wavelength: np.ndarray) -> np.ndarray:
        """Return six sigma, Å."""
        reach: np.ndarray = GAUSSIAN_REACH * self.fwhm(wavelength) / FWHM_PER_SIGMA
        return reach

    def cumulative(self, line: np.ndarray, at: np.ndarray, narrowed: np.ndarray) -> np.ndarray:
        """Return the normal distribution function."""
        sigma = (self.fwhm(line) * narrowed / FWHM_PER_SIGMA)[:, None]
        share: np.ndarray = ndtr((at - line[:, None]) / sigma)
        return share


@dataclass(frozen=True)
class TabulatedProfile:
    """A tabulated function of the offset in pixels at a few wavelengths, linear between.

    A pixel is as wide as those of the grid at the line, `widths` Å at `centres`, so that a profile is as many pixels
    wide everywhere. To be narrowed it is compressed along the offset: the shape stays.
    """

    nodes: np.ndarray
    offset: np.ndarray
    profile: np.ndarray
    centres: np.ndarray
    widths: np.ndarray

    def _pixel(self, wavelength: np.ndarray) -> np.ndarray:
        pixel: np.ndarray = np.interp(wavelength, self.centres, self.widths)
        return pixel

    @cached_property
    def _integrals(self) -> list[CubicSpline]:
        integrals = []
        for row in self.profile:
            # The integral is tabulated, not the profile: differences of it are exact shares of the flux,
            # whatever the pixel.
            integral = CubicSpline(self.offset, row).antiderivative()
            integral.c /= integral(self.offset[-1])
            integrals.append(integral)
        return integrals

    @cached_property
    def _fwhm_nodes(self) -> np.ndarray:
        return np.array([full_width_half_maximum(self.offset, row) for row in self.profile])

    def fwhm(self, wavelength: np.ndarray) -> np.ndarray:
        """Return the FWHM, Å."""
        # Relative to the first pixel: with pixels of one width this is a factor of exactly 1.
        relative = self._pixel(wavelength) / self.widths[0]
        fwhm: np.ndarray = relative * np.interp(wavelength, self.nodes, self.widths[0] * self._fwhm_nodes)
        return fwhm

    def reach(self, wavelength: np.ndarray) -> np.ndarray:
        """Return the end of the table, Å."""
        reach: np.ndarray = self._pixel(wavelength) * np.abs(self.offset).max()
        return reach

    def cumulative(self, line: np.ndarray, at: np.ndarray, narrowed: np.ndarray) -> np.ndarray:
        """Return the integral of the profile up to `at`."""
        offset = (at - line[:, None]) / (self._pixel(line) * narrowed)[:, None]
        offset = offset.clip(self.offset[0], self.offset[-1])
        result: np.ndarray = np.zeros_like(offset)
        position = np.interp(line, self.nodes, np.arange(self.nodes.size))
        for k, integral in enumerate(self._integrals):
            # Weights of linear interpolation between the nodes; at most two profiles contribute to a line.
            share = (1 - np.abs(position - k)).clip(0)
            rows = share > 0
            result[rows] += share[rows, None] * integral(offset[rows])
        return result


def build_lsf(section: GaussianLsf | ProfileLsf, tables: Tables, grid: WavelengthGrid) -> tuple[Lsf, ...]:
    """Return the optical line-spread function of an instrument file, one for each arm of the grid.

    Raises:
        DataError: if a table does not fit, or a stated width is smaller than the pixel it is said to include.
    """
    if isinstance(section, ProfileLsf):
        nodes = tables.in_vacuum(tables.axis(section.wavelength, "lsf.wavelength"), "lsf.wavelength")
        offset = tables.axis(section.offset_pix, "lsf.offset_pix")
        profile = tables.array(section.profile, "lsf.profile", (nodes.size, offset.size))
        if (profile.sum(axis=1) <= 0).any():
            raise DataError(
                f"lsf.profile: table '{section.profile}' in {tables.where} has a row without area"
            )
        return tuple(
            TabulatedProfile(nodes, offset, profile, grid.wavelength[arm], _even(grid.width[arm]))
            for arm in grid.arm_pixels
        )
    fwhm = _optical_fwhm(section, tables, grid)
    return tuple(Gaussian(grid.wavelength[arm], fwhm[arm]) for arm in grid.arm_pixels)


def _even(width: np.ndarray) -> np.ndarray:
    """Return pixel widths, those of a linear grid without their rounding."""
    mean = width.mean()
    return np.full_like(width, mean) if np.abs(width / mean - 1).max() < ROUNDING else width


def _optical_fwhm(section: GaussianLsf, tables: Tables, grid: WavelengthGrid) -> np.ndarray:
    """Return the FWHM without the pixel's own width at every pixel, Å."""
    wavelength, pixel = grid.wavelength, grid.width
    if section.resolving_power is not None:
        fwhm = wavelength / tables.per_pixel(section.resolving_power, "lsf.resolving_power", wavelength)
    elif section.fwhm is not None:
        fwhm = tables.per_pixel(section.fwhm, "lsf.fwhm", wavelength)
    else:
        assert section.fwhm_pix is not None
        fwhm = tables.per_pixel(section.fwhm_pix, "lsf.fwhm_pix", wavelength) * pixel
    if (fwhm > MOST_PIXELS_PER_FWHM * pixel).any():
        at = int(np.argmax(fwhm / pixel))
        raise DataError(
            f"lsf: FWHM {fwhm[at]:.4g} Å at {wavelength[at]:.1f} Å is {fwhm[at] / pixel[at]:.0f} pixels of "
            f"{pixel[at]:.4g} Å, at most {MOST_PIXELS_PER_FWHM:.0f} are expected; give a larger grid.step"
        )
    # A pixel is a top-hat of variance width²/12.
    variance = (fwhm / FWHM_PER_SIGMA) ** 2 - (pixel**2 / 12 if section.includes_pixel else 0.0)
    if (variance <= 0).any():
        at = int(np.argmax(variance <= 0))
        raise DataError(
            f"lsf: FWHM {fwhm[at]:.4g} Å at {wavelength[at]:.1f} Å leaves no width for the optics beside "
            f"a pixel of {pixel[at]:.4g} Å; give a larger FWHM, or set lsf.includes_pixel = false"
        )
    optical: np.ndarray = FWHM_PER_SIGMA * np.sqrt(variance)
    return optical


def full_width_half_maximum(offset: np.ndarray, profile: np.ndarray) -> float:
    """Return the FWHM of a single-peaked profile, in the unit of `offset`, by linear interpolation."""
    half, peak = 0.5 * profile.max(), int(profile.argmax())
    left = np.interp(half, profile[: peak + 1], offset[: peak + 1])
    # `np.interp` wants increasing abscissae: the falling side is negated.
    right = np.interp(-half, -profile[peak:], offset[peak:])
    return float(right - left)


def lsf_matrix(
    lsf: Lsf, grid: WavelengthGrid, arm: slice, grid_in: WavelengthGrid, resolution_in: float
) -> scipy.sparse.csr_array:
    """Return M (L_arm, L_in): M @ flux = mean flux density per detector pixel, broadened to the LSF.

    Each input sample is a line of flux F_j Δλ_j; the LSF distributes it over the pixels,
    M_ij = (Δλ_j / Δλ_i) [C(e_{i+1} − λ_j) − C(e_i − λ_j)], C the cumulative LSF at λ_j, e the pixel edges.
    Column sums weighted with the pixel widths are Δλ_j: flux is conserved exactly, but for what falls into gaps.
    The width the library already has is taken off in quadrature; where it is wider than the optics, the library
    is seen as it is, through the pixels.

    Args:
        lsf: the optical line-spread function.
        grid: detector pixels.
        arm: those of them seen with this line-spread function.
        grid_in: the library's grid; its flux is taken as samples.
        resolution_in: λ/FWHM of the library; `inf` for none.

    Raises:
        WavelengthRangeError: if the library does not reach beyond the pixels by the LSF's reach, has a lower
            resolution than the instrument, or is sampled too coarsely for the LSF.
    """
    reach = lsf.reach(grid_in.wavelength)
    parts = []
    for segment in grid.segments:
        if arm.start <= segment.start < arm.stop:
            pixels = _Pixels(grid.wavelength[segment], grid.edges(segment), grid.width[segment])
            _check_coverage(pixels, grid, grid_in, float(reach.max()))
            near = (grid_in.wavelength + reach > pixels.edges[0]) & (
                grid_in.wavelength - reach < pixels.edges[-1]
            )
            parts.append(_segment_matrix(lsf, pixels, grid_in, near, resolution_in))
    return parts[0] if len(parts) == 1 else scipy.sparse.csr_array(scipy.sparse.vstack(parts))


def covered(lsf: Lsf, grid: WavelengthGrid, arm: slice, grid_in: WavelengthGrid) -> np.ndarray:
    """Return which pixels of an arm the library covers, with the LSF's wings, shape (L_arm,)."""
    reach = float(lsf.reach(grid_in.wavelength).max())
    inside = np.zeros(arm.stop - arm.start, bool)
    for segment in grid_in.segments:
        low, high = grid_in.lower[segment][0] + reach, grid_in.upper[segment][-1] - reach
        inside |= (grid.lower[arm] >= low) & (grid.upper[arm] <= high)
    return inside


@dataclass(frozen=True)
class _Pixels:
    """Pixels without a gap: centres (L,), edges (L + 1,) and widths (L,), Å."""

    centres: np.ndarray
    edges: np.ndarray
    width: np.ndarray


def _segment_matrix(
    lsf: Lsf, pixels: _Pixels, grid_in: WavelengthGrid, near: np.ndarray, resolution_in: float
) -> scipy.sparse.csr_array:
    """Return the rows of `lsf_matrix` of one segment; only the samples `near` (L_in,) reach its pixels."""
    (sample,) = np.nonzero(near)
    line, width = grid_in.wavelength[near], grid_in.width[near]
    factor = _refinement(lsf, pixels, line, width, resolution_in)
    if factor == 1:
        rows = _rows(lsf, pixels, line, width, resolution_in)
    else:
        fine, between = refined(line, factor)
        rows = scipy.sparse.csr_array(_rows(lsf, pixels, fine, np.gradient(fine), resolution_in) @ between)
    return scipy.sparse.csr_array(
        (rows.data, sample[rows.indices], rows.indptr), shape=(pixels.centres.size, grid_in.size)
    )


def _rows(
    lsf: Lsf, pixels: _Pixels, line: np.ndarray, width: np.ndarray, resolution_in: float
) -> scipy.sparse.csr_array:
    """Return the matrix (L, J) from samples at `line` that are `width` Å apart, both (J,)."""
    edges, reach, fwhm = pixels.edges, lsf.reach(line), lsf.fwhm(line)
    narrowed = _narrowed(line / resolution_in, fwhm)
    first = np.searchsorted(edges, line - reach) - 1
    count = int((np.searchsorted(edges, line + reach) - first).max()) + 1
    at = first[:, None] + np.arange(count + 1)
    share = np.diff(lsf.cumulative(line, edges[at.clip(0, edges.size - 1)], narrowed), axis=1)
    pixel_index = at[:, :-1]
    valid = (pixel_index >= 0) & (pixel_index < pixels.centres.size) & (share != 0)
    source = np.broadcast_to(np.arange(line.size)[:, None], pixel_index.shape)[valid]
    target = pixel_index[valid]
    values = share[valid] * width[source] / pixels.width[target]
    return scipy.sparse.csr_array((values, (target, source)), shape=(pixels.centres.size, line.size))


def _narrowed(own: np.ndarray, fwhm: np.ndarray) -> np.ndarray:
    """Return the FWHM of the kernel over that of the optics, for a library whose own is `own` Å."""
    ratio = own / fwhm
    narrowed: np.ndarray = np.maximum(np.sqrt((1 - ratio**2).clip(0)), NARROWEST * ratio)
    return narrowed


def _refinement(lsf: Lsf, pixels: _Pixels, line: np.ndarray, width: np.ndarray, resolution_in: float) -> int:
    """Return into how many steps each step of the library has to be divided for the sum over samples to be an integral.

    Raises:
        WavelengthRangeError: if the library has a lower resolution than the instrument, or its own samples are too far
            apart to say what lies between them.
    """
    fwhm = lsf.fwhm(line)
    # A pixel smooths like its variance, width²/12.
    pixel = FWHM_PER_SIGMA / np.sqrt(12) * np.interp(line, pixels.centres, pixels.width)
    # Only where there are pixels: a library may be coarser beyond the band.
    needed = (line >= pixels.edges[0]) & (line <= pixels.edges[-1])
    _check_resolution(line[needed], np.hypot(fwhm, pixel)[needed], resolution_in)
    own = line / resolution_in
    kernel = fwhm * _narrowed(own, fwhm)
    # A narrow LSF on broad pixels needs no fine library.
    effective = (np.hypot(kernel, pixel) / width)[needed].min()
    sampled = (own / width)[needed].min()
    if effective < SMALLEST_FWHM_IN_STEPS and sampled < SMALLEST_SAMPLES:
        raise WavelengthRangeError(
            f"the library is sampled too coarsely: LSF and pixel span {effective:.2f} of its steps, at least "
            f"{SMALLEST_FWHM_IN_STEPS} are needed, and its own resolution {sampled:.2f}, too few to find what lies "
            "between; resample the library to a finer grid"
        )
    # But samples must not fall into one pixel or the next.
    return max(1, math.ceil(SMALLEST_FWHM_IN_STEPS / float((kernel / width)[needed].min())))


def refined(samples: np.ndarray, factor: int) -> tuple[np.ndarray, scipy.sparse.csr_array]:
    """Return `factor` points per step of `samples` (J,), and the matrix that interpolates to them, (fine, J).

    By the polynomial through `NEIGHBOURS` samples, in their number. Of a Gaussian of 2.5 samples per FWHM, the fewest
    there are in the built-in library, it is wrong by 0.9 % of the peak at most, of one of 3 by 0.24 %, of 4 by 0.02 %.
    """
    size, points = samples.size, min(NEIGHBOURS, samples.size)
    at = np.arange(factor * (size - 1) + 1) / factor
    first = np.clip(np.floor(at).astype(int) - points // 2 + 1, 0, size - points)
    columns = first[:, None] + np.arange(points)
    offset = at[:, None] - columns
    weights = np.ones(columns.shape)
    for k in range(points):
        for other in range(points):
            if other != k:
                weights[:, k] *= offset[:, other] / (k - other)
    rows = np.repeat(np.arange(at.size), points)
    matrix = scipy.sparse.csr_array((weights.ravel(), (rows, columns.ravel())), shape=(at.size, size))
    return np.interp(at, np.arange(size), samples), matrix


def _check_resolution(line: np.ndarray, fwhm: np.ndarray, resolution_in: float) -> None:
    short = line / resolution_in > fwhm * (1 + SLACK)
    if short.any():
        wanted = (line / fwhm)[short].max()
        raise WavelengthRangeError(
            f"the library's resolution R = {resolution_in:.0f} is below the instrument's (R = {wanted:.0f} with the "
            "pixel); use a library of higher resolution, or, to see the spectrograph at the library's, set "
            f'lsf = {{ kind = "gaussian", resolving_power = {resolution_in:.0f} }}'
        )


def _check_coverage(pixels: _Pixels, grid: WavelengthGrid, grid_in: WavelengthGrid, reach: float) -> None:
    low, high = pixels.edges[0] - reach, pixels.edges[-1] + reach
    if grid_in.covers(low, high):
        return
    some = any(
        ((grid.lower >= grid_in.lower[s][0] + reach) & (grid.upper <= grid_in.upper[s][-1] - reach)).any()
        for s in grid_in.segments
    )
    mend = (
        "to use the pixels that both have, set clip = true"
        if some
        else "they have no pixel in common: give a library of these wavelengths, with --library FILE"
    )
    raise WavelengthRangeError(
        f"the instrument needs {low:.1f}-{high:.1f} Å (pixels and LSF wings); the library has {grid_in.describe()}; "
        f"{mend}"
    )
