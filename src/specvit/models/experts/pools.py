"""First and second moments of the spectra of every bin and of all of them, in one pass; and the Ridge fits they give.

A bin of fewer spectra than half the inputs is kept as its rows, which take less room than a Gram matrix and whose
eigenvectors cost far less: the fits are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from specvit.models.linear import shrinkage
from specvit.models.moments import BLOCKS, Eigen

#: Rows that are gathered before they are added to a Gram matrix: a product of fewer would wait for memory.
GATHERED = 1024


class Pool:
    """Moments of the spectra of one bin about a common origin.

    Args:
        origin_x, origin_y: shape (D,) and (P,), what sums are taken about.
    """

    def __init__(self, origin_x: Tensor, origin_y: Tensor) -> None:
        self.origin_x, self.origin_y, self.count = origin_x, origin_y, 0
        self._sum_x, self._sum_y = torch.zeros_like(origin_x), torch.zeros_like(origin_y)
        self._cross = torch.zeros(len(origin_x), len(origin_y), dtype=torch.float64)
        self._gram: Tensor | None = None
        self._rows: list[Tensor] = []
        self._waiting = 0

    def add(self, values: Tensor, labels: Tensor) -> None:
        """Add B spectra, values (B, D) and labels (B, P), float64."""
        if not len(values):
            return
        x, y = values - self.origin_x, labels - self.origin_y
        self.count += len(x)
        self._sum_x += x.sum(dim=0)
        self._sum_y += y.sum(dim=0)
        self._cross.addmm_(x.T, y)
        self._rows.append(x)
        self._waiting += len(x)
        if self._waiting > max(self.width // 2, GATHERED):
            self._empty()

    @property
    def width(self) -> int:
        """Number of inputs, D."""
        return len(self.origin_x)

    @property
    def mean(self) -> Tensor:
        """Mean of the inputs, shape (D,)."""
        return self.origin_x + self._sum_x / self.count

    @property
    def mean_labels(self) -> Tensor:
        """Mean of the labels, shape (P,)."""
        return self.origin_y + self._sum_y / self.count

    @property
    def cross(self) -> Tensor:
        """Centred XᵀY, shape (D, P)."""
        return self._cross - torch.outer(self._sum_x, self._sum_y) / self.count

    def eigen(self, standardise: bool) -> Eigen:
        """Return the eigen-decomposition of the centred, scaled Gram matrix; of few rows without its null space."""
        if self._gram is None and self.count <= self.width // 2:
            return self._eigen_of_rows(standardise)
        gram = self._whole_gram()
        gram = gram - torch.outer(self._sum_x, self._sum_x) / self.count
        scale = self._scale(gram.diagonal() / self.count, standardise)
        values, vectors = torch.linalg.eigh(gram / torch.outer(scale, scale))
        return Eigen(values.flip(0).clamp(min=0), vectors.flip(1), scale)

    def merge(self, other: Pool) -> None:
        """Add the spectra of another pool of the same origin."""
        self.count += other.count
        self._sum_x += other._sum_x
        self._sum_y += other._sum_y
        self._cross += other._cross
        if other._gram is not None:
            self._gram = other._gram.clone() if self._gram is None else self._gram + other._gram
        self._rows += other._rows
        self._waiting += other._waiting
        if self._waiting > max(self.width // 2, GATHERED):
            self._empty()

    def _eigen_of_rows(self, standardise: bool) -> Eigen:
        rows = torch.cat(self._rows) - self._sum_x / self.count
        scale = self._scale(rows.square().mean(dim=0), standardise)
        rows = rows / scale
        values, vectors = torch.linalg.eigh(rows @ rows.T)
        # The tolerance of numpy.linalg.matrix_rank; what is below is rounding and has no direction.
        known = values > torch.finfo(values.dtype).eps * max(rows.shape) * values[-1]
        values, vectors = values[known].flip(0), vectors[:, known].flip(1)
        return Eigen(values, rows.T @ vectors / values.sqrt(), scale)

    def _scale(self, variance: Tensor, standardise: bool) -> Tensor:
        if not standardise:
            return torch.ones_like(variance)
        # A constant input has a variance of rounding size; dividing by its root would invent a feature.
        constant = variance <= 1e-14 * self.mean.square()
        return torch.where(constant, 1.0, variance.clamp(min=0)).sqrt()

    def _whole_gram(self) -> Tensor:
        self._empty()
        assert self._gram is not None
        upper = torch.triu(self._gram)
        return upper + torch.triu(upper, diagonal=1).T

    def _empty(self) -> None:
        """Add the gathered rows to the Gram matrix, of which the upper blocks are kept."""
        if self._gram is None:
            self._gram = torch.zeros(self.width, self.width, dtype=torch.float64)
        if self._rows:
            x = torch.cat(self._rows)
            edges = torch.linspace(0, self.width, BLOCKS + 1).long().tolist()
            for start, stop in pairwise(edges):
                self._gram[start:stop, start:].addmm_(x[:, start:stop].T, x[:, start:])
        self._rows, self._waiting = [], 0


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
