"""Posterior samples under the lattice prior, whose labels lie on lines between library nodes.

The prior is a finite sum over lines (see `lines`). All cells of all lines are scored at once in the subspace
of the bank, and the sum is then sampled, sub-cell by sub-cell, with exact likelihoods and exact prior masses:
nothing of the prior is approximated, only the terms of the sum are visited at random instead of all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from specvit.instrument import ObservedEmulator
from specvit.limits.bayes.bank import Bank
from specvit.limits.bayes.lines import Lines
from specvit.limits.bayes.observation import Observation
from specvit.limits.bayes.sampler import FITTING_ESS, SamplerSettings, Score
from specvit.limits.bayes.weights import effective_sample_size, normalise, temper
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
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield (star (1,), labels (1, S, P), log weight (1, S)) star by star; see `BoxSampler.sample`."""
        approximate = self.bank.log_likelihood(group)
        for i in range(len(group)):
            star = torch.tensor([i], device=approximate.device)
            labels, log_weight = self._sample_star(star, approximate[i], score, settings, generator)
            yield star, labels, log_weight

    def _sample_star(
        self,
        star: Tensor,
        approximate: Tensor,
        score: Score,
        settings: SamplerSettings,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Adaptive multiple importance sampling, as in `sampler`, with sub-cells for kernels."""
        first = self._first_proposal(approximate)
        history, cell = [first], torch.empty(0, dtype=torch.int64, device=star.device)
        labels, log_likelihood = None, approximate.new_empty(1, 0, dtype=torch.float64)
        while True:
            new, inside = _draw(history[-1], settings.round_size, generator)
            here = self._labels(new, inside)[None]
            labels = here if labels is None else torch.cat([labels, here], dim=1)
            cell = torch.cat([cell, new])
            log_likelihood = torch.cat([log_likelihood, score(star, here)], dim=1)
            mixture = torch.stack([proposal[cell] for proposal in history]).mean(0)
            # All rounds share one denominator, the mean of their proposals: a draw that was rare in its own
            # round cannot get a huge weight if a later proposal covers it.
            base = (self.log_prior[cell] - mixture.log())[None]
            log_weight = log_likelihood + base
            enough = float(effective_sample_size(normalise(log_weight))) >= settings.minimum_ess
            if enough or cell.numel() + settings.round_size > settings.maximum_samples:
                return labels, log_weight
            beta = temper(log_likelihood, base, FITTING_ESS)
            weight = normalise(beta[:, None] * log_likelihood + base)[0]
            history.append(FIRST_SHARE * first + (1 - FIRST_SHARE) * self._blurred(cell, weight))

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

    def _blurred(self, cell: Tensor, weight: Tensor) -> Tensor:
        mass = torch.zeros_like(self.log_prior).index_add_(0, cell, weight)
        parts = mass.split([lines.subcells for lines in self.lines])
        blurred = torch.cat([lines.blur(part) for lines, part in zip(self.lines, parts, strict=True)])
        return blurred / blurred.sum()

    def _by_axis(self, values: Tensor) -> tuple[Tensor, ...]:
        parts: tuple[Tensor, ...] = values.split([len(lines.start) * lines.cells for lines in self.lines])
        return parts

    def _labels(self, cell: Tensor, inside: Tensor) -> Tensor:
        """Return labels, shape (S, P), at the fraction `inside` of sub-cells number `cell` of all lines."""
        labels = torch.empty(cell.numel(), len(self.lines), dtype=torch.float64, device=cell.device)
        first = 0
        for lines in self.lines:
            chosen = (cell >= first) & (cell < first + lines.subcells)
            labels[chosen] = lines.in_subcells(cell[chosen] - first, inside[chosen])
            first += lines.subcells
        return labels


def _draw(probability: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return `count` sub-cells drawn with `probability` and a uniform position inside each."""
    uniform = torch.rand(2, count, generator=generator, device=probability.device, dtype=torch.float64)
    cdf = probability.cumsum(0)
    # Scaled by the last entry: a sum of millions of float64 is 1 only to rounding.
    cell = torch.searchsorted(cdf, uniform[0] * cdf[-1]).clamp(max=cdf.numel() - 1)
    return cell, uniform[1]
