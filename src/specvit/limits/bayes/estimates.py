"""Posterior moments and quantiles from independent weighted draws, with their Monte-Carlo errors.

Self-normalised importance sampling is a ratio of two means and so has a bias of order 1/S. It is removed here
to that order, by the delta method; what stays is of order 1/S² and below the errors stated. The formulas hold
for draws that did not shape their proposal, and for no others.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specvit.limits.bayes.weights import quantiles


@dataclass(frozen=True)
class WeightedMoments:
    """Posteriors of B stars over P labels, float64.

    Args:
        mean: shape (B, P).
        covariance: shape (B, P, P).
        quantiles: shape (B, P, Q).
        mean_error: standard errors of the means, shape (B, P).
        variance_error: standard errors of the variances, shape (B, P).
        level_error: standard errors of the probability below each quantile, shape (B, P, Q).
    """

    mean: Tensor
    covariance: Tensor
    quantiles: Tensor
    mean_error: Tensor
    variance_error: Tensor
    level_error: Tensor


def estimate(values: Tensor, weight: Tensor, levels: tuple[float, ...]) -> WeightedMoments:
    """Return what the draws say of the posteriors.

    With w normalised to one, m = Σ w x, C = Σ w (x-m)(x-m)ᵀ, D = Σ w² (x-m)(x-m)ᵀ and κ = Σ w² = 1/ESS,

        mean = m + Σ w² (x-m),     covariance = (1 - κ) C + 2 D.

    To order 1/S, Σ w² (x-m) is minus the bias of m. D makes good for taking C around m instead of the true
    mean, D - κ C for the ratio; with equal weights this is the usual 1/(S-1) to a relative 1/S². It is a sum of
    squares whatever the weights, so no variance is negative.

    Args:
        values: draws x, shape (B, S, P).
        weight: normalised, shape (B, S).
        levels: of the quantiles.

    Source: Owen 2013, Monte Carlo theory, methods and examples, ch. 9.2; Hesterberg 1995, Technometrics 37, 185.
    """
    squared = weight.square()
    m = torch.einsum("bs,bsp->bp", weight, values)
    centred = values - m[:, None]
    plain = torch.einsum("bs,bsp,bsq->bpq", weight, centred, centred)
    scatter = torch.einsum("bs,bsp,bsq->bpq", squared, centred, centred)
    kappa = squared.sum(-1)[:, None, None]
    excess = centred.square() - plain.diagonal(dim1=1, dim2=2)[:, None]
    at = torch.stack([quantiles(values[..., i], weight, levels) for i in range(values.shape[-1])], 1)
    return WeightedMoments(
        mean=m + torch.einsum("bs,bsp->bp", squared, centred),
        covariance=(1 - kappa) * plain + 2 * scatter,
        quantiles=at,
        mean_error=scatter.diagonal(dim1=1, dim2=2).sqrt(),
        variance_error=torch.einsum("bs,bsp->bp", squared, excess.square()).sqrt(),
        level_error=_level_error(values, squared, at, levels),
    )


def _level_error(values: Tensor, squared: Tensor, at: Tensor, levels: tuple[float, ...]) -> Tensor:
    """Return [Σ w² (1(x < quantile) - level)²]^½, shape (B, P, Q)."""
    errors = []
    for number, level in enumerate(levels):
        below = (values < at[:, None, :, number]).to(values.dtype)
        errors.append(torch.einsum("bs,bsp->bp", squared, (below - level).square()).sqrt())
    return torch.stack(errors, dim=-1)
