"""Nuisance columns for the Fisher matrix: what an observer fits besides the labels. Owns no Fisher matrix.

The continuum acts on the observed flux. Velocity and line width act on the spectrum before the instrument:
they are sparse matrices on the library's grid, to be put in front of the instrument's own.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from specvit.errors import ConfigError
from specvit.spectra import SPEED_OF_LIGHT_KM_S, WavelengthGrid

#: Å, of an arm of one pixel.
TINY = 1e-9

#: Fourth-order central difference; its error for a line of 4 samples σ is 1e-4.
STENCIL = {-2: 1 / 12, -1: -8 / 12, 1: 8 / 12, 2: -1 / 12}


def continuum_columns(flux: Tensor, grid: WavelengthGrid, order: int) -> Tensor:
    """Return the columns of a multiplicative polynomial continuum, shape (B, L, terms), float64.

    flux · P_k(u), with Legendre polynomials in u = wavelength mapped to [-1, 1]. Order 0 is the amplitude
    alone, one of all pixels: with it, the absolute flux level carries no information. From order 1 on every arm has a
    polynomial of its own, order + 1 columns (fewer if it has not as many pixels): arms are calibrated each by itself.
    """
    if order < 0:
        raise ConfigError(f"continuum order must be 0 (amplitude alone) or more; got {order}")
    if order == 0:
        return flux.to(torch.float64)[..., None]
    columns = []
    for arm in grid.arm_pixels:
        wavelength = grid.wavelength[arm]
        own = np.zeros((grid.size, min(order, wavelength.size - 1) + 1))
        u = 2.0 * (wavelength - wavelength[0]) / max(wavelength[-1] - wavelength[0], TINY) - 1.0
        # Legendre, not powers of u: those become parallel at the orders observers use, and the Schur complement
        # would lose its digits.
        own[arm] = np.polynomial.legendre.legvander(u, own.shape[1] - 1)
        columns.append(own)
    return flux.to(torch.float64)[..., None] * torch.from_numpy(np.hstack(columns)).to(flux.device)


def velocity_operator(grid: WavelengthGrid) -> scipy.sparse.csr_array:
    """Return the matrix flux -> ∂flux/∂(radial velocity) on `grid`, shape (L, L), per km/s.

    -(1/c) ∂/∂ln λ by fourth-order differences; the two outermost pixels on each side are zero, which the
    instrument's pixels do not reach.
    """
    return log_wavelength_derivative(grid) * (-1.0 / SPEED_OF_LIGHT_KM_S)


def broadening_operator(grid: WavelengthGrid, fwhm: np.ndarray) -> scipy.sparse.csr_array:
    """Return the matrix flux -> ∂flux/∂ln(line width) on `grid`, shape (L, L).

    A little Gaussian broadening obeys the heat equation, ∂flux/∂(s²) = ½ ∂²flux/∂(ln λ)², hence
    ∂flux/∂ln s = s² ∂²flux/∂(ln λ)²: the line-spread function grows in quadrature, whatever its shape.

    Args:
        grid: the library's samples.
        fwhm: of the line-spread function at each sample, Å, shape (L,).
    """
    derivative = log_wavelength_derivative(grid)
    width = fwhm / np.sqrt(8.0 * np.log(2.0)) / grid.wavelength
    return scipy.sparse.diags_array(width**2) @ derivative @ derivative


def log_wavelength_derivative(grid: WavelengthGrid) -> scipy.sparse.csr_array:
    """Return the matrix of ∂/∂ln λ on a grid whose step changes slowly, shape (L, L)."""
    size = grid.size
    inner = np.arange(2, size - 2)
    rows = np.repeat(inner, len(STENCIL))
    columns = (inner[:, None] + np.array(list(STENCIL))).ravel()
    values = np.tile(list(STENCIL.values()), len(inner))
    by_index = scipy.sparse.csr_array((values, (rows, columns)), shape=(size, size))
    # Chain rule: per pixel index first, then over the same difference of ln λ.
    step = by_index @ np.log(grid.wavelength)
    inverse = np.divide(1.0, step, out=np.zeros(size), where=step > 0)
    return scipy.sparse.csr_array(scipy.sparse.diags_array(inverse) @ by_index)
