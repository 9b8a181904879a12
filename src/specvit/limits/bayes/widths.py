"""Whether posteriors are as wide as the truth says: the two statistics with the most power against a wrong width.

Both compare with true labels, so a single star says little: with n stars they see a variance wrong by a share of
about 4 · 0.8/√n (4 σ): 7 % with 2000 stars, 3 % with 10 000. Smaller faults need a second sampler.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from specvit.errors import ShapeError
from specvit.limits.bayes.posterior import Posterior

#: Share of the spread of a label below which its posterior has no width that rounding leaves: on a lattice a label
#: can be known exactly.
EXACT = 1e-5


@dataclass(frozen=True)
class PosteriorWidths:
    """Widths of posteriors against true labels, mean over labels; each is 1 if the posteriors are right.

    Args:
        variance: mean of [(label - mean)² - mean_error²] / variance.
        variance_error: its standard error from the finite number of stars.
        ranks: mean of z² over its expectation, z = Φ⁻¹ of the rank of the true label among the draws.
        ranks_error: its standard error from the finite number of stars.
    """

    variance: float
    variance_error: float
    ranks: float
    ranks_error: float


def posterior_widths(posterior: Posterior, labels: Tensor, rows: Tensor | None = None) -> PosteriorWidths:
    """Return how wide the posteriors are against the true labels.

    Args:
        posterior: B stars.
        labels: the true labels, shape (B, P). One that its posterior knows exactly, as on a lattice, has no width
            and is left out of the first statistic.
        rows: boolean or index tensor selecting stars, e.g. one S/N bin.

    Raises:
        ShapeError: if labels and posteriors differ in shape.
    """
    if labels.shape != posterior.mean.shape:
        raise ShapeError(f"labels: expected {tuple(posterior.mean.shape)}, got {tuple(labels.shape)}")
    chosen = slice(None) if rows is None else rows
    offset = (labels.double().cpu() - posterior.mean).square() - posterior.mean_error.square()
    variance = posterior.covariance.diagonal(dim1=1, dim2=2)
    # What is left out depends on the posterior alone, so that the others still have an expectation of 1.
    exact = (variance <= (EXACT * labels.double().cpu().std(dim=0)).square())[chosen]
    total, terms = torch.where(exact, 0.0, (offset / variance)[chosen]).sum(1), (~exact).sum(1)
    ratio = (total / terms)[terms > 0]
    count = posterior.draws.shape[1] + 1
    scores = torch.special.ndtri((torch.arange(count, dtype=torch.float64) + 0.5) / count).square()
    spread = (scores[posterior.rank(labels.cpu())] / scores.mean())[chosen].mean(1)
    return PosteriorWidths(*_mean_and_error(ratio), *_mean_and_error(spread))


def _mean_and_error(values: Tensor) -> tuple[float, float]:
    return float(values.mean()), float(values.std()) / math.sqrt(len(values))
