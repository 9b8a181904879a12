"""χ² of templates against stars: continuum at its best, priors included, with exact gradient and curvature.

The continuum is a polynomial times the template. It enters linearly, so it is solved for exactly and removed from the
curvature by the Schur complement: with a flat prior on its coefficients that is the marginal posterior, up to half the
logarithm of the determinant of their normal matrix, which changes by little between templates.
Source of the method: Golub & Pereyra 1973, SIAM J. Numer. Anal. 10, 413 (variable projection).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.polynomial import chebyshev
from torch import Tensor

from specvit.stellar.pixels import FitPixels
from specvit.stellar.priors import StarPriors
from specvit.stellar.settings import StarFitSettings
from specvit.stellar.templates import SeenTemplates, WidthTemplates


@dataclass(frozen=True)
class StarArrays:
    """B stars of any pixels, padded to L with pixels of no weight; float64.

    Args:
        log_pixels: ln λ, shape (B, L).
        flux: shape (B, L).
        weight: 1/(sigma² + model error²), shape (B, L); 0 where there is no pixel.
        columns: Chebyshev polynomials of the continuum, shape (B, L, C); unused ones are 0.
        terms: C of each star, shape (B,).
        own: ln(FWHM / nominal FWHM) on the fine grid of the templates, shape (B, count).
        assumed: whether the resolution is a guess, shape (B,), bool.
        known: per star, label -> (mean, sigma) from elsewhere.
    """

    log_pixels: Tensor
    flux: Tensor
    weight: Tensor
    columns: Tensor
    terms: Tensor
    own: Tensor
    assumed: Tensor
    known: tuple[Mapping[str, tuple[float, float]], ...] = field(kw_only=True)

    @classmethod
    def of(
        cls,
        stars: list[FitPixels],
        weights: list[np.ndarray],
        templates: WidthTemplates,
        settings: StarFitSettings,
    ) -> StarArrays:
        """Return the arrays of stars and the weights of their pixels."""
        size = max(star.wavelength.size for star in stars)
        orders = [settings.order_for(star.span) for star in stars]
        log_pixels = np.full((len(stars), size), np.log(8000.0))
        flux, weight = np.zeros((2, len(stars), size))
        columns = np.zeros((len(stars), size, max(orders) + 1))
        own = np.zeros((len(stars), templates.log_wavelength.size))
        fine = np.exp(templates.log_wavelength)
        for k, (star, order) in enumerate(zip(stars, orders, strict=True)):
            here = slice(0, star.wavelength.size)
            log_pixels[k, here] = np.log(star.wavelength)
            flux[k, here], weight[k, here] = np.where(star.usable, star.flux, 0.0), weights[k]
            used = star.wavelength[star.usable]
            position = 2 * (star.wavelength - used[0]) / (used[-1] - used[0]) - 1
            # Beyond the pixels that are fitted a polynomial may be anything.
            columns[k, here, : order + 1] = chebyshev.chebvander(position.clip(-1, 1), order)
            own[k] = np.log(
                np.interp(fine, star.wavelength, star.fwhm / star.wavelength) * templates.resolution
            )
        assumed = [bool("resolution" in star.spectrum.assumed) for star in stars]
        arrays = (log_pixels, flux, weight, columns, np.array(orders) + 1, own, np.array(assumed))
        known = tuple(star.spectrum.known for star in stars)
        return cls(*(torch.from_numpy(array) for array in arrays), known=known)


@dataclass(frozen=True)
class Evaluation:
    """N templates against their stars.

    Args:
        chi2: of the pixels, shape (N,).
        total: with the priors, shape (N,).
        gradient: -½ ∂total/∂value, shape (N, P + 2).
        curvature: Gauss-Newton matrix of ½ total, shape (N, P + 2, P + 2).
    """

    chi2: Tensor
    total: Tensor
    gradient: Tensor
    curvature: Tensor


class _Continuum(NamedTuple):
    """Continuum (N, L), residuals in σ (N, L), design in σ (N, L, C), normal matrix (N, C, C)."""

    level: Tensor
    residual: Tensor
    design: Tensor
    normal: Tensor


class StarObjective:
    """χ² as a function of (labels, velocity, ln(width factor)) for B stars."""

    def __init__(self, arrays: StarArrays, templates: WidthTemplates, settings: StarFitSettings) -> None:
        self.arrays, self.templates = arrays, templates
        self.priors = StarPriors(templates.emulator.label_space, settings, arrays.assumed, arrays.known)
        self.labels = templates.labels

    def at(self, star: Tensor, values: Tensor) -> Evaluation:
        """Return χ² and derivatives of stars (N,) at values (N, P + 2)."""
        arrays, model = self.arrays, self._seen(star, values)
        solved = self._solved(star, model.flux)
        root = arrays.weight[star].sqrt()
        scale = (solved.level * root)[..., None]
        slopes = (
            torch.cat([model.by_label, model.by_velocity[:, None], model.by_width[:, None]], 1).mT * scale
        )
        shared = solved.design.mT @ slopes
        curvature = slopes.mT @ slopes - shared.mT @ torch.linalg.solve(solved.normal, shared)
        gradient = (slopes * solved.residual[..., None]).sum(1)
        prior, tilt = self.priors.residuals(star, values)
        chi2 = solved.residual.square().sum(1)
        return Evaluation(
            chi2,
            chi2 + prior.square().sum(1),
            gradient - (tilt * prior[..., None]).sum(1),
            curvature + tilt.mT @ tilt,
        )

    def best(self, star: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return model and continuum on all pixels, shapes (N, L), at values (N, P + 2)."""
        template = self._seen(star, values).flux
        level = self._solved(star, template).level
        return level * template, level

    def _solved(self, star: Tensor, template: Tensor) -> _Continuum:
        """Return the continuum that fits best with `template` (N, L)."""
        arrays = self.arrays
        root, columns = arrays.weight[star].sqrt(), arrays.columns[star]
        design = columns * (template * root)[..., None]
        normal = _regular(design.mT @ design)
        flux = arrays.flux[star] * root
        coefficients = torch.linalg.solve(normal, (design * flux[..., None]).sum(1)[..., None])[..., 0]
        level = (columns @ coefficients[..., None])[..., 0]
        return _Continuum(level, flux - level * template * root, design, normal)

    def _seen(self, star: Tensor, values: Tensor) -> SeenTemplates:
        arrays, labels = self.arrays, self.labels
        return self.templates.see(
            values[:, :labels],
            values[:, labels],
            values[:, labels + 1],
            arrays.log_pixels[star],
            arrays.own[star],
        )


def _regular(normal: Tensor) -> Tensor:
    """Return the normal matrix of the continuum without its empty rows: orders that a star does not have."""
    diagonal = normal.diagonal(dim1=-2, dim2=-1)
    largest = diagonal.amax(-1, keepdim=True).clamp(min=1e-30)
    empty = diagonal <= 0
    return normal + torch.diag_embed(torch.where(empty, largest, 1e-9 * largest))
