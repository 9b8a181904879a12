"""The survey-wide ceiling from per-star posteriors: R2_bayes with its errors, and whether it is reached."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from specvit.errors import ConfigError, ShapeError
from specvit.limits.bayes.posterior import Posterior

#: Largest Monte-Carlo error of the sampler with which an R2_bayes is called converged.
SAMPLER_TOLERANCE = 0.003

#: Largest share of stars in doubt. One star in two hundred is (docs/limits.md); were the variances of 2 % of the
#: stars wrong by half of the mean one, itself a quarter of the prior's, R2_bayes would move by 0.0027.
UNCONVERGED_SHARE = 0.02


@dataclass(frozen=True)
class BayesR2:
    """R2_bayes = 1 - E[Var(label | spectrum)] / Var(label) of a set of stars.

    Args:
        value: the ceiling.
        sampler_error: its Monte-Carlo standard error from the finite number of posterior samples.
        star_error: its standard error from the finite number of stars.
        reached: 1 - E[(label - posterior mean)²] / Var(label): what the posterior mean attains here, without
            the noise that its finite number of samples adds.
        reached_error: standard error of `reached - value`; the two agree if the posteriors are right.
        stars: number of stars.
        unconverged: stars with too small an effective sample size or too heavy a tail of weights. They count
            like all others: to leave out stars for their own weights would bias the rest.
    """

    value: float
    sampler_error: float
    star_error: float
    reached: float
    reached_error: float
    stars: int
    unconverged: int

    @property
    def converged(self) -> bool:
        """Whether the sampler's error is small enough and at most `UNCONVERGED_SHARE` of the stars are in doubt."""
        few = self.unconverged <= UNCONVERGED_SHARE * self.stars
        return few and self.sampler_error < SAMPLER_TOLERANCE

    @property
    def discrepancy(self) -> float:
        """(reached - value) in standard errors: of order one if likelihood, prior and sampler are right."""
        return (self.reached - self.value) / self.reached_error


def bayes_r2(
    posterior: Posterior, labels: Tensor, name: str, prior_variance: float, rows: Tensor | None = None
) -> BayesR2:
    """Return R2_bayes of one label over all stars, or over the selected ones.

    Args:
        posterior: B stars.
        labels: the true labels, shape (B, P).
        name: the label.
        prior_variance: Var(label): of the prior, or of the test set to compare with an R² that uses that.
        rows: boolean or index tensor selecting stars, e.g. one SNR bin.

    Raises:
        ConfigError: if fewer than two stars are selected or the variance is not positive.
    """
    if labels.shape != posterior.mean.shape:
        raise ShapeError(f"labels: expected {tuple(posterior.mean.shape)}, got {tuple(labels.shape)}")
    if not prior_variance > 0:
        raise ConfigError(f"prior_variance: expected > 0, got {prior_variance}")
    i = posterior.index(name)
    chosen = slice(None) if rows is None else rows
    variance = posterior.variance(name)[chosen]
    count = len(variance)
    if count < 2:
        raise ConfigError(f"bayes_r2: needs at least 2 stars, got {count}")
    square = (posterior.mean[:, i] - labels[:, i].double().cpu()).square() - posterior.mean_error[
        :, i
    ].square()
    square = square[chosen]
    sampler = posterior.variance_error[:, i][chosen].square().sum().sqrt() / count
    return BayesR2(
        value=1 - float(variance.mean()) / prior_variance,
        sampler_error=float(sampler) / prior_variance,
        star_error=_standard_error(variance) / prior_variance,
        reached=1 - float(square.mean()) / prior_variance,
        reached_error=_standard_error(square - variance) / prior_variance,
        stars=count,
        unconverged=int((~posterior.converged[chosen]).sum()),
    )


def bayes_r2_by_bin(
    posterior: Posterior,
    labels: Tensor,
    name: str,
    prior_variance: float,
    values: Tensor,
    edges: Tensor,
) -> list[BayesR2 | None]:
    """Return R2_bayes per bin edges[k] <= values < edges[k + 1]; None for a bin with fewer than two stars.

    The variance of the prior is used in every bin: the S/N carries next to no information on the labels.
    """
    result: list[BayesR2 | None] = []
    for low, high in itertools.pairwise(edges.tolist()):
        rows = torch.nonzero((values >= low) & (values < high))[:, 0].cpu()
        few = len(rows) < 2
        result.append(None if few else bayes_r2(posterior, labels, name, prior_variance, rows))
    return result


def _standard_error(values: Tensor) -> float:
    return float(values.std()) / math.sqrt(len(values))
