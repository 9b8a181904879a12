"""Posteriors whose moments are known in closed form, sampled without any spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor

from specvit.limits.bayes import LEVELS, SamplerSettings
from specvit.limits.bayes.adaptation import Target, fit_weight
from specvit.limits.bayes.estimates import estimate
from specvit.limits.bayes.proposal import Mixture
from specvit.limits.bayes.sampler import sample_posteriors
from specvit.limits.bayes.weights import normalise

LABELS = 5


@dataclass(frozen=True)
class Sampled:
    """What the sampler says of B stars: pulls are differences to the truth in stated errors, shape (B, P)."""

    ratio: Tensor
    mean_pull: Tensor
    variance_pull: Tensor
    level_pull: Tensor


def sample_normal(centre: Tensor, width: Tensor, prior_width: float, seed: int) -> Sampled:
    """Sample posteriors ∝ N(u; centre, width²) N(u; 1/2, prior_width²) in the unit cube, labels independent.

    Args:
        centre: of the likelihood, shape (B, P).
        width: of the likelihood, broadcastable to it.
        prior_width: of the prior; infinite for a uniform one.
        seed: of all draws.
    """
    generator = torch.Generator().manual_seed(seed)
    precision, prior_precision = width**-2, prior_width**-2

    def log_prior(points: Tensor) -> Tensor:
        return -0.5 * prior_precision * (points - 0.5).square().sum(-1)

    def score(stars: Tensor, points: Tensor) -> Tensor:
        offset = (points - centre[stars][:, None]).square()
        return -0.5 * (offset * precision.expand_as(centre)[stars][:, None]).sum(-1)

    bank = torch.quasirandom.SobolEngine(LABELS, scramble=True, seed=seed).draw(2048, dtype=torch.float64)
    if prior_precision > 0:
        bank = (0.5 + prior_width * torch.special.ndtri(bank.clamp(1e-9, 1 - 1e-9))).clamp(0, 1)
    bank = bank.expand(len(centre), -1, -1)
    log_likelihood = score(torch.arange(len(centre)), bank)
    weight = fit_weight(log_likelihood, torch.zeros_like(log_likelihood))
    start = Mixture.fit(bank, weight, generator)
    sigma = (precision + prior_precision) ** -0.5
    middle = sigma**2 * (centre * precision + 0.5 * prior_precision)
    a, b = (((edge - middle) / sigma).numpy() for edge in (0, 1))
    exact = stats.truncnorm(a, b, loc=middle.numpy(), scale=sigma.expand_as(centre).numpy())
    mean, variance = torch.from_numpy(exact.mean()), torch.from_numpy(exact.var())
    parts = []
    for samples in sample_posteriors(Target(log_prior, score), start, SamplerSettings(), generator):
        found = estimate(samples.points, normalise(samples.log_weight), LEVELS)
        here, diagonal = samples.stars, found.covariance.diagonal(dim1=1, dim2=2)
        law = stats.truncnorm(a[here], b[here], loc=middle[here], scale=sigma.expand_as(centre)[here])
        below = [torch.from_numpy(law.cdf(found.quantiles[..., q])) - p for q, p in enumerate(LEVELS)]
        parts.append(
            Sampled(
                diagonal / variance[here],
                (found.mean - mean[here]) / found.mean_error,
                (diagonal - variance[here]) / found.variance_error,
                torch.stack(below, -1) / found.level_error,
            )
        )
    return Sampled(*(torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0])))
