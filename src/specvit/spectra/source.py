"""Where spectra come from: the one protocol of all sets, and the set that lies in memory.

Estimators and trainings ask a source what it offers and never which class it is: a set of your own needs no
more than what `SpectraSource` lists. Simulated and stored sets are in `specvit.simulate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import torch

from specvit.errors import ConfigError
from specvit.runs.identity import content_digest
from specvit.spectra.batch import SpectraBatch
from specvit.spectra.grid import WavelengthGrid
from specvit.spectra.labels import LabelSpace


@runtime_checkable
class SpectraSource(Protocol):
    """A finite set of spectra, to be had in order or by number, the same whenever they are asked for.

    Nothing about a source changes by reading it: who wants the noise of another pass says so with `epoch`.
    """

    @property
    def grid(self) -> WavelengthGrid:
        """The pixels of all spectra."""

    @property
    def label_space(self) -> LabelSpace:
        """Names, units and box of the labels."""

    @property
    def lsf(self) -> dict[str, list[float]] | None:
        """The line-spread function, {"wavelength": [Å], "fwhm": [Å]}; None if it is not known."""

    @property
    def provenance(self) -> dict[str, Any]:
        """What these spectra are, JSON-ready: enough to draw or find them again, different for other ones.

        `identity` is the digest of their content: the same wherever they lie, another for other spectra.
        """

    @property
    def fresh_noise(self) -> bool:
        """Whether epochs differ: same stars, other noise. Otherwise `epoch` changes nothing."""

    def __len__(self) -> int:
        """Return the number of spectra."""

    def draw(self, start: int, stop: int, epoch: int = 0) -> SpectraBatch:
        """Return spectra [start, stop) with the noise of pass `epoch`; see `check_rows` for what is refused."""

    def batches(self, batch_size: int, epoch: int = 0) -> Iterator[SpectraBatch]:
        """Yield all spectra in order, at most `batch_size` at a time."""

    def reserve(self, count: int) -> SpectraSource | None:
        """Return `count` further spectra, of no star in this set, by which stated errors can be corrected.

        None if there are none: held-out spectra of the set itself have to serve then.
        """


@runtime_checkable
class Generated(Protocol):
    """What a `SpectraSource` offers besides if it makes its spectra when asked, each star independently.

    The order of such a set is as good as a random one, and nothing is gained by keeping its spectra.
    """

    def on(self, device: torch.device | str, truth: bool = False, compiled: bool = False) -> SpectraSource:
        """Return the same set made on `device`, with or without truth, by compiled code if asked."""


def check_rows(start: int, stop: int, count: int, epoch: int = 0) -> None:
    """Raise ConfigError unless [start, stop) are rows of a set of `count` spectra and `epoch` is a pass."""
    if not 0 <= start < stop <= count:
        raise ConfigError(f"draw: expected 0 <= start < stop <= {count}, got {start} and {stop}")
    if epoch < 0:
        raise ConfigError(f"draw: expected an epoch >= 0, got {epoch}")


def in_batches(
    draw: Callable[[int, int, int], SpectraBatch], count: int, batch_size: int, epoch: int = 0
) -> Iterator[SpectraBatch]:
    """Yield spectra 0 to `count` of `draw(start, stop, epoch)` in order: `batches` for any set with `draw`."""
    if batch_size < 1:
        raise ConfigError(f"batches: expected a batch size >= 1, got {batch_size}")
    for start in range(0, count, batch_size):
        yield draw(start, min(start + batch_size, count), epoch)


def collect(source: SpectraSource, batch_size: int = 1024, epoch: int = 0) -> SpectraBatch:
    """Return every spectrum of `source` as one batch; for sets that fit in memory."""
    return SpectraBatch.concatenate(source.batches(batch_size, epoch))


class RowsOf:
    """A `SpectraSource` over rows [start, stop) of another.

    Args:
        whole: the other source.
        start, stop: of the rows, see `check_rows` for what is refused.
    """

    def __init__(self, whole: SpectraSource, start: int, stop: int) -> None:
        check_rows(start, stop, len(whole))
        self.whole, self.start, self.stop = whole, start, stop
        self.grid, self.label_space, self.lsf = whole.grid, whole.label_space, whole.lsf
        self.fresh_noise = whole.fresh_noise

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def provenance(self) -> dict[str, Any]:
        """What the other source says of itself, and which rows these are."""
        own = {**self.whole.provenance, "rows": [self.start, self.stop]}
        return {**own, "identity": content_digest(own)}

    def draw(self, start: int, stop: int, epoch: int = 0) -> SpectraBatch:
        """Return spectra [start, stop) of these rows."""
        check_rows(start, stop, len(self), epoch)
        return self.whole.draw(self.start + start, self.start + stop, epoch)

    def batches(self, batch_size: int, epoch: int = 0) -> Iterator[SpectraBatch]:
        """Yield these rows in order."""
        return in_batches(self.draw, len(self), batch_size, epoch)

    def reserve(self, count: int) -> None:
        """Return None: the other rows are for something else."""
        return None


class Cropped:
    """A `SpectraSource` that shows part of the range of another: pixels outside are dead (`sigma = inf`).

    Args:
        whole: the other source.
        first, last: of the wavelengths (Å) that stay, both inclusive.

    Raises:
        ConfigError: if no pixel would stay.
    """

    def __init__(self, whole: SpectraSource, first: float, last: float) -> None:
        wavelength = torch.tensor(whole.grid.wavelength)
        self._outside = (wavelength < first) | (wavelength > last)
        if bool(self._outside.all()):
            raise ConfigError(
                f"span: no pixel lies in {first:g}-{last:g} Å; these spectra have "
                f"{float(wavelength[0]):.1f}-{float(wavelength[-1]):.1f} Å"
            )
        self.whole, self.span = whole, (first, last)
        self.grid, self.label_space, self.lsf = whole.grid, whole.label_space, whole.lsf
        self.fresh_noise = whole.fresh_noise

    def __len__(self) -> int:
        return len(self.whole)

    @property
    def provenance(self) -> dict[str, Any]:
        """What the other source says of itself, and what is left of its range."""
        whole = self.whole.provenance
        return {
            **whole,
            "span": list(self.span),
            "identity": cropped_identity(whole["identity"], *self.span),
        }

    def draw(self, start: int, stop: int, epoch: int = 0) -> SpectraBatch:
        """Return spectra [start, stop) with what lies outside marked dead."""
        batch = self.whole.draw(start, stop, epoch)
        return replace(batch, sigma=batch.sigma.masked_fill(self._outside.to(batch.sigma.device), torch.inf))

    def batches(self, batch_size: int, epoch: int = 0) -> Iterator[SpectraBatch]:
        """Yield all spectra in order."""
        return in_batches(self.draw, len(self), batch_size, epoch)

    def reserve(self, count: int) -> None:
        """Return None: spectra that correct errors are those of the other source."""
        return None


def cropped_identity(whole: str, first: float, last: float) -> str:
    """Return the identity of the spectra of identity `whole` between two wavelengths (Å)."""
    return content_digest({"spectra": whole, "span": [float(first), float(last)]})


def take(source: SpectraSource, count: int) -> SpectraBatch:
    """Return the first `count` spectra (or all there are), with truth if the source can give it."""
    if isinstance(source, Generated):
        source = source.on("cpu", truth=True)
    return source.draw(0, min(count, len(source)))


class MemorySource:
    """A `SpectraSource` over one batch already in memory.

    Args:
        batch: the spectra.
        grid: their pixels.
        label_space: the labels they have, or, for spectra without labels, those to be estimated.
        lsf: line-spread function, see `SpectraSource`.
    """

    fresh_noise = False

    def __init__(
        self,
        batch: SpectraBatch,
        grid: WavelengthGrid,
        label_space: LabelSpace,
        lsf: dict[str, list[float]] | None = None,
    ) -> None:
        self.batch, self.grid, self.label_space, self.lsf = batch, grid, label_space, lsf

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def provenance(self) -> dict[str, Any]:
        """Number and hash of the spectra: nothing else is known of them."""
        own = {
            "source": "memory",
            "spectra": len(self),
            "grid": self.grid.fingerprint,
            "fingerprint": self.batch.fingerprint,
        }
        return {**own, "identity": content_digest(own)}

    def draw(self, start: int, stop: int, epoch: int = 0) -> SpectraBatch:
        """Return spectra [start, stop), the same in every epoch."""
        check_rows(start, stop, len(self), epoch)
        return self.batch[start:stop]

    def batches(self, batch_size: int, epoch: int = 0) -> Iterator[SpectraBatch]:
        """Yield the stored spectra in order."""
        return in_batches(self.draw, len(self), batch_size, epoch)

    def reserve(self, count: int) -> None:
        """Return None: there are no others."""
        return None
