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
        labels: the true labels, shape (B, P).
        rows: boolean or index tensor selecting stars, e.g. one S/N bin.

    Raises:
        ShapeError: if labels and posteriors differ in shape.
    """
    if labels.shape != posterior.mean.shape:
        raise ShapeError(f"labels: expected {tuple(posterior.mean.shape)}, got {tuple(labels.shape)}")
    chosen = slice(None) if rows is None else rows
    offset = (labels.double().cpu() - posterior.mean).square() - posterior.mean_error.square()
    ratio = (offset / posterior.covariance.diagonal(dim1=1, dim2=2))[chosen].mean(1)
    count = posterior.draws.shape[1] + 1
    scores = torch.special.ndtri((torch.arange(count, dtype=torch.float64) + 0.5) / count).square()
    spread = (scores[posterior.rank(labels.cpu())] / scores.mean())[chosen].mean(1)
    root = math.sqrt(len(ratio))
    return PosteriorWidths(
        float(ratio.mean()), float(ratio.std()) / root, float(spread.mean()), float(spread.std()) / root
    )
