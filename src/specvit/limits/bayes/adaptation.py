"""Looks for a proposal that resembles each posterior. Its draws never enter an estimate: see `sampler`.

Every round draws from a proposal fitted to all earlier draws, weighted against the mixture of all proposals so
far (Veach & Guibas 1995; Cornuet et al. 2012, Scand. J. Stat. 39, 798). Those weights are good enough to fit
with and too good to report: draws that shaped a proposal are found where it is high.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor

from specvit.errors import ConfigError
from specvit.limits.bayes.weights import effective_sample_size, normalise, temper

#: Effective samples from which a proposal is fitted; the likelihood is flattened until there are as many.
FITTING_ESS = 60.0

#: Final draws are planned for so many times the effective sample size wanted: a round that met no draw of large
#: weight can have had luck, and 3 leaves one star in a few hundred below what is wanted.
PLANNING_MARGIN = 3.0

#: Weights of fewer draws have no tail that could be judged (see `pareto.MINIMUM_TAIL`).
SMALLEST_ROUND = 32

#: (stars (A,), points (A, S, P)) -> exact ln likelihood (A, S), float64, of the points for the chosen stars.
Score = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class SamplerSettings:
    """How long to sample.

    Args:
        round_size: draws per star and round.
        minimum_ess: effective sample size wanted of each star's final draws; below it a star is reported as
            not converged.
        maximum_samples: most draws per star, adaptation included; at most half of them adapt the proposal.

    Raises:
        ConfigError: if the values leave no room for one round of each kind.
    """

    round_size: int = 512
    minimum_ess: float = 400.0
    maximum_samples: int = 16_384

    def __post_init__(self) -> None:
        if self.round_size < SMALLEST_ROUND:
            raise ConfigError(f"round_size: expected {SMALLEST_ROUND} draws or more, got {self.round_size}")
        if self.maximum_samples < 2 * self.round_size:
            raise ConfigError(
                f"maximum_samples: expected two rounds of {self.round_size} or more, one to adapt and one to "
                f"estimate, got {self.maximum_samples}; raise it or lower round_size"
            )
        if not self.minimum_ess > 0:
            raise ConfigError(f"minimum_ess: expected > 0, got {self.minimum_ess}")


class Proposal(Protocol):
    """A density per star that can be drawn from, evaluated and fitted; points have shape (A, S, P)."""

    def __getitem__(self, stars: Tensor) -> Self:
        """Return the proposals of the selected stars."""

    def __len__(self) -> int:
        """Return the number of stars."""

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Return `count` independent draws per star, shape (A, count, P)."""

    def log_density(self, points: Tensor) -> Tensor:
        """Return ln q of points (A, S, P), shape (A, S)."""

    def refit(self, points: Tensor, weight: Tensor, generator: torch.Generator) -> Self:
        """Return the proposals that resemble points of weights (A, S)."""


AnyProposal = TypeVar("AnyProposal", bound=Proposal)


@dataclass(frozen=True)
class Target:
    """What is sampled, up to a constant: prior times likelihood.

    Args:
        log_prior: points (A, S, P) -> ln prior (A, S).
        score: exact log-likelihood.
    """

    log_prior: Callable[[Tensor], Tensor]
    score: Score


@dataclass(frozen=True)
class Frozen(Generic[AnyProposal]):
    """Proposals that no longer change, of A stars.

    Args:
        stars: their numbers, shape (A,).
        proposal: one per star.
        planned: final draws each star needs, whole rounds, shape (A,).
        spent: draws made for the adaptation of each of them.
    """

    stars: Tensor
    proposal: AnyProposal
    planned: Tensor
    spent: int


@dataclass(frozen=True)
class _Draws:
    """All draws of the stars still adapting: points (A, S, P), the rest (A, S)."""

    points: Tensor
    log_likelihood: Tensor
    log_prior: Tensor
    log_mixture: Tensor

    def __getitem__(self, rows: Tensor) -> _Draws:
        return _Draws(*(part[rows] for part in vars(self).values()))

    def joined(self, other: _Draws) -> _Draws:
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return _Draws(*(torch.cat(pair, dim=1) for pair in pairs))


def adapt(
    target: Target, start: AnyProposal, settings: SamplerSettings, generator: torch.Generator
) -> Iterator[Frozen[AnyProposal]]:
    """Yield groups of stars as their proposals become good enough.

    A star stops when the final draws it needs are no more than the draws spent on it: to adapt on would then
    cost more than it can save, and the whole never costs more than twice what the adaptation did.

    Args:
        target: prior and likelihood.
        start: first proposal of every star.
        settings: effective sample size wanted and limits.
        generator: of the draws.
    """
    active = torch.arange(len(start), device=generator.device)
    history, draws, spent = [start], None, 0
    while len(active):
        new, share = _round(target, active, history, settings.round_size, generator)
        if draws is not None:
            draws = _mixed_with(history[-1], draws).joined(new)
        else:
            draws = new
        spent += settings.round_size
        planned = planned_draws(share, settings, spent)
        proposal = history[-1].refit(draws.points, _fitting_weight(draws, len(history)), generator)
        done = planned <= spent
        if spent + settings.round_size > settings.maximum_samples // 2:
            done = torch.ones_like(done)
        if bool(done.any()):
            yield Frozen(active[done], proposal[done], planned[done], spent)
        active, draws = active[~done], draws[~done]
        history = [q[~done] for q in (*history, proposal)]


def planned_draws(share: Tensor, settings: SamplerSettings, spent: int) -> Tensor:
    """Return the final draws planned, whole rounds within the budget, shape (A,), int64.

    Args:
        share: effective share of draws that played no part in fitting the proposal they came from, (A,).
        settings: effective sample size wanted and limits.
        spent: draws already made.
    """
    rounds = torch.ceil(PLANNING_MARGIN * settings.minimum_ess / (share * settings.round_size))
    most = (settings.maximum_samples - spent) // settings.round_size
    return rounds.clamp(1, most).long() * settings.round_size


def fit_weight(log_likelihood: Tensor, log_base: Tensor) -> Tensor:
    """Return weights ∝ base · likelihood^β, β <= 1 the largest with enough effective samples, shape (A, S)."""
    beta = temper(log_likelihood, log_base, FITTING_ESS)
    return normalise(beta[:, None] * log_likelihood + log_base)


def _round(
    target: Target, active: Tensor, history: list[AnyProposal], count: int, generator: torch.Generator
) -> tuple[_Draws, Tensor]:
    """Return fresh draws from the newest proposal and their effective share against that proposal alone."""
    points = history[-1].sample(count, generator)
    densities = torch.stack([proposal.log_density(points) for proposal in history])
    draws = _Draws(
        points, target.score(active, points), target.log_prior(points), torch.logsumexp(densities, dim=0)
    )
    share = effective_sample_size(normalise(draws.log_likelihood + draws.log_prior - densities[-1])) / count
    return draws, share


def _mixed_with(proposal: Proposal, draws: _Draws) -> _Draws:
    """Return earlier draws with the newest proposal added to the mixture they are weighted against."""
    mixture = torch.logaddexp(draws.log_mixture, proposal.log_density(draws.points))
    return _Draws(draws.points, draws.log_likelihood, draws.log_prior, mixture)


def _fitting_weight(draws: _Draws, rounds: int) -> Tensor:
    return fit_weight(draws.log_likelihood, draws.log_prior - draws.log_mixture + math.log(rounds))
