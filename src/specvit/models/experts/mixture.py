"""The distribution of a mixture of Gaussians: mean, spread, cumulative and its inverse, for many stars at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: Halvings of the bracket of a quantile: 50 leave rounding.
HALVINGS = 50
#: Standard deviations of the outermost component within which all quantiles lie.
REACH = 9.0


@dataclass(frozen=True, eq=False)
class GaussianMixtures:
    """Gaussian mixtures of M components for B stars and P labels.

    Args:
        weights: shape (B, M), rows with sum 1.
        means, stds: of the components, shape (B, M, P).
    """

    weights: Tensor
    means: Tensor
    stds: Tensor

    @property
    def mean(self) -> Tensor:
        """Shape (B, P)."""
        return torch.einsum("bm,bmp->bp", self.weights, self.means)

    @property
    def std(self) -> Tensor:
        """Shape (B, P): of the components, and of their means about the mean of the mixture."""
        spread = (self.means - self.mean[:, None]).square() + self.stds.square()
        return torch.einsum("bm,bmp->bp", self.weights, spread).clamp(min=1e-24).sqrt()

    def below(self, values: Tensor) -> Tensor:
        """Return the probability below values (B, P, Q), likewise."""
        reach = (values[:, None] - self.means[..., None]) / self.stds[..., None]
        return torch.einsum("bm,bmpq->bpq", self.weights, torch.special.ndtr(reach))

    def quantiles(self, probabilities: Tensor) -> Tensor:
        """Return where the probability below is `probabilities` (B, P, Q), likewise."""
        # A component without weight must not widen the bracket to where rounding lives.
        used = (self.weights > 0)[..., None]
        reach = REACH * self.stds
        low = torch.where(used, self.means - reach, torch.inf).amin(dim=1)[..., None].expand_as(probabilities)
        high = (
            torch.where(used, self.means + reach, -torch.inf).amax(dim=1)[..., None].expand_as(probabilities)
        )
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            under = self.below(middle) < probabilities
            low, high = torch.where(under, middle, low), torch.where(under, high, middle)
        return 0.5 * (low + high)
