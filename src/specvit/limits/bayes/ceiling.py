"""`BayesCeiling`: posteriors of the labels of many stars under the exact likelihood of the simulated world.

Ties prior, bank, sampler and likelihood together. The maths is in docs/limits.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor

from specvit.errors import ConfigError
from specvit.instrument import ObservedEmulator
from specvit.limits.bayes.adaptation import SamplerSettings, Score
from specvit.limits.bayes.box import BoxSampler
from specvit.limits.bayes.lattice import LatticeSampler
from specvit.limits.bayes.likelihood import log_likelihood
from specvit.limits.bayes.observation import Observation
from specvit.limits.bayes.posterior import Posterior
from specvit.limits.bayes.sampler import FreshSamples
from specvit.runs.memory import freed_memory_kept
from specvit.simulate import DensityPrior, LatticeLike, Prior
from specvit.simulate.confined_prior import confined
from specvit.simulate.seeding import SEEDS

#: Stars treated together: enough to spread Python's overhead, few enough to fit in memory.
CPU_STARS, DEVICE_STARS = 32, 128

#: Stars whose median inverse variance is the metric of the bank: it only has to be typical.
METRIC_STARS = 512

Progress = Callable[[int], None]


class BayesCeiling:
    """Posterior mean, covariance and quantiles of the labels of every star: the best any estimator can do.

    Args:
        observed: noise-free spectra.
        prior: inside the emulator's domain; with a density or on a lattice (see `simulate.priors`). In holes of the
            library its density is zero.
        bank_size: number of points of the box shared by all stars (only for a prior with a density).
        seed: of the bank and the sampler; the result is reproducible for the same stars in order.
        amplitude: "marginal" leaves the flux scale of each star free with a flat prior in its logarithm, as
            for an estimator that sees flux relative to its own median; "known" fixes it.
        settings: effective sample size wanted and limits.
        draws: equally weighted draws kept per star.

    Raises:
        ConfigError: for an unknown option, a prior that has neither density nor nodes, or nodes over a box with holes.
        DomainError: if nothing of the prior's box is covered.
    """

    def __init__(
        self,
        observed: ObservedEmulator,
        prior: Prior,
        bank_size: int = 1 << 16,
        seed: int = 0,
        amplitude: Literal["marginal", "known"] = "marginal",
        settings: SamplerSettings | None = None,
        draws: int = 127,
    ) -> None:
        if amplitude not in ("marginal", "known"):
            raise ConfigError(f"amplitude: '{amplitude}' is not known; choose marginal or known")
        # Spectra of a formula, without a library behind them, have no holes.
        prior = confined(prior, getattr(observed, "coverage", None))
        if not isinstance(prior, DensityPrior | LatticeLike):
            raise ConfigError(
                f"prior: a posterior needs a density or nodes, {type(prior).__name__} has neither; "
                "give it `log_density`, or `nodes` and `node_weights`"
            )
        self.observed, self.prior = observed, prior
        self.bank_size, self.seed, self.amplitude, self.draws = bank_size, seed, amplitude, draws
        self.settings = settings or SamplerSettings()

    @freed_memory_kept()
    @torch.no_grad()
    def posterior(self, observation: Observation, progress: Progress | None = None) -> Posterior:
        """Return the posteriors of all stars of `observation`, on the CPU.

        Args:
            observation: B stars, on the device of the emulator.
            progress: called with the number of stars finished by each step.
        """
        names, parts = self.prior.label_space.names, []
        for first, samples, generator in self._sampled(observation):
            part = Posterior.from_samples(names, samples, self.draws, self.settings.minimum_ess, generator)
            parts.append((first + samples.stars, part))
            if progress is not None:
                progress(len(samples.stars))
        return Posterior.gather(parts)

    @torch.no_grad()
    def weighted_labels(self, observation: Observation) -> Iterator[tuple[int, FreshSamples]]:
        """Yield what `posterior` is made from: the number of a first star, and weighted labels of some after it.

        `FreshSamples.stars` counts from that first star; groups come as they finish.
        """
        for first, samples, _ in self._sampled(observation):
            yield first, samples

    def _sampled(self, observation: Observation) -> Iterator[tuple[int, FreshSamples, torch.Generator]]:
        """Yield the final draws of groups of stars, each with the generator they were made with."""
        device = observation.flux.device
        sampler = self._sampler(observation[:METRIC_STARS].weight.median(0).values)
        together = CPU_STARS if device.type == "cpu" else DEVICE_STARS
        for first in range(0, len(observation), together):
            # Seeded per group: the draws of a star do not depend on how many groups follow.
            generator = torch.Generator(device).manual_seed((self.seed * 1_000_003 + first) % SEEDS)
            group = observation[first : first + together]
            score = self._score(group, generator)
            for samples in sampler.sample(group, score, self.settings, generator):
                yield first, samples, generator

    def _sampler(self, weight: Tensor) -> BoxSampler | LatticeSampler:
        if isinstance(self.prior, DensityPrior):
            return BoxSampler(self.observed, self.prior, weight, self.bank_size, self.seed)
        return LatticeSampler(self.observed, self.prior, weight)

    def _score(self, group: Observation, generator: torch.Generator) -> Score:
        def score(stars: Tensor, labels: Tensor) -> Tensor:
            normal = None
            if self.amplitude == "marginal":
                normal = torch.randn(
                    labels.shape[:2], generator=generator, device=labels.device, dtype=torch.float64
                )
            return log_likelihood(self.observed, group[stars], labels, normal)[0]

        return score
