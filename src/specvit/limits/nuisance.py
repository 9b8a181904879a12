"""Nuisance columns for the Fisher matrix: what an observer fits besides the labels. Owns no Fisher matrix.

Every column is a derivative of the observed flux with respect to one nuisance parameter.
"""

from __future__ import annotations

import torch
from torch import Tensor

from specvit.errors import ConfigError
from specvit.spectra import SPEED_OF_LIGHT_KM_S, WavelengthGrid


def continuum_columns(flux: Tensor, grid: WavelengthGrid, order: int) -> Tensor:
    """Return the columns of a multiplicative polynomial continuum, shape (B, L, order + 1).

    flux · P_k(u), with Legendre polynomials in u = wavelength mapped to [-1, 1]. Order 0 is the amplitude
    alone: with it, the absolute flux level carries no information.
    """
    if order < 0:
        raise ConfigError(f"continuum order must be 0 (amplitude alone) or more; got {order}")
    u = torch.from_numpy(2.0 * (grid.wavelength - grid.start) / (grid.stop - grid.start) - 1.0).to(
        flux.device
    )
    terms = [torch.ones_like(u), u]
    for k in range(1, order):
        terms.append(((2 * k + 1) * u * terms[k] - k * terms[k - 1]) / (k + 1))
    polynomials = torch.stack(terms[: order + 1], dim=-1)
    return flux.to(torch.float64)[..., None] * polynomials


def velocity_column(flux: Tensor, grid: WavelengthGrid) -> Tensor:
    """Return ∂flux/∂(radial velocity), shape (B, L, 1), flux per km/s: -(1/c) ∂flux/∂ln λ.

    The observed flux is differentiated on its own pixels (central differences), which is exact to the extent
    that the pixels sample the line-spread function.
    """
    return -log_wavelength_derivative(flux, grid)[..., None] / SPEED_OF_LIGHT_KM_S


def lsf_width_column(flux: Tensor, grid: WavelengthGrid, fwhm: float) -> Tensor:
    """Return ∂flux/∂ln(LSF width), shape (B, L, 1), for a Gaussian line-spread function of `fwhm` km/s.

    A Gaussian obeys the heat equation, ∂flux/∂(s²) = ½ ∂²flux/∂v², so ∂flux/∂ln s = s² ∂²flux/∂v² with
    s = fwhm / 2.3548; the velocity axis is c ln λ.
    """
    first = log_wavelength_derivative(flux, grid)
    second = log_wavelength_derivative(first, grid)
    width = fwhm / 2.354820045 / SPEED_OF_LIGHT_KM_S
    return (width**2 * second)[..., None]


def log_wavelength_derivative(flux: Tensor, grid: WavelengthGrid) -> Tensor:
    """Return ∂flux/∂ln λ, shape (B, L), float64: second-order differences on the uneven grid."""
    axis = torch.from_numpy(grid.wavelength).to(flux.device).log()
    return torch.gradient(flux.to(torch.float64), spacing=(axis,), dim=-1, edge_order=2)[0]
