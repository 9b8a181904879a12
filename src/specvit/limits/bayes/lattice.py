"""Posterior samples under the lattice prior, whose labels lie on lines between library nodes.

The prior is a finite sum over lines (see `lines`). All cells of all lines are scored at once in the subspace
of the bank, and the sum is then sampled, sub-cell by sub-cell, with exact likelihoods and exact prior masses:
nothing of the prior is approximated, only the terms of the sum are visited at random instead of all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from specvit.instrument import ObservedEmulator
from specvit.limits.bayes.adaptation import SamplerSettings, Score, Target
from specvit.limits.bayes.bank import Bank
from specvit.limits.bayes.lines import Lines
from specvit.limits.bayes.observation import Observation
from specvit.limits.bayes.sampler import FreshSamples, sample_posteriors
from specvit.simulate import LatticeLike

#: The first proposal mixes the scores with flattened ones and with the prior itself: (exponent, share).
FLATTENED = ((1.0, 0.70), (0.3, 0.25), (0.0, 0.05))

#: Share of later proposals that repeats the first one; the rest follows the draws so far.
FIRST_SHARE = 0.5


class LatticeSampler:
    """Samples posteriors of stars whose labels follow a prior on a lattice.

    Args:
        observed: noise-free spectra.
        prior: the lattice.
        weight: typical inverse variance per pixel, shape (L,).
    """

    def __init__(self, observed: ObservedEmulator, prior: LatticeLike, weight: Tensor) -> None:
        self.lines = [Lines.of(prior, axis, weight.device) for axis in range(len(prior.label_space))]
        self.bank = Bank.build(observed, torch.cat([lines.centres() for lines in self.lines]), weight)
        self.log_prior = torch.cat([lines.log_mass() for lines in self.lines])

    def sample(
        self, group: Observation, score: Score, settings: SamplerSettings, generator: torch.Generator
    ) -> Iterator[FreshSamples]:
        """Yield the final draws star by star; see `BoxSampler.sample`."""
        approximate = self.bank.log_likelihood(group)
        for i in range(len(group)):
            star = torch.tensor([i], device=approximate.device)
            first = self._first_proposal(approximate[i])
            start = CellProposal(self, first, first)

            def score_points(_: Tensor, points: Tensor, star: Tensor = star) -> Tensor:
                return score(star, self._labels(points))

            target = Target(self._log_prior, score_points)
            for samples in sample_posteriors(target, start, settings, generator):
                yield replace(samples, stars=star, points=self._labels(samples.points))

    def _first_proposal(self, approximate: Tensor) -> Tensor:
        """Return the first proposal's probability of every sub-cell."""
        score = torch.cat(
            [
                lines.interpolate(part)
                for lines, part in zip(self.lines, self._by_axis(approximate), strict=True)
            ]
        )
        terms = [
            math.log(share) + torch.log_softmax(exponent * score.double() + self.log_prior, dim=0)
            for exponent, share in FLATTENED
        ]
        return torch.logsumexp(torch.stack(terms), dim=0).exp()

    def blurred(self, cell: Tensor, weight: Tensor) -> Tensor:
        """Return the probability of every sub-cell, (C,), of samples in sub-cells `cell` spread over neighbours."""
        mass = torch.zeros_like(self.log_prior).index_add_(0, cell, weight)
        parts = mass.split([lines.subcells for lines in self.lines])
        blurred = torch.cat([lines.blur(part) for lines, part in zip(self.lines, parts, strict=True)])
        return blurred / blurred.sum()

    def _by_axis(self, values: Tensor) -> tuple[Tensor, ...]:
        parts: tuple[Tensor, ...] = values.split([len(lines.start) * lines.cells for lines in self.lines])
        return parts

    def _log_prior(self, points: Tensor) -> Tensor:
        return self.log_prior[_cell(points)]

    def _labels(self, points: Tensor) -> Tensor:
        """Return labels, shape (1, S, P), of points (1, S, 2): number of the sub-cell and fraction inside it."""
        cell, inside = _cell(points)[0], points[0, :, 1]
        labels = torch.empty(cell.numel(), len(self.lines), dtype=torch.float64, device=cell.device)
        first = 0
        for lines in self.lines:
            chosen = (cell >= first) & (cell < first + lines.subcells)
            labels[chosen] = lines.in_subcells(cell[chosen] - first, inside[chosen])
            first += lines.subcells
        return labels[None]


@dataclass(frozen=True)
class CellProposal:
    """q of one star: a probability per sub-cell of all lines, uniform inside each.

    Args:
        lattice: whose lines they are.
        first: the proposal before any draw, shape (C,).
        probability: shape (C,).
    """

    lattice: LatticeSampler
    first: Tensor
    probability: Tensor

    def __len__(self) -> int:
        return 1

    def __getitem__(self, stars: Tensor) -> CellProposal:
        """Return the proposal itself: it has one star, or is not asked for."""
        return self

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Return `count` independent draws, shape (1, count, 2); see `LatticeSampler`."""
        device = self.probability.device
        uniform = torch.rand(2, count, generator=generator, device=device, dtype=torch.float64)
        cdf = self.probability.cumsum(0)
        cell = torch.searchsorted(cdf, uniform[0] * cdf[-1]).clamp(max=cdf.numel() - 1)
        return torch.stack([cell.double(), uniform[1]], dim=-1)[None]

    def log_density(self, points: Tensor) -> Tensor:
        """Return ln of the probability of the sub-cells of points (1, S, 2), shape (1, S)."""
        return self.probability[_cell(points)].log()

    def refit(self, points: Tensor, weight: Tensor, generator: torch.Generator) -> CellProposal:
        """Return the proposal that follows weighted points, `FIRST_SHARE` of it the first one again."""
        blurred = self.lattice.blurred(_cell(points)[0], weight[0])
        return replace(self, probability=FIRST_SHARE * self.first + (1 - FIRST_SHARE) * blurred)


def _cell(points: Tensor) -> Tensor:
    return points[..., 0].long()
