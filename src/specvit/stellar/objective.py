"""χ² of templates against stars: continuum at its best, priors included, with exact gradient and curvature.

The continuum is a polynomial times the template, and so are the waves that calibrations leave in spectra: further
Chebyshev terms with a Gaussian prior about zero. They enter linearly, so they are solved for exactly and removed from
the curvature by the Schur complement: that is the marginal posterior, up to half the logarithm of the determinant of
their normal matrix, which changes by little between templates. Because T_i T_j = ½ (T_{i+j} + T_{|i-j|}), their normal
matrix has 2 C - 1 different sums over the pixels instead of C².
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
    """B stars of any pixels, padded to L with pixels of no weight; float64 where nothing is said.

    Args:
        log_pixels: ln λ, shape (B, L).
        flux: shape (B, L), float32.
        weight: 1/(sigma² + model error²), shape (B, L), float32; 0 where there is no pixel.
        columns: Chebyshev polynomials of the continuum, shape (B, L, 2 C - 1), float32.
        terms: how many of the C are free, shape (B,).
        precision: of the coefficients, shape (B, C): 0 if free, infinite if a star does not have them.
        own: ln(FWHM / nominal FWHM) at the pixels, shape (B, L).
        assumed: whether the resolution is a guess, shape (B,), bool.
        known: per star, label -> (mean, sigma) from elsewhere.
    """

    log_pixels: Tensor
    flux: Tensor
    weight: Tensor
    columns: Tensor
    terms: Tensor
    precision: Tensor
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
        everywhere: bool = False,
    ) -> StarArrays:
        """Return the arrays of stars and the weights of their pixels; `everywhere`: also of pixels without weight."""
        chosen = [np.ones(star.wavelength.size, bool) if everywhere else star.usable for star in stars]
        size = max(int(pixels.sum()) for pixels in chosen)
        terms = [settings.order_for(star.span) + 1 for star in stars]
        waves = [max(free, settings.waves_for(star.span)) for free, star in zip(terms, stars, strict=True)]
        log_pixels = np.full((len(stars), size), np.log(8000.0))
        flux, weight = np.zeros((2, len(stars), size), np.float32)
        own = np.zeros((len(stars), size))
        columns = np.zeros((len(stars), size, 2 * max(waves) - 1), np.float32)
        precision = np.full((len(stars), max(waves)), np.inf)
        for k, (star, pixels) in enumerate(zip(stars, chosen, strict=True)):
            here = slice(0, int(pixels.sum()))
            wavelength, used = star.wavelength[pixels], star.wavelength[star.usable]
            log_pixels[k, here] = np.log(wavelength)
            flux[k, here] = np.where(star.usable, star.flux, 0.0)[pixels]
            weight[k, here] = weights[k][pixels]
            # Beyond the pixels that are fitted a polynomial may be anything.
            position = (2 * (wavelength - used[0]) / (used[-1] - used[0]) - 1).clip(-1, 1)
            columns[k, here] = chebyshev.chebvander(position, 2 * max(waves) - 2)
            precision[k, : terms[k]] = 0.0
            if waves[k] > terms[k]:
                precision[k, terms[k] : waves[k]] = settings.wave_error**-2
            own[k, here] = np.log(star.fwhm[pixels] / wavelength * templates.resolution)
        assumed = [bool("resolution" in star.spectrum.assumed) for star in stars]
        arrays = (log_pixels, flux, weight, columns, np.array(terms), precision, own, np.array(assumed))
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
    """Continuum (N, L), normal matrix (N, C, C), and what the prior on its waves adds to χ² (N,)."""

    level: Tensor
    normal: Tensor
    penalty: Tensor


class StarObjective:
    """χ² as a function of (labels, velocity, ln(width factor)) for B stars."""

    def __init__(self, arrays: StarArrays, templates: WidthTemplates, settings: StarFitSettings) -> None:
        # Needs Numba, which reading flags and settings does not.
        from specvit.stellar import compiled

        self._code = compiled
        self.arrays, self.templates = arrays, templates
        self.priors = StarPriors(templates.emulator.label_space, settings, arrays.assumed, arrays.known)
        self.labels = templates.labels
        self._root = arrays.weight.sqrt()
        count = arrays.precision.shape[1]
        order = torch.arange(count)
        self._sum, self._difference = order[:, None] + order, (order[:, None] - order).abs()

    def at(self, star: Tensor, values: Tensor) -> Evaluation:
        """Return χ² and its derivatives at values (N, P + 2) of stars `star` (N,)."""
        arrays, seen = self.arrays, self._seen(star, values)
        solved = self._solved(star, seen.flux)
        size = self.labels + 2
        chi2, gradient = torch.empty(len(star)).double(), torch.empty(len(star), size).double()
        upper = torch.empty(len(star), size, size).double()
        shared = torch.empty(len(star), size, arrays.precision.shape[1]).double()
        self._code.residual_sums(
            seen.all.numpy(),
            solved.level.numpy(),
            star.numpy(),
            arrays.flux.numpy(),
            self._root.numpy(),
            arrays.columns.numpy(),
            chi2.numpy(),
            gradient.numpy(),
            upper.numpy(),
            shared.numpy(),
        )
        curvature = upper.triu() + upper.triu(1).mT
        shared = torch.where(arrays.precision[star].isinf()[:, None], 0.0, shared)
        curvature = curvature - shared @ torch.linalg.solve(solved.normal, shared.mT)
        prior, tilt = self.priors.residuals(star, values)
        return Evaluation(
            chi2,
            chi2 + solved.penalty + prior.square().sum(1),
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
        precision = arrays.precision[star]
        moments = torch.empty(len(star), arrays.columns.shape[2]).double()
        right = torch.empty(len(star), precision.shape[1]).double()
        self._code.continuum_sums(
            template.numpy(),
            star.numpy(),
            arrays.flux.numpy(),
            self._root.numpy(),
            arrays.columns.numpy(),
            moments.numpy(),
            right.numpy(),
        )
        normal = 0.5 * (moments[:, self._sum] + moments[:, self._difference])
        absent = precision.isinf()
        normal = torch.where(absent[:, :, None] | absent[:, None, :], 0.0, normal)
        normal = _regular(normal + torch.diag_embed(torch.where(absent, 0.0, precision)))
        coefficients = torch.linalg.solve(normal, torch.where(absent, 0.0, right))
        level = torch.empty(template.shape)
        self._code.continuum_levels(
            coefficients.float().numpy(), star.numpy(), arrays.columns.numpy(), level.numpy()
        )
        penalty = (torch.where(absent, 0.0, precision) * coefficients.square()).sum(1)
        return _Continuum(level, normal, penalty)

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
    """Return the normal matrix of the continuum without its empty rows: terms that a star does not have."""
    diagonal = normal.diagonal(dim1=-2, dim2=-1)
    largest = diagonal.amax(-1, keepdim=True).clamp(min=1e-30)
    empty = diagonal <= 0
    return normal + torch.diag_embed(torch.where(empty, largest, 1e-9 * largest))
