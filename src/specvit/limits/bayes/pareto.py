"""The tail of importance weights: Pareto's k, which says whether their mean can be trusted. Draws nothing.

The effective sample size sees the weights that were drawn; k is a guess at those that were not.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: No sample size makes an estimate reliable whose weights have a heavier tail than this.
LARGEST_K = 0.7

#: Fewest weights a tail is fitted to; with less of them k is infinite, which means "cannot be judged".
MINIMUM_TAIL = 5

#: Weak prior of the fit, in weights of the tail and at k = 0.5.
_PRIOR_COUNT, _PRIOR_K = 10, 0.5


def k_limit(samples: int) -> float:
    """Return the largest k with which `samples` draws are enough: min(1 - 1/log10 S, 0.7).

    Source: Vehtari, Simpson, Gelman, Yao & Gabry 2024, JMLR 25, 72.
    """
    return min(1 - 1 / math.log10(samples), LARGEST_K)


def pareto_k(log_weight: Tensor) -> Tensor:
    """Return the shape k of the generalised Pareto law of the largest weights, shape (B,), float64.

    The largest min(S/5, 3√S) weights of each row (B, S) above the next largest are fitted by the posterior mean
    of Zhang & Stephens 2009, Technometrics 51, 316. Moments of the weights of order 1/k and above are infinite.

    Source: Vehtari et al. 2024, JMLR 25, 72.
    """
    samples = log_weight.shape[-1]
    size = math.ceil(min(samples / 5, 3 * math.sqrt(samples)))
    if size < MINIMUM_TAIL:
        return torch.full_like(log_weight[:, 0], torch.inf, dtype=torch.float64)
    top = log_weight.double().topk(size + 1, dim=-1).values
    weight = (top - top[:, :1]).exp()
    excess = (weight[:, :-1] - weight[:, -1:]).flip(-1)
    level = excess[:, -1] > 0
    # Equal weights have no tail: k = -inf, whatever the fit makes of zeros.
    return torch.where(level, _shape(excess.clamp(min=1e-300)), -torch.inf)


def _shape(excess: Tensor) -> Tensor:
    """Return k for excesses in ascending order, shape (B, M)."""
    count = excess.shape[-1]
    grid = 30 + int(math.sqrt(count))
    step = torch.arange(1, grid + 1, dtype=excess.dtype, device=excess.device) - 0.5
    quartile = excess[:, int(count / 4 + 0.5) - 1, None]
    b = (1 - (grid / step).sqrt()) / (3 * quartile) + 1 / excess[:, -1:]
    k = torch.log1p(-b[..., None] * excess[:, None]).mean(-1)
    weight = torch.softmax(count * ((-b / k).log() - k - 1), dim=-1)
    b = (weight * b).sum(-1, keepdim=True)
    k = torch.log1p(-b * excess).mean(-1)
    return (count * k + _PRIOR_COUNT * _PRIOR_K) / (count + _PRIOR_COUNT)
