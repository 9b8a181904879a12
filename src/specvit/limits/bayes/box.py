"""Posterior samples under the uniform prior: the bank leads, adaptive importance sampling follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from specvit.instrument import ObservedEmulator
from specvit.limits.bayes.adaptation import SamplerSettings, Score, Target, fit_weight
from specvit.limits.bayes.bank import Bank
from specvit.limits.bayes.coordinates import ProbitBox, log_standard_normal
from specvit.limits.bayes.observation import Observation
from specvit.limits.bayes.proposal import Mixture
from specvit.limits.bayes.sampler import FreshSamples, sample_posteriors
from specvit.simulate import UniformPrior


class BoxSampler:
    """Samples posteriors of stars whose labels are uniform in a box.

    Args:
        observed: noise-free spectra.
        prior: the box.
        weight: typical inverse variance per pixel, shape (L,).
        bank_size: number of scrambled Sobol points of the bank.
        seed: of the bank.
    """

    def __init__(
        self, observed: ObservedEmulator, prior: UniformPrior, weight: Tensor, bank_size: int, seed: int
    ) -> None:
        self.box = ProbitBox(prior.label_space)
        self.z = sobol_normal(len(prior.label_space), bank_size, seed).to(weight.device)
        self.bank = Bank.build(observed, self.box.to_labels(self.z), weight)

    def sample(
        self, group: Observation, score: Score, settings: SamplerSettings, generator: torch.Generator
    ) -> Iterator[FreshSamples]:
        """Yield the final draws of the stars as they finish; their points are labels.

        Args:
            group: the stars.
            score: (stars, labels) -> exact log-likelihood (A, S).
            settings: effective sample size wanted and limits.
            generator: of the draws.
        """
        approximate = self.bank.log_likelihood(group).double()
        z = self.z.expand(len(group), -1, -1)
        start = Mixture.fit(z, fit_weight(approximate, torch.zeros_like(approximate)), generator)

        def score_z(stars: Tensor, samples: Tensor) -> Tensor:
            return score(stars, self.box.to_labels(samples))

        target = Target(log_standard_normal, score_z)
        for samples in sample_posteriors(target, start, settings, generator):
            yield replace(samples, points=self.box.to_labels(samples.points))


def sobol_normal(size: int, count: int, seed: int) -> Tensor:
    """Return `count` scrambled Sobol points as standard normal coordinates, shape (count, size), float64."""
    unit = SobolEngine(size, scramble=True, seed=seed).draw(count, dtype=torch.float64)
    return torch.special.ndtri(unit.clamp(1e-9, 1 - 1e-9))
