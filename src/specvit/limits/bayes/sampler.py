"""Importance sampling of many posteriors at once from proposals that are frozen. Knows no stars.

`adaptation` finds a proposal for every star and says how many draws it needs; both are decided before the
first draw made here. These draws are independent, played no part in any decision and are all used, whatever
their weights: no bias but that of self-normalisation, which `estimates` removes to leading order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from specvit.limits.bayes.adaptation import Frozen, Proposal, SamplerSettings, Target, adapt


@dataclass(frozen=True)
class FreshSamples:
    """Weighted draws of A stars that played no part in the adaptation of their proposals.

    Args:
        stars: star numbers, shape (A,).
        points: shape (A, S, P).
        log_weight: ln(prior · likelihood / proposal), not normalised, shape (A, S).
        spent: likelihoods computed per star, adaptation included.
    """

    stars: Tensor
    points: Tensor
    log_weight: Tensor
    spent: int


def sample_posteriors(
    target: Target, start: Proposal, settings: SamplerSettings, generator: torch.Generator
) -> Iterator[FreshSamples]:
    """Yield the final draws of groups of stars as they finish.

    Args:
        target: prior and likelihood.
        start: first proposal of every star.
        settings: effective sample size wanted and limits.
        generator: on the device of `start`.
    """
    for frozen in adapt(target, start, settings, generator):
        for planned in frozen.planned.unique().tolist():
            yield _draw(target, frozen, planned, settings.round_size, generator)


def _draw(
    target: Target, frozen: Frozen[Proposal], planned: int, round_size: int, generator: torch.Generator
) -> FreshSamples:
    """Return the final draws of the stars that need `planned` of them, made in rounds to bound memory."""
    chosen = frozen.planned == planned
    stars, proposal = frozen.stars[chosen], frozen.proposal[chosen]
    points, log_weight = [], []
    for _ in range(planned // round_size):
        new = proposal.sample(round_size, generator)
        points.append(new)
        log_weight.append(target.score(stars, new) + target.log_prior(new) - proposal.log_density(new))
    return FreshSamples(stars, torch.cat(points, 1), torch.cat(log_weight, 1), frozen.spent + planned)
