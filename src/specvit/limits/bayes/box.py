"""Posterior samples under a prior with a density: the bank leads, importance sampling follows.

The sampler lives in the unit cube, in which the uniform prior is flat; another prior enters as its density
relative to the uniform one, a factor on the likelihood.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from specvit.errors import ConfigError
from specvit.instrument import ObservedEmulator
from specvit.limits.bayes.adaptation import SamplerSettings, Score, Target, fit_weight
from specvit.limits.bayes.bank import Bank
from specvit.limits.bayes.observation import Observation
from specvit.limits.bayes.proposal import Mixture
from specvit.limits.bayes.sampler import FreshSamples, sample_posteriors
from specvit.simulate import DensityPrior

#: What ln(density) is taken as where the density is zero: samplers flatten likelihoods, and 0 · inf is no number.
IMPOSSIBLE = -1e30


class BoxSampler:
    """Samples posteriors of stars whose labels have a density in a box.

    Args:
        observed: noise-free spectra.
        prior: box and density.
        weight: typical inverse variance per pixel, shape (L,).
        bank_size: number of scrambled Sobol points of the bank.
        seed: of the bank.

    Raises:
        ConfigError: if the density is zero, or no number, at every point of the bank.
    """

    def __init__(
        self, observed: ObservedEmulator, prior: DensityPrior, weight: Tensor, bank_size: int, seed: int
    ) -> None:
        self.prior = prior
        self.low = torch.tensor(prior.label_space.low, dtype=torch.float64, device=weight.device)
        self.high = torch.tensor(prior.label_space.high, dtype=torch.float64, device=weight.device)
        sobol = SobolEngine(len(prior.label_space), scramble=True, seed=seed)
        self.u = sobol.draw(bank_size, dtype=torch.float64).to(weight.device)
        labels = self._labels(self.u)
        self.bank = Bank.build(observed, labels, weight)
        self.bank_tilt = self._tilt(labels)
        if not bool((self.bank_tilt > IMPOSSIBLE).any()):
            raise ConfigError(
                f"prior: {type(prior).__name__}.log_density is nowhere finite at {bank_size} points of its box; "
                "give it a smaller box, around where its density is"
            )

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
        approximate = self.bank.log_likelihood(group).double() + self.bank_tilt
        u = self.u.expand(len(group), -1, -1)
        start = Mixture.fit(u, fit_weight(approximate, torch.zeros_like(approximate)), generator)

        def score_cube(stars: Tensor, points: Tensor) -> Tensor:
            labels = self._labels(points)
            return score(stars, labels) + self._tilt(labels)

        target = Target(lambda points: torch.zeros_like(points[..., 0]), score_cube)
        for samples in sample_posteriors(target, start, settings, generator):
            # A star of which no sample is possible has no posterior: NaN, reported as unconverged.
            impossible = samples.log_weight < 0.5 * IMPOSSIBLE
            log_weight = samples.log_weight.masked_fill(impossible, -torch.inf)
            yield replace(samples, points=self._labels(samples.points), log_weight=log_weight)

    def _labels(self, u: Tensor) -> Tensor:
        """Return labels of coordinates u in the unit cube, in which the prior is uniform; shapes (..., P)."""
        return torch.lerp(self.low, self.high, u)

    def _tilt(self, labels: Tensor) -> Tensor:
        """Return ln of the density of labels (..., P) relative to the uniform one, shape (...), float64."""
        # Rounding may put a label at a face one digit outside, where the density is zero.
        density = self.prior.log_density(torch.maximum(torch.minimum(labels, self.high), self.low))
        if density.shape != labels.shape[:-1] or not bool((density < torch.inf).all()):
            raise ConfigError(
                f"prior: {type(self.prior).__name__}.log_density: expected numbers of shape "
                f"{tuple(labels.shape[:-1])}, got shape {tuple(density.shape)}"
                f"{' with NaN or +inf' if not bool((density < torch.inf).all()) else ''}; -inf means impossible"
            )
        volume = torch.log(self.high - self.low).sum()
        return (density.double() + volume).clamp(min=IMPOSSIBLE)
