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


class Eigen(NamedTuple):
    """Eigen-decomposition of the centred Gram matrix D⁻¹XᵀXD⁻¹ = V diag(values) Vᵀ, values descending."""

    values: Tensor
    vectors: Tensor
    scale: Tensor


class Moments:
    """Centred moments of N spectra of L pixels and their P labels, accumulated batch by batch.

    Spectra are relative to their level. Sums are taken about the mean of the first batch, so that the centring
    loses no digits. A dead pixel is set to that mean and so carries no information.

    Args:
        names: the labels to regress on.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.count = 0
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
        if self.count == 0:
            self._start(spectra, labels)
        x = fill_dead(spectra, self._shift_x) - self._shift_x
        y = labels.to(torch.float64) - self._shift_y
        self.count += len(x)
        self._sum_x += x.sum(dim=0)
        self._sum_y += y.sum(dim=0)
        self._cross.addmm_(x.T, y)
        edges = torch.linspace(0, x.shape[1], BLOCKS + 1).long().tolist()
        for start, stop in pairwise(edges):
            self._gram[start:stop, start:].addmm_(x[:, start:stop].T, x[:, start:])
        self._eigen.clear()

    def _start(self, spectra: RelativeSpectra, labels: Tensor) -> None:
        live = torch.isfinite(spectra.sigma).sum(dim=0)
        # Shifted sums lose no digits to the mean (Chan, Golub & LeVeque 1983, Am. Stat. 37, 242).
        self._shift_x = spectra.flux.sum(dim=0) / live.clamp(min=1)
        self._shift_y = labels.to(torch.float64).mean(dim=0)
        pixels, width = spectra.flux.shape[1], labels.shape[1]
        zeros = self._shift_x.new_zeros
        self._sum_x, self._sum_y = zeros(pixels), zeros(width)
        self._gram, self._cross = zeros(pixels, pixels), zeros(pixels, width)

    @property
    def mean_flux(self) -> Tensor:
        """Mean spectrum, shape (L,)."""
        return self._shift_x + self._sum_x / self.count

    @property
    def mean_labels(self) -> Tensor:
        """Mean labels, shape (P,)."""
        return self._shift_y + self._sum_y / self.count

    @property
    def gram(self) -> Tensor:
        """Centred Gram matrix XᵀX, shape (L, L)."""
        upper = torch.triu(self._gram)
        full = upper + torch.triu(upper, diagonal=1).T
        return full - torch.outer(self._sum_x, self._sum_x) / self.count

    @property
    def cross(self) -> Tensor:
        """Centred XᵀY, shape (L, P)."""
        return self._cross - torch.outer(self._sum_x, self._sum_y) / self.count

    def scale(self, standardise: bool) -> Tensor:
        """Return the per-pixel divisor D, shape (L,): standard deviations (1 where constant), or ones."""
        if not standardise:
            return torch.ones_like(self._sum_x)
        variance = (self._gram.diagonal() - self._sum_x**2 / self.count) / self.count
        # A constant pixel has a variance of rounding size; dividing by its root would invent a feature.
        constant = variance <= 1e-14 * self.mean_flux**2
        return torch.where(constant, 1.0, variance.clamp(min=0)).sqrt()

    def eigen(self, standardise: bool) -> Eigen:
        """Return the eigen-decomposition of the centred (and scaled) Gram matrix, computed once."""
        if standardise not in self._eigen:
            scale = self.scale(standardise)
            values, vectors = torch.linalg.eigh(self.gram / torch.outer(scale, scale))
            # LAPACK gives them rising, and rounding leaves null directions slightly negative.
            self._eigen[standardise] = Eigen(values.flip(0).clamp(min=0), vectors.flip(1), scale)
        return self._eigen[standardise]
