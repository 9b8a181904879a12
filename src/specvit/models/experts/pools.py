"""First and second moments of the spectra of every bin and of all of them, in one pass; and the Ridge fits they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specvit.models.linear import shrinkage
from specvit.models.moments import Eigen, Pool


class BinPools:
    """A pool for every bin, and all of them together."""

    def __init__(self, bins: int) -> None:
        self.bins = bins
        self.pools: list[Pool] = []

    def add(self, values: Tensor, labels: Tensor, bins: Tensor) -> None:
        """Add B spectra: values (B, D), labels (B, P), and the bin of each (B,)."""
        values, labels = values.double(), labels.double()
        if not self.pools:
            # Sums about the mean of the first spectra lose no digits (Chan, Golub & LeVeque 1983, Am. Stat. 37, 242).
            origin = (values.mean(dim=0), labels.mean(dim=0))
            self.pools = [Pool(*origin) for _ in range(self.bins)]
        for k, pool in enumerate(self.pools):
            inside = bins == k
            pool.add(values[inside], labels[inside])

    def whole(self) -> Pool:
        """Return the pool of all spectra."""
        whole = Pool(self.pools[0].origin_x, self.pools[0].origin_y)
        for pool in self.pools:
            whole.merge(pool)
        return whole


@dataclass(frozen=True, eq=False)
class RidgePath:
    """The Ridge fits of one pool for all penalties: ŷ = mean_labels + (x - mean) V f(α) Vᵀ XᵀY, scaled.

    Args:
        eigen: of the pool.
        projected: cross moments in its eigenvectors, shape (R, P).
        mean, mean_labels: shape (D,) and (P,).
    """

    eigen: Eigen
    projected: Tensor
    mean: Tensor
    mean_labels: Tensor

    @classmethod
    def of(cls, pool: Pool, standardise: bool) -> RidgePath:
        """Return the fits of a pool."""
        eigen = pool.eigen(standardise)
        projected = eigen.vectors.T @ (pool.cross / eigen.scale[:, None])
        return cls(eigen, projected, pool.mean, pool.mean_labels)

    def squared_errors(self, values: Tensor, labels: Tensor, alphas: Sequence[float]) -> Tensor:
        """Return the mean squared error of each penalty and label on spectra (B, D), shape (A, P)."""
        scores = ((values - self.mean) / self.eigen.scale) @ self.eigen.vectors
        filters = shrinkage(self.eigen.values, alphas)
        estimates = torch.einsum("br,ar,rp->bap", scores, filters, self.projected) + self.mean_labels
        return (estimates - labels[:, None]).square().mean(dim=0)

    def weights(self, alphas: Sequence[float]) -> Tensor:
        """Return the weights, shape (D, P), with one penalty per label."""
        filters = shrinkage(self.eigen.values, alphas).T
        return (self.eigen.vectors @ (filters * self.projected)) / self.eigen.scale[:, None]
