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
        self.low = torch.tensor(prior.label_space.low, dtype=torch.float64, device=weight.device)
        self.high = torch.tensor(prior.label_space.high, dtype=torch.float64, device=weight.device)
        sobol = SobolEngine(len(prior.label_space), scramble=True, seed=seed)
        self.u = sobol.draw(bank_size, dtype=torch.float64).to(weight.device)
        self.bank = Bank.build(observed, self._labels(self.u), weight)

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
        u = self.u.expand(len(group), -1, -1)
        start = Mixture.fit(u, fit_weight(approximate, torch.zeros_like(approximate)), generator)

        def score_cube(stars: Tensor, points: Tensor) -> Tensor:
            return score(stars, self._labels(points))

        target = Target(lambda points: torch.zeros_like(points[..., 0]), score_cube)
        for samples in sample_posteriors(target, start, settings, generator):
            yield replace(samples, points=self._labels(samples.points))

    def _labels(self, u: Tensor) -> Tensor:
        """Return labels of coordinates u in the unit cube, in which the prior is uniform; shapes (..., P)."""
        return torch.lerp(self.low, self.high, u)
