"""What is kept of each star's posterior, and the survey-wide R² that follows. Draws nothing itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specvit.errors import LabelError, ShapeError
from specvit.limits.bayes.estimates import estimate
from specvit.limits.bayes.pareto import k_limit, pareto_k
from specvit.limits.bayes.sampler import FreshSamples
from specvit.limits.bayes.weights import effective_sample_size, normalise, resample

#: Quantile levels kept per label: median, 68 % and 95 % intervals.
LEVELS = (0.025, 0.16, 0.5, 0.84, 0.975)


@dataclass(frozen=True)
class Posterior:
    """Posteriors of B stars over P labels; float64 on the CPU.

    Args:
        names: the P labels.
        mean: E[label | spectrum], shape (B, P).
        covariance: shape (B, P, P).
        mean_error: Monte-Carlo standard error of the means, shape (B, P).
        variance_error: Monte-Carlo standard error of the variances, shape (B, P).
        quantiles: at `LEVELS`, shape (B, P, 5).
        level_error: Monte-Carlo standard error of the probability below each quantile, shape (B, P, 5).
        draws: equally weighted draws, shape (B, D, P), float32.
        ess: effective sample size of the final draws, shape (B,).
        pareto_k: tail of their weights, see `pareto`, shape (B,).
        samples: likelihood evaluations spent, shape (B,).
        converged: whether the effective sample size reached its floor and the tail is light enough for that
            many draws, shape (B,).
    """

    names: tuple[str, ...]
    mean: Tensor
    covariance: Tensor
    mean_error: Tensor
    variance_error: Tensor
    quantiles: Tensor
    level_error: Tensor
    draws: Tensor
    ess: Tensor
    pareto_k: Tensor
    samples: Tensor
    converged: Tensor

    def __len__(self) -> int:
        return self.mean.shape[0]

    def index(self, name: str) -> int:
        """Return the position of label `name`; LabelError lists the known names."""
        if name not in self.names:
            raise LabelError(f"unknown label '{name}'; known labels are {', '.join(self.names)}")
        return self.names.index(name)

    def variance(self, name: str) -> Tensor:
        """Return the posterior variances of one label, shape (B,)."""
        i = self.index(name)
        return self.covariance[:, i, i]

    def rank(self, labels: Tensor) -> Tensor:
        """Return how many of the D draws lie below the true labels (B, P), shape (B, P), integers 0..D.

        If the posteriors are right the ranks are uniform: simulation-based calibration (Talts et al. 2018,
        arXiv:1804.06788). Draws equal to the truth (nodes of a lattice prior) are split at random.
        """
        if labels.shape != self.mean.shape:
            raise ShapeError(f"labels: expected shape {tuple(self.mean.shape)}, got {tuple(labels.shape)}")
        truth = labels.to(self.draws)[:, None]
        ties = (self.draws == truth).sum(1)
        # Without this the ranks of labels on nodes would pile up and a right posterior look wrong.
        share = torch.rand(ties.shape, generator=torch.Generator().manual_seed(0))
        return (self.draws < truth).sum(1) + (share * (ties + 1)).long()

    @staticmethod
    def from_samples(
        names: tuple[str, ...],
        samples: FreshSamples,
        draws: int,
        minimum_ess: float,
        generator: torch.Generator,
    ) -> Posterior:
        """Return the summary of weighted labels, keeping `draws` of them per star, on the CPU."""
        labels, weight = samples.points, normalise(samples.log_weight)
        found = estimate(labels, weight, LEVELS)
        ess, k = effective_sample_size(weight), pareto_k(samples.log_weight)
        picked = resample(weight, draws, generator)
        picked = picked.gather(
            1, torch.rand(picked.shape, generator=generator, device=picked.device).argsort(1)
        )
        fields = vars(found) | {
            "draws": labels.gather(1, picked[..., None].expand(-1, -1, labels.shape[-1])).float(),
            "ess": ess,
            "pareto_k": k,
            "samples": torch.full_like(picked[:, 0], samples.spent),
            "converged": (ess >= minimum_ess) & (k < k_limit(labels.shape[1])),
        }
        return Posterior(names, **{name: value.cpu() for name, value in fields.items()})

    @staticmethod
    def gather(parts: list[tuple[Tensor, Posterior]]) -> Posterior:
        """Return the posteriors of all parts in the order of their star numbers."""
        order = torch.cat([stars.cpu() for stars, _ in parts]).argsort()
        fields = tuple(Posterior.__dataclass_fields__)[1:]
        joined = {f: torch.cat([getattr(part, f) for _, part in parts])[order] for f in fields}
        return Posterior(parts[0][1].names, **joined)
