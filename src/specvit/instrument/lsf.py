"""The line-spread function and its sparse matrix: library flux -> mean flux density in each detector pixel.

Owns broadening and pixel integration, both exact for a spectrum that is properly sampled by its own grid.
Undersampled spectra are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import scipy.sparse
from scipy.interpolate import CubicSpline
from scipy.special import ndtr

from specvit.errors import DataError, WavelengthRangeError
from specvit.instrument.schema import GaussianLsf, ProfileLsf
from specvit.instrument.tables import Tables
from specvit.spectra import WavelengthGrid

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))

#: A Gaussian is cut where it is below 2e-9 of its area.
GAUSSIAN_REACH = 6.0

#: Smallest FWHM of kernel and pixel together, in steps of the input grid, at which summing samples is still
#: an integral to 1e-4 (aliasing of a Gaussian: exp(-2 (π σ)²), σ = FWHM / 2.355).
SMALLEST_FWHM_IN_STEPS = 1.6


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
    """A tabulated function of the offset in pixels (of `pixel_width` Å) at a few wavelengths, linear between.

    To be narrowed it is compressed along the offset: the shape stays.
    """

    nodes: np.ndarray
    offset: np.ndarray
    profile: np.ndarray
    pixel_width: float

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
        return self.pixel_width * np.array(
            [full_width_half_maximum(self.offset, row) for row in self.profile]
        )

    def fwhm(self, wavelength: np.ndarray) -> np.ndarray:
        """Return the FWHM, Å."""
        fwhm: np.ndarray = np.interp(wavelength, self.nodes, self._fwhm_nodes)
        return fwhm

    def reach(self, wavelength: np.ndarray) -> np.ndarray:
        """Return the end of the table, Å."""
        return np.full(wavelength.shape, self.pixel_width * np.abs(self.offset).max())

    def cumulative(self, line: np.ndarray, at: np.ndarray, narrowed: np.ndarray) -> np.ndarray:
        """Return the integral of the profile up to `at`."""
        offset = (at - line[:, None]) / (self.pixel_width * narrowed[:, None])
        offset = offset.clip(self.offset[0], self.offset[-1])
        result: np.ndarray = np.zeros_like(offset)
        position = np.interp(line, self.nodes, np.arange(self.nodes.size))
        for k, integral in enumerate(self._integrals):
            # Weights of linear interpolation between the nodes; at most two profiles contribute to a line.
            share = (1 - np.abs(position - k)).clip(0)
            rows = share > 0
            result[rows] += share[rows, None] * integral(offset[rows])
        return result


def build_lsf(section: GaussianLsf | ProfileLsf, tables: Tables, grid: WavelengthGrid) -> Lsf:
    """Return the optical line-spread function of an instrument file.

    Raises:
        DataError: if a table does not fit, or a stated width is smaller than the pixel it is said to include.
    """
    if isinstance(section, ProfileLsf):
        nodes = tables.axis(section.wavelength, "lsf.wavelength")
        offset = tables.axis(section.offset_pix, "lsf.offset_pix")
        profile = tables.array(section.profile, "lsf.profile", (nodes.size, offset.size))
        if (profile.sum(axis=1) <= 0).any():
            raise DataError(
                f"lsf.profile: table '{section.profile}' in {tables.where} has a row without area"
            )
        return TabulatedProfile(nodes, offset, profile, float(np.diff(grid.edges).mean()))
    wavelength, pixel = grid.wavelength, np.diff(grid.edges)
    if section.resolving_power is not None:
        fwhm = wavelength / section.resolving_power
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
            f"a pixel of {pixel[at]:.4g} Å; give a larger FWHM, or includes_pixel = false"
        )
    return Gaussian(wavelength, FWHM_PER_SIGMA * np.sqrt(variance))


def full_width_half_maximum(offset: np.ndarray, profile: np.ndarray) -> float:
    """Return the FWHM of a single-peaked profile, in the unit of `offset`, by linear interpolation."""
    half, peak = 0.5 * profile.max(), int(profile.argmax())
    left = np.interp(half, profile[: peak + 1], offset[: peak + 1])
    # `np.interp` wants increasing abscissae: the falling side is negated.
    right = np.interp(-half, -profile[peak:], offset[peak:])
    return float(right - left)


def lsf_matrix(
    lsf: Lsf, grid: WavelengthGrid, grid_in: WavelengthGrid, resolution_in: float
) -> scipy.sparse.csr_array:
    """Return M (L_out, L_in): M @ flux = mean flux density per detector pixel, broadened to the LSF.

    Each input sample is a line of flux F_j Δλ_j; the LSF distributes it over the pixels,
    M_ij = (Δλ_j / Δλ_i) [C(e_{i+1} − λ_j) − C(e_i − λ_j)], C the cumulative LSF at λ_j, e the pixel edges.
    Column sums weighted with the pixel widths are Δλ_j: flux is conserved exactly. The width the library
    already has is taken off in quadrature.

    Args:
        lsf: the optical line-spread function.
        grid: detector pixels.
        grid_in: the library's grid; its flux is taken as samples.
        resolution_in: λ/FWHM of the library; `inf` for none.

    Raises:
        WavelengthRangeError: if the media differ, the library does not reach beyond the pixels by the LSF's
            reach, has no higher resolution than the instrument, or is sampled too coarsely for the LSF.
    """
    line, width, edges = grid_in.wavelength, np.diff(grid_in.edges), grid.edges
    reach = lsf.reach(line)
    _check_coverage(grid, grid_in, float(reach.max()))
    fwhm = lsf.fwhm(line)
    ratio = line / resolution_in / fwhm
    # Only where there are pixels: a library may be coarser beyond the band.
    needed = (line >= edges[0]) & (line <= edges[-1])
    if (ratio[needed] >= 1).any():
        raise WavelengthRangeError(
            f"the library's resolution R = {resolution_in:.0f} is not above the instrument's "
            f"(R = {(line / fwhm)[needed].max():.0f} without the pixel); use a library of higher resolution"
        )
    # The clip only serves samples outside the pixels, where the ratio was not checked.
    narrowed = np.sqrt((1 - ratio**2).clip(1e-4))
    pixel = np.interp(line, grid.wavelength, np.diff(edges))
    # A pixel smooths like its variance, width²/12: a narrow LSF on broad pixels needs no fine library.
    effective = np.hypot(fwhm * narrowed, FWHM_PER_SIGMA / np.sqrt(12) * pixel) / width
    if effective[needed].min() < SMALLEST_FWHM_IN_STEPS:
        raise WavelengthRangeError(
            f"the library is sampled too coarsely: LSF and pixel span {effective[needed].min():.2f} of its "
            f"steps, at least {SMALLEST_FWHM_IN_STEPS} are needed; resample the library to a finer grid"
        )
    first = np.searchsorted(edges, line - reach) - 1
    count = int((np.searchsorted(edges, line + reach) - first).max()) + 1
    at = first[:, None] + np.arange(count + 1)
    share = np.diff(lsf.cumulative(line, edges[at.clip(0, edges.size - 1)], narrowed), axis=1)
    pixel_index = at[:, :-1]
    valid = (pixel_index >= 0) & (pixel_index < grid.size) & (share != 0)
    source = np.broadcast_to(np.arange(line.size)[:, None], pixel_index.shape)[valid]
    target = pixel_index[valid]
    values = share[valid] * width[source] / np.diff(edges)[target]
    return scipy.sparse.csr_array((values, (target, source)), shape=(grid.size, grid_in.size))


def _check_coverage(grid: WavelengthGrid, grid_in: WavelengthGrid, reach: float) -> None:
    if grid_in.medium != grid.medium:
        raise WavelengthRangeError(
            f"the library is in {grid_in.medium}, the instrument in {grid.medium} wavelengths"
        )
    edges = grid.edges
    if not grid_in.covers(edges[0] - reach, edges[-1] + reach):
        raise WavelengthRangeError(
            f"the instrument needs {edges[0] - reach:.1f}-{edges[-1] + reach:.1f} Å (pixels and LSF wings); "
            f"the library has {grid_in.describe()}"
        )
