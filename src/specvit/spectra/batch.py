"""A batch of spectra on one grid: the one object that flows from the simulator to the estimators.

`SpectraBatch` holds what an estimator may see; what only the simulator knows sits apart in `Truth`, so that
no estimator reads it by accident (the noise-free `sigma` is a copy of the spectrum).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from specvit.spectra.grid import WavelengthGrid
from specvit.spectra.labels import LabelSpace


@dataclass(frozen=True)
class Truth:
    """What the simulator knows and an observer does not.

    Args:
        flux: noise-free flux, shape (B, L), in the unit of the batch's flux.
        sigma: the standard deviation the noise was drawn with, shape (B, L), same unit.
        scale: batch flux = band-normalised flux (see `ObservedEmulator`) * scale, shape (B,).
    """

    flux: Tensor
    sigma: Tensor
    scale: Tensor


@dataclass(frozen=True)
class SpectraBatch:
    """B spectra on one grid of L pixels with P labels.

    Args:
        flux: observed (noisy) flux, shape (B, L), float32, relative to the stated normalisation.
        sigma: 1 σ per pixel as a pipeline knows it, shape (B, L), > 0; `inf` marks a dead pixel.
        labels: shape (B, P), in the order of the source's LabelSpace; NaN where unknown.
        conditions: name -> shape (B,): i magnitude `mag`, `seeing` (arcsec), `zenith_angle` (deg),
            `field_angle` (deg), `moon`, `exposure_time` (s), `exposure_count`.
        snr: median over pixels of noise-free flux / true sigma, shape (B,): the one S/N definition used for
            bins, models and ceilings alike. Not for estimators.
        truth: simulator-only quantities, or None.
    """

    flux: Tensor
    sigma: Tensor
    labels: Tensor
    conditions: dict[str, Tensor]
    snr: Tensor
    truth: Truth | None = None

    def __len__(self) -> int:
        return self.flux.shape[0]

    def to(self, device: torch.device | str) -> SpectraBatch:
        """Return the batch with every tensor on `device`."""
        return self._map(lambda tensor: tensor.to(device))

    def __getitem__(self, rows: slice | Tensor) -> SpectraBatch:
        """Return the selected rows as a batch (slices and index or mask tensors, not single integers)."""
        return self._map(lambda tensor: tensor[rows])

    def empty_like(self, count: int) -> SpectraBatch:
        """Return an uninitialised batch of `count` spectra with the same fields, for `copy_rows`."""
        return self._map(lambda tensor: tensor.new_empty((count, *tensor.shape[1:])))

    def copy_rows(self, start: int, rows: SpectraBatch) -> None:
        """Overwrite the spectra from `start` on with those of `rows`, in place."""
        for mine, theirs in zip(self._tensors(), rows._tensors(), strict=True):
            mine[start : start + len(rows)] = theirs

    def without_truth(self) -> SpectraBatch:
        """Return the batch as an estimator may see it."""
        return replace(self, truth=None)

    def _tensors(self) -> list[Tensor]:
        truth = [] if self.truth is None else [getattr(self.truth, f.name) for f in fields(Truth)]
        conditions = [self.conditions[name] for name in sorted(self.conditions)]
        return [self.flux, self.sigma, self.labels, self.snr, *conditions, *truth]

    def _map(self, function) -> SpectraBatch:
        truth = self.truth
        if truth is not None:
            truth = Truth(**{f.name: function(getattr(truth, f.name)) for f in fields(Truth)})
        return SpectraBatch(
            function(self.flux),
            function(self.sigma),
            function(self.labels),
            {name: function(value) for name, value in self.conditions.items()},
            function(self.snr),
            truth,
        )

    @staticmethod
    def concatenate(batches: list[SpectraBatch]) -> SpectraBatch:
        """Return the batches joined along the spectrum axis; truth is kept if every batch has it."""
        truths = [b.truth for b in batches]
        # Half a truth is worse than none: it would be taken for that of all rows.
        known = [t for t in truths if t is not None]
        truth = None
        if len(known) == len(batches):
            truth = Truth(**{f.name: torch.cat([getattr(t, f.name) for t in known]) for f in fields(Truth)})
        return SpectraBatch(
            torch.cat([b.flux for b in batches]),
            torch.cat([b.sigma for b in batches]),
            torch.cat([b.labels for b in batches]),
            {name: torch.cat([b.conditions[name] for b in batches]) for name in batches[0].conditions},
            torch.cat([b.snr for b in batches]),
            truth,
        )


@runtime_checkable
class SpectraSource(Protocol):
    """A finite, re-iterable set of spectra: simulated on the fly or read from shards.

    Iterating twice yields the same spectra unless the source says it refreshes its noise per epoch.
    """

    grid: WavelengthGrid
    label_space: LabelSpace

    def __len__(self) -> int:
        """Return the number of spectra."""

    def batches(self, batch_size: int) -> Iterator[SpectraBatch]:
        """Yield all spectra in order, `batch_size` at a time (the last batch may be shorter)."""


def collect(source: SpectraSource, batch_size: int = 1024) -> SpectraBatch:
    """Return every spectrum of `source` as one batch; for sets that fit in memory."""
    return SpectraBatch.concatenate(list(source.batches(batch_size)))


class MemorySource:
    """A `SpectraSource` over one batch already in memory."""

    def __init__(self, batch: SpectraBatch, grid: WavelengthGrid, label_space: LabelSpace) -> None:
        self.batch, self.grid, self.label_space = batch, grid, label_space

    def __len__(self) -> int:
        return len(self.batch)

    def batches(self, batch_size: int) -> Iterator[SpectraBatch]:
        """Yield the stored spectra in order."""
        for start in range(0, len(self.batch), batch_size):
            yield self.batch[start : start + batch_size]
