"""Spectra of one spectrograph on the pixels of another, for a network that knows only these."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from specvit.errors import WavelengthRangeError
from specvit.models.inputs import MINIMUM_USABLE
from specvit.runs.identity import content_digest
from specvit.spectra import SpectraBatch, SpectraSource, Truth, WavelengthGrid, check_rows, in_batches
from specvit.spectra.neighbours import neighbours


class Regridded:
    """A `SpectraSource` on other pixels, by linear interpolation; those without two neighbours are dead.

    Sigma is interpolated, not propagated: neighbouring pixels then share noise that their sigma does not tell of, and
    where the new pixels are finer the spectrum looks less noisy than it is. Training on such spectra learns that.

    Args:
        whole: the other source.
        grid: the pixels wanted.

    Raises:
        WavelengthRangeError: if fewer than a tenth of the pixels would be alive.
    """

    def __init__(self, whole: SpectraSource, grid: WavelengthGrid) -> None:
        self.whole, self.grid = whole, grid
        self.label_space, self.lsf, self.fresh_noise = whole.label_space, whole.lsf, whole.fresh_noise
        right, share, inside = neighbours(whole.grid, grid.wavelength)
        if inside.mean() < MINIMUM_USABLE:
            raise WavelengthRangeError(
                f"spectra of {whole.grid.describe()} cover {inside.mean():.0%} of {grid.describe()}, for which the "
                f"network is made; at least {MINIMUM_USABLE:.0%} are needed: take a spectrograph that overlaps"
            )
        self._right = torch.from_numpy(right)
        self._share = torch.from_numpy(share).float()
        self._inside = torch.from_numpy(inside)

    def __len__(self) -> int:
        return len(self.whole)

    @property
    def provenance(self) -> dict[str, Any]:
        """What the other source says of itself, and the pixels."""
        own = {**self.whole.provenance, "regridded": self.grid.fingerprint}
        return {**own, "identity": content_digest(own)}

    def draw(self, start: int, stop: int, epoch: int = 0) -> SpectraBatch:
        """Return spectra [start, stop) on the new pixels."""
        check_rows(start, stop, len(self), epoch)
        return self.moved(self.whole.draw(start, stop, epoch))

    def moved(self, batch: SpectraBatch) -> SpectraBatch:
        """Return a batch of the other source on the new pixels."""
        sigma = self._between(batch.sigma)
        # Of a dead neighbour nothing is known either.
        dead = ~self._inside | ~torch.isfinite(sigma)
        flux = torch.where(dead, 0.0, self._between(batch.flux))
        truth = batch.truth
        if truth is not None:
            truth = Truth(self._between(truth.flux), self._between(truth.sigma), truth.scale)
        return replace(batch, flux=flux, sigma=sigma.masked_fill(dead, torch.inf), truth=truth)

    def batches(self, batch_size: int, epoch: int = 0) -> Iterator[SpectraBatch]:
        """Yield all spectra in order."""
        return in_batches(self.draw, len(self), batch_size, epoch)

    def reserve(self, count: int) -> None:
        """Return None: stated errors are corrected by held-out spectra of the set."""
        return None

    def _between(self, values: Tensor) -> Tensor:
        left, right = values[:, self._right - 1], values[:, self._right]
        # Where a neighbour is infinite so is what lies between, but 0 · inf is NaN.
        mixed = left + self._share * (right - left)
        return torch.where(torch.isfinite(left) & torch.isfinite(right), mixed, torch.inf)
