"""The smooth part of a spectrum, fitted to the spectrum itself: polynomial, spline, or running median.

Spectra are relative to their level, so that a continuum is near 1. All spectra of a batch are done at once; dead pixels
have no weight. Owns no choice: `view` says which is used.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from scipy.interpolate import BSpline
from torch import Tensor

from specvit.models.usable import usable_median

#: A continuum is taken as no lower than this share of the level: below it, division would only inflate noise.
LEAST_CONTINUUM = 0.1

#: Rounds of reweighting of the spline, and the residual, in robust deviations, beyond which a pixel counts less.
ROUNDS, TUNING = 3, 1.345

#: Medians of a running window are taken this many times per window, and joined by straight lines.
MEDIANS_PER_WINDOW = 8

#: Numbers in the windows that are laid out at once.
WINDOW_NUMBERS = 2**24


def polynomial(flux: Tensor, sigma: Tensor, usable: Tensor, order: int) -> Tensor:
    """Return the weighted least-squares polynomial of each spectrum, shape (B, L).

    Args:
        flux, sigma: relative to the level, shape (B, L).
        usable: shape (B, L), False on dead pixels.
        order: highest power.
    """
    design = _like(_chebyshev(flux.shape[1], order), flux)
    return _floored(_least_squares(design, flux, _weight(sigma, usable)), flux)


def spline(flux: Tensor, sigma: Tensor, usable: Tensor, intervals: int) -> Tensor:
    """Return a cubic spline through each spectrum by robust least squares, shape (B, L).

    Lines pull it down less than their depth: pixels far from it, in units of their sigma, count less.

    Args:
        flux, sigma, usable: see `polynomial`.
        intervals: of equal length, between knots.

    Source: Huber 1981, Robust Statistics (iterated reweighting, k = 1.345).
    """
    design = _like(_cubic(flux.shape[1], intervals), flux)
    plain = _weight(sigma, usable)
    weight = plain
    for _ in range(ROUNDS):
        residual = ((flux - _least_squares(design, flux, weight)) / sigma).abs()
        spread = 1.4826 * usable_median(residual, usable)[:, None]
        weight = plain * (TUNING * spread / residual.clamp(min=1e-30)).clamp(max=1.0)
    return _floored(_least_squares(design, flux, weight), flux)


def running_median(flux: Tensor, usable: Tensor, width: int) -> Tensor:
    """Return the median of usable pixels in a window about each pixel, shape (B, L); 1 where there are none.

    Args:
        flux, usable: see `polynomial`.
        width: of the window, pixels; cut at both ends of the spectrum.
    """
    pixels = flux.shape[1]
    step, half = max(1, width // MEDIANS_PER_WINDOW), width // 2
    count = -(-(pixels - 1) // step) + 1
    beyond = (count - 1) * step + width - half - pixels
    rows = max(1, WINDOW_NUMBERS // (count * width))
    medians = []
    for values, alive in zip(flux.split(rows), usable.split(rows), strict=True):
        windows = F.pad(values, (half, beyond)).unfold(1, width, step)
        known = F.pad(alive, (half, beyond), value=False).unfold(1, width, step)
        medians.append(usable_median(windows, known))
    return _floored(between(torch.cat(medians), pixels, 0.0, step), flux)


def between(nodes: Tensor, pixels: int, first: float, step: float) -> Tensor:
    """Return values (B, T) at pixels `first`, `first + step`, ... joined by straight lines, shape (B, pixels).

    Constant before the first and after the last.
    """
    at = ((torch.arange(pixels, device=nodes.device) - first) / step).clamp(0, nodes.shape[1] - 1)
    left = at.long().clamp(max=max(nodes.shape[1] - 2, 0))
    right = (left + 1).clamp(max=nodes.shape[1] - 1)
    return torch.lerp(nodes[:, left], nodes[:, right], (at - left).to(nodes))


def _weight(sigma: Tensor, usable: Tensor) -> Tensor:
    return torch.where(usable, sigma.double() ** -2, 0.0)


def _least_squares(design: Tensor, flux: Tensor, weight: Tensor) -> Tensor:
    """Return the fit of design (L, K) to flux (B, L) under weights (B, L) float64, in the type of the flux."""
    terms = design.shape[1]
    # One product for all normal matrices: the products of columns do not depend on the spectrum.
    normal = (weight @ (design[:, :, None] * design[:, None]).flatten(1)).unflatten(1, (terms, terms))
    # A stretch without usable pixels leaves coefficients free: the smallest ones.
    trace = normal.diagonal(dim1=1, dim2=2).sum(dim=1).clamp(min=1e-30)
    normal = normal + 1e-10 * trace[:, None, None] * torch.eye(terms).to(normal)
    # About 1, where a continuum is: what is free is then the level.
    target = (weight * (flux.double() - 1)) @ design
    fit: Tensor = 1 + torch.linalg.solve(normal, target) @ design.T
    return fit.to(flux)


def _floored(continuum: Tensor, flux: Tensor) -> Tensor:
    return continuum.clamp(min=LEAST_CONTINUUM).to(flux)


def _like(design: np.ndarray, flux: Tensor) -> Tensor:
    return torch.from_numpy(design).to(flux.device)


@lru_cache(maxsize=16)
def _chebyshev(pixels: int, order: int) -> np.ndarray:
    return np.polynomial.chebyshev.chebvander(np.linspace(-1, 1, pixels), order)


@lru_cache(maxsize=16)
def _cubic(pixels: int, intervals: int) -> np.ndarray:
    knots = np.r_[[0.0] * 3, np.linspace(0, 1, intervals + 1), [1.0] * 3]
    return np.asarray(BSpline.design_matrix(np.linspace(0, 1, pixels), knots, 3).toarray())
