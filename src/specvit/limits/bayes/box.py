"""Posterior samples under a prior with a density: the bank leads, adaptive importance sampling follows.

The sampler lives in coordinates in which the uniform prior is a standard normal (see `coordinates`); another
prior enters as its density relative to the uniform one, a factor on the likelihood.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from specvit.errors import ConfigError
from specvit.instrument import ObservedEmulator
from specvit.limits.bayes.bank import Bank
from specvit.limits.bayes.coordinates import ProbitBox
from specvit.limits.bayes.observation import Observation
from specvit.limits.bayes.sampler import SamplerSettings, Score, fit_tempered, sample_posteriors
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
        self.box, self.prior = ProbitBox(prior.label_space), prior
        self.z = sobol_normal(len(prior.label_space), bank_size, seed).to(weight.device)
        labels = self.box.to_labels(self.z)
        self.bank = Bank.build(observed, labels, weight)
        self.bank_tilt = self._tilt(labels)
        if not bool((self.bank_tilt > IMPOSSIBLE).any()):
            raise ConfigError(
                f"prior: {type(prior).__name__}.log_density is nowhere finite at {bank_size} points of its box; "
                "give it a smaller box, around where its density is"
            )

    def sample(
        self, group: Observation, score: Score, settings: SamplerSettings, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield (stars (A,), labels (A, S, P), log weight (A, S)) as stars finish.

        Args:
            group: the stars.
            score: (stars, labels) -> exact log-likelihood (A, S).
            settings: when to stop.
            generator: of the draws.
        """
        approximate = self.bank.log_likelihood(group).double() + self.bank_tilt
        z = self.z.expand(len(group), -1, -1)
        start = fit_tempered(z, approximate, torch.zeros_like(approximate), generator)

        def score_z(stars: Tensor, samples: Tensor) -> Tensor:
            labels = self.box.to_labels(samples)
            return score(stars, labels) + self._tilt(labels)

        for stars, samples, log_weight in sample_posteriors(score_z, start, settings, generator):
            # A star of which no sample is possible has no posterior: NaN, reported as unconverged.
            possible = log_weight > 0.5 * IMPOSSIBLE
            yield stars, self.box.to_labels(samples), log_weight.masked_fill(~possible, -torch.inf)

    def _tilt(self, labels: Tensor) -> Tensor:
        """Return ln of the density of labels (..., P) relative to the uniform one, shape (...), float64."""
        low, high = (labels.new_tensor(b) for b in (self.box.label_space.low, self.box.label_space.high))
        # Rounding may put a label at a face one digit outside, where the density is zero.
        density = self.prior.log_density(torch.maximum(torch.minimum(labels, high), low))
        if density.shape != labels.shape[:-1] or not bool((density < torch.inf).all()):
            raise ConfigError(
                f"prior: {type(self.prior).__name__}.log_density: expected numbers of shape "
                f"{tuple(labels.shape[:-1])}, got shape {tuple(density.shape)}"
                f"{' with NaN or +inf' if not bool((density < torch.inf).all()) else ''}; -inf means impossible"
            )
        return (density.double() + torch.log(high - low).sum()).clamp(min=IMPOSSIBLE)


def sobol_normal(size: int, count: int, seed: int) -> Tensor:
    """Return `count` scrambled Sobol points as standard normal coordinates, shape (count, size), float64."""
    unit = SobolEngine(size, scramble=True, seed=seed).draw(count, dtype=torch.float64)
    normal: Tensor = torch.special.ndtri(unit.clamp(1e-9, 1 - 1e-9))
    return normal
