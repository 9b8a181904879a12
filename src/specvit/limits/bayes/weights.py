"""Importance weights: normalisation, effective sample size, tempering, moments, quantiles, resampling.

Pure functions of (B, S) log-weights, batched over B stars with S samples each. All sums in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

_BISECTIONS = 24


def normalise(log_weight: Tensor) -> Tensor:
    """Return weights that sum to one over the last axis, float64."""
    return torch.softmax(log_weight.double(), dim=-1)


def effective_sample_size(weight: Tensor) -> Tensor:
    """Return Kish's (Σw)²/Σw², shape (B,), for weights of shape (B, S).

    Source: Kish 1965, Survey Sampling; for importance sampling Kong 1992, Univ. Chicago Tech. Rep. 348.
    """
    return weight.sum(-1).square() / weight.square().sum(-1)


def temper(log_likelihood: Tensor, log_base: Tensor, target: float) -> Tensor:
    """Return per star the largest β <= 1 for which ESS[base · likelihood^β] reaches `target`, shape (B,).

    Args:
        log_likelihood: ln L of the samples, shape (B, S).
        log_base: ln(prior / proposal), shape (B, S).
        target: effective sample size wanted; β = 0 where even the base misses it.
    """
    low = torch.zeros_like(log_likelihood[:, 0], dtype=torch.float64)
    high = torch.ones_like(low)
    for step in range(_BISECTIONS):
        beta = high if step == 0 else 0.5 * (low + high)
        weight = normalise(beta[:, None] * log_likelihood + log_base)
        enough = effective_sample_size(weight) >= target
        low = torch.where(enough, beta, low)
        high = torch.where(enough, high, beta)
        if step == 0 and bool(enough.all()):
            break
    return low


def moments(values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return weighted means (B, P) and covariances (B, P, P) of values (B, S, P), float64.

    The covariance carries the factor 1/(1 - Σw²). To fit a proposal with; posteriors come from `estimates`.
    """
    mean = torch.einsum("bs,bsp->bp", weight, values)
    centred = values - mean[:, None]
    covariance = torch.einsum("bs,bsp,bsq->bpq", weight, centred, centred)
    # One draw with all the weight would divide by zero; such a star is reported as not converged.
    lost = weight.square().sum(-1).clamp(max=0.999)
    return mean, covariance / (1 - lost)[:, None, None]


def quantiles(values: Tensor, weight: Tensor, levels: tuple[float, ...]) -> Tensor:
    """Return weighted quantiles, shape (B, Q), of values (B, S): interpolated midpoint CDF."""
    ordered, order = values.sort(dim=-1)
    sorted_weight = weight.gather(-1, order)
    cdf = sorted_weight.cumsum(-1) - 0.5 * sorted_weight
    wanted = torch.tensor(levels, dtype=cdf.dtype, device=cdf.device).expand(values.shape[0], -1)
    upper = torch.searchsorted(cdf, wanted.contiguous()).clamp(1, values.shape[-1] - 1)
    x0, x1 = ordered.gather(-1, upper - 1), ordered.gather(-1, upper)
    c0, c1 = cdf.gather(-1, upper - 1), cdf.gather(-1, upper)
    share = ((wanted - c0) / (c1 - c0).clamp(min=1e-300)).clamp(0, 1)
    return x0 + share * (x1 - x0)


def resample(weight: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return indices of `count` draws per star, shape (B, count), by systematic resampling.

    Source: Kitagawa 1996, J. Comput. Graph. Stat. 5, 1.
    """
    start = torch.rand(weight.shape[0], 1, generator=generator, device=weight.device, dtype=weight.dtype)
    comb = (torch.arange(count, device=weight.device) + start) / count
    # One random number per star and a comb: as a rule less variance than independent draws.
    cdf = weight.cumsum(-1)
    return torch.searchsorted(cdf / cdf[:, -1:], comb).clamp(max=weight.shape[-1] - 1)
