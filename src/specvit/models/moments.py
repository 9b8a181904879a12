"""First and second moments of a stream of spectra: all that a linear model needs of its training set.

One pass, float64, constant memory (L² numbers); Ridge, PCA-Ridge and PLS share one `Moments`. Owns no model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from specvit.errors import DataError
from specvit.models.inputs import Progress, RelativeSpectra, fill_dead, labels_of, relative_spectra
from specvit.spectra import SpectraSource

#: Column blocks of the symmetric Gram update: 4 blocks need 5/8 of the multiplications of the full product.
BLOCKS = 4

#: Rows that are gathered before they are added to a Gram matrix: a product of fewer would wait for memory.
GATHERED = 1024


class Eigen(NamedTuple):
    """Eigen-decomposition of the centred Gram matrix D⁻¹XᵀXD⁻¹ = V diag(values) Vᵀ, values descending.

    Of fewer spectra than half the pixels, the directions in which they do not vary are left out.
    """

    values: Tensor
    vectors: Tensor
    scale: Tensor


class Pool:
    """Moments of spectra about an origin near their mean, for pools of one origin that are merged.

    Fewer spectra than half the inputs are kept as their rows, which take less room than a Gram matrix and whose
    eigenvectors cost far less: what is made of them is the same.

    Args:
        origin_x, origin_y: shape (D,) and (P,), what sums are taken about.
    """

    def __init__(self, origin_x: Tensor, origin_y: Tensor) -> None:
        self.origin_x, self.origin_y, self.count = origin_x, origin_y, 0
        self._sum_x, self._sum_y = torch.zeros_like(origin_x), torch.zeros_like(origin_y)
        self._cross = origin_x.new_zeros(len(origin_x), len(origin_y))
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
        gram, scale = self.gram, self.scale(standardise)
        values, vectors = torch.linalg.eigh(gram / torch.outer(scale, scale))
        # LAPACK gives them rising, and rounding leaves null directions slightly negative.
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

    @property
    def gram(self) -> Tensor:
        """Centred Gram matrix XᵀX, shape (D, D)."""
        self._empty()
        assert self._gram is not None
        upper = torch.triu(self._gram)
        whole = upper + torch.triu(upper, diagonal=1).T
        return whole - torch.outer(self._sum_x, self._sum_x) / self.count

    def scale(self, standardise: bool) -> Tensor:
        """Return the divisor of every input, shape (D,): standard deviations (1 where constant), or ones."""
        if not standardise:
            return torch.ones_like(self._sum_x)
        squares = self._sum_x.new_zeros(self.width) if self._gram is None else self._gram.diagonal().clone()
        for rows in self._rows:
            squares += rows.square().sum(dim=0)
        variance = (squares - self._sum_x**2 / self.count) / self.count
        # A constant input has a variance of rounding size; dividing by its root would invent a feature.
        constant = variance <= 1e-14 * self.mean.square()
        return torch.where(constant, 1.0, variance.clamp(min=0)).sqrt()

    def _eigen_of_rows(self, standardise: bool) -> Eigen:
        scale = self.scale(standardise)
        rows = (torch.cat(self._rows) - self._sum_x / self.count) / scale
        values, vectors = torch.linalg.eigh(rows @ rows.T)
        # The tolerance of numpy.linalg.matrix_rank; what is below is rounding and has no direction.
        known = values > torch.finfo(values.dtype).eps * max(rows.shape) * values[-1]
        if not bool(known.any()):
            return Eigen(values[-1:].clamp(min=0), rows.new_zeros(self.width, 1), scale)
        values, vectors = values[known].flip(0), vectors[:, known].flip(1)
        return Eigen(values, rows.T @ vectors / values.sqrt(), scale)

    def _empty(self) -> None:
        """Add the gathered rows to the Gram matrix, of which the upper blocks are kept."""
        if self._gram is None:
            self._gram = self.origin_x.new_zeros(self.width, self.width)
        if self._rows:
            x = torch.cat(self._rows)
            edges = torch.linspace(0, self.width, BLOCKS + 1).long().tolist()
            for start, stop in pairwise(edges):
                self._gram[start:stop, start:].addmm_(x[:, start:stop].T, x[:, start:])
        self._rows, self._waiting = [], 0


class Moments:
    """Centred moments of N spectra of L pixels and their P labels, accumulated batch by batch.

    Spectra are relative to their level. Sums are taken about the mean of the first batch, so that the centring
    loses no digits. A dead pixel is set to that mean and so carries no information.

    Args:
        names: the labels to regress on.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._pool: Pool | None = None
        self._eigen: dict[bool, Eigen] = {}

    @classmethod
    def accumulate(
        cls,
        source: SpectraSource,
        names: Sequence[str],
        batch_size: int = 2048,
        progress: Progress | None = None,
        view: Callable[[RelativeSpectra], RelativeSpectra] | None = None,
    ) -> Moments:
        """Return the moments of all of `source`, as `view` shows its spectra.

        `progress(done, total, text)` is called per batch.

        Raises:
            DataError: if the source is empty or holds unusable spectra (see `relative`).
        """
        moments = cls(names)
        for batch in source.batches(batch_size):
            spectra = relative_spectra(batch.flux, batch.sigma, source.grid.size, "fit", moments.count)
            spectra = spectra if view is None else view(spectra)
            moments.add(spectra, labels_of(batch, source.label_space, names, "fit"))
            if progress is not None:
                progress(moments.count, len(source), "training spectra read")
        if moments.count < 2:
            raise DataError(f"fit: expected at least 2 training spectra, got {moments.count}")
        return moments

    def add(self, spectra: RelativeSpectra, labels: Tensor) -> None:
        """Add a batch of B spectra and their labels (B, P)."""
        labels = labels.to(torch.float64)
        if self._pool is None:
            live = torch.isfinite(spectra.sigma).sum(dim=0)
            # Shifted sums lose no digits to the mean (Chan, Golub & LeVeque 1983, Am. Stat. 37, 242).
            self._pool = Pool(spectra.flux.sum(dim=0) / live.clamp(min=1), labels.mean(dim=0))
        self._pool.add(fill_dead(spectra, self._pool.origin_x), labels)
        self._eigen.clear()

    @property
    def count(self) -> int:
        """Number of spectra."""
        return 0 if self._pool is None else self._pool.count

    @property
    def mean_flux(self) -> Tensor:
        """Mean spectrum, shape (L,)."""
        return self._sums.mean

    @property
    def mean_labels(self) -> Tensor:
        """Mean labels, shape (P,)."""
        return self._sums.mean_labels

    @property
    def gram(self) -> Tensor:
        """Centred Gram matrix XᵀX, shape (L, L)."""
        return self._sums.gram

    @property
    def cross(self) -> Tensor:
        """Centred XᵀY, shape (L, P)."""
        return self._sums.cross

    def scale(self, standardise: bool) -> Tensor:
        """Return the per-pixel divisor D, shape (L,): standard deviations (1 where constant), or ones."""
        return self._sums.scale(standardise)

    def eigen(self, standardise: bool) -> Eigen:
        """Return the eigen-decomposition of the centred (and scaled) Gram matrix, computed once."""
        if standardise not in self._eigen:
            self._eigen[standardise] = self._sums.eigen(standardise)
        return self._eigen[standardise]

    @property
    def _sums(self) -> Pool:
        if self._pool is None:
            raise DataError("fit: expected at least 2 training spectra, got 0")
        return self._pool
