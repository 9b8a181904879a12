"""What is kept of each star's posterior, and the survey-wide R² that follows. Draws nothing itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specvit.errors import LabelError, ShapeError
from specvit.limits.bayes.weights import (
    effective_sample_size,
    moments,
    normalise,
    quantiles,
    resample,
    variance_error,
)

#: Quantile levels kept per label: median, 68 % and 95 % intervals.
LEVELS = (0.025, 0.16, 0.5, 0.84, 0.975)


@dataclass(frozen=True)
class Posterior:
    """Posteriors of B stars over P labels; float64 on the CPU.

    Args:
        names: the P labels.
        mean: E[label | spectrum], shape (B, P).
        covariance: shape (B, P, P).
        variance_error: Monte-Carlo standard error of the variances, shape (B, P).
        quantiles: at `LEVELS`, shape (B, P, 5).
        draws: equally weighted draws, shape (B, D, P), float32.
        ess: effective sample size, shape (B,).
        samples: likelihood evaluations spent, shape (B,).
        converged: whether the effective sample size reached its floor, shape (B,).
    """

    names: tuple[str, ...]
    mean: Tensor
    covariance: Tensor
    variance_error: Tensor
    quantiles: Tensor
    draws: Tensor
    ess: Tensor
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
        labels: Tensor,
        log_weight: Tensor,
        draws: int,
        minimum_ess: float,
        generator: torch.Generator,
    ) -> Posterior:
        """Return the summary of weighted samples: labels (B, S, P), log_weight (B, S)."""
        weight = normalise(log_weight)
        mean, covariance = moments(labels, weight)
        ess = effective_sample_size(weight)
        level = torch.stack([quantiles(labels[..., i], weight, LEVELS) for i in range(labels.shape[-1])], 1)
        picked = resample(weight, draws, generator)[..., None].expand(-1, -1, labels.shape[-1])
        # Systematic resampling returns draws in the order of the samples; callers may take the first few.
        order = torch.rand(picked.shape[:2], generator=generator, device=labels.device).argsort(1)
        drawn = labels.gather(1, picked.gather(1, order[..., None].expand_as(picked)))
        spent = torch.full_like(ess, labels.shape[1], dtype=torch.int64)
        return Posterior(
            names,
            mean.cpu(),
            covariance.cpu(),
            variance_error(labels, weight).cpu(),
            level.cpu(),
            drawn.float().cpu(),
            ess.cpu(),
            spent.cpu(),
            (ess >= minimum_ess).cpu(),
        )

    @staticmethod
    def gather(parts: list[tuple[Tensor, Posterior]]) -> Posterior:
        """Return the posteriors of all parts in the order of their star numbers."""
        order = torch.cat([stars.cpu() for stars, _ in parts]).argsort()
        fields = tuple(Posterior.__dataclass_fields__)[1:]
        joined = {f: torch.cat([getattr(part, f) for _, part in parts])[order] for f in fields}
        return Posterior(parts[0][1].names, **joined)
