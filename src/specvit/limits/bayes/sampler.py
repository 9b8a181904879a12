"""Adaptive multiple importance sampling of many posteriors at once. Knows no stars: it is given a score.

Every round draws from a mixture fitted to all earlier draws; all draws of all rounds are kept and weighted
against the mixture of all proposals (the deterministic-mixture weights of Veach & Guibas 1995; Cornuet et al.
2012, Scand. J. Stat. 39, 798), so that a star is finished when its effective sample size is, not before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from specvit.limits.bayes.coordinates import log_standard_normal
from specvit.limits.bayes.proposal import Mixture
from specvit.limits.bayes.weights import effective_sample_size, normalise, temper

#: Effective samples from which a proposal is fitted; the likelihood is flattened until there are as many.
FITTING_ESS = 60.0

MINIMUM_ROUNDS = 2

#: (stars (A,), points (A, S, P)) -> exact ln likelihood (A, S), float64, of the points for the chosen stars.
Score = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class SamplerSettings:
    """How long to sample.

    Args:
        round_size: draws per star and round.
        minimum_ess: a star is finished, and called converged, at this effective sample size.
        maximum_samples: a star that has not converged after this many draws is given up and reported.
    """

    round_size: int = 512
    minimum_ess: float = 400.0
    maximum_samples: int = 16_384


def sample_posteriors(
    score: Score, start: Mixture, settings: SamplerSettings, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield (stars (A,), z (A, S, P), log weight (A, S)) for groups of stars as they finish.

    The prior is the standard normal in z. Log weights are not normalised; their mean weight is the evidence.

    Args:
        score: exact log-likelihood.
        start: first proposal, one mixture per star.
        settings: when to stop.
        generator: on the device of `start`.
    """
    active = torch.arange(start.centres.shape[0], device=start.centres.device)
    # Every proposal is kept: the weights of early draws change as later proposals cover them.
    used, history = 0, [start]
    z = start.centres[:, :0]
    log_likelihood = log_mixture = z[..., 0]
    while len(active):
        new = history[-1].sample(settings.round_size, generator)
        log_mixture = torch.cat(
            [
                torch.logaddexp(log_mixture, history[-1].log_density(z)) if used else log_mixture,
                torch.logsumexp(torch.stack([q.log_density(new) for q in history]), dim=0),
            ],
            dim=1,
        )
        z = torch.cat([z, new], dim=1)
        log_likelihood = torch.cat([log_likelihood, score(active, new)], dim=1)
        used += settings.round_size
        base = log_standard_normal(z) - (log_mixture - math.log(len(history)))
        ess = effective_sample_size(normalise(log_likelihood + base))
        # A high effective sample size after one round may only mean that all draws missed the posterior
        # alike.
        finished = (ess >= settings.minimum_ess) & (len(history) >= MINIMUM_ROUNDS)
        if used + settings.round_size > settings.maximum_samples:
            finished = torch.ones_like(finished)
        if bool(finished.any()):
            yield active[finished], z[finished], (log_likelihood + base)[finished]
            keep = ~finished
            active, z, log_likelihood = active[keep], z[keep], log_likelihood[keep]
            log_mixture, base = log_mixture[keep], base[keep]
            history = [q[keep] for q in history]
        if len(active):
            history.append(fit_tempered(z, log_likelihood, base, generator))


def fit_tempered(z: Tensor, log_likelihood: Tensor, log_base: Tensor, generator: torch.Generator) -> Mixture:
    """Return the mixture of samples under likelihood^β, β <= 1 the largest with enough effective samples."""
    beta = temper(log_likelihood, log_base, FITTING_ESS)
    return Mixture.fit(z, normalise(beta[:, None] * log_likelihood + log_base), generator)
