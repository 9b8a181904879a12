"""Where training spectra come from, as a sequence of batches with random access.

Batch number i is the same spectra in every run, whoever asks for it and whatever was asked for before: that
is what makes a resumed run equal to an uninterrupted one, and lets every process of a distributed run take
its own share of step i.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from specvit.errors import DataError
from specvit.simulate import Simulator
from specvit.simulate.simulator import SimulatedSource
from specvit.spectra import MemorySource, SpectraBatch, SpectraSource, collect

#: Finite sets up to this size are kept in memory and shuffled as a whole; larger ones are read in passes and
#: shuffled within stretches of it.
MEMORY_BYTES = 2 * 1024**3

#: Mean number of dead stretches in a masked training spectrum, and the longest, as a share of the pixels.
MASKED_STRETCHES, MASKED_SHARE = 3, 0.05

Prepared = TypeVar("Prepared")


@dataclass(frozen=True)
class Share:
    """The part of a step that one process takes: the `rank`-th `batch` of `batch * world` spectra."""

    batch: int
    rank: int = 0
    world: int = 1

    def rows(self, step: int) -> tuple[int, int]:
        """Return the first row and one past the last of this process in an endless numbering of spectra."""
        start = (step * self.world + self.rank) * self.batch
        return start, start + self.batch


class Feed(Protocol):
    """A sequence of training batches."""

    def __call__(self, step: int) -> SpectraBatch:
        """Return the batch of `step`, on the device of the feed."""


@runtime_checkable
class Drawable(Protocol):
    """A set whose spectra can be had by number, with other noise in every pass if it has `fresh_noise`."""

    fresh_noise: bool

    def draw(self, start: int, stop: int, epoch: int = 0) -> SpectraBatch:
        """Return spectra [start, stop) with the noise of pass `epoch`."""


class SimulatorFeed:
    """Spectra drawn on the training device; nothing is stored.

    Args:
        source: a simulated source. Its `count` is the number of different stars: past it the stars come
            again, with new noise if the source has `fresh_noise`.
        share: see `Share`.
        device: where they are drawn.
        compile: compile the simulation (noise and all) for the device.
    """

    def __init__(
        self, source: SimulatedSource, share: Share, device: torch.device, compile: bool = False
    ) -> None:
        whole = share.batch * share.world
        if source.count < whole:
            raise DataError(
                f"training: {source.count} spectra are fewer than one step of {whole}; use a smaller batch"
            )
        self.source, self.share, self.device = source, share, device
        self.steps_per_pass = source.count // whole
        self.simulator = source.simulator
        if compile:
            self.simulator = copy.copy(source.simulator)
            self.simulator.observe = torch.compile(source.simulator.observe)  # type: ignore[method-assign]

    def __call__(self, step: int) -> SpectraBatch:
        """Return the batch of `step`."""
        passes, within = divmod(step, self.steps_per_pass)
        start, stop = self.share.rows(within)
        epoch = passes if self.source.fresh_noise else 0
        source = self.source
        return self.simulator.draw(source.split, source.seed, start, stop, epoch, self.device).without_truth()


class MemoryFeed:
    """A set in memory, in a new random order each pass.

    Args:
        batch: the whole set.
        share, device: see `SimulatorFeed`.
        seed: of the order.
    """

    def __init__(self, batch: SpectraBatch, share: Share, device: torch.device, seed: int) -> None:
        # A set smaller than a step is repeated within it.
        self.batch, self.share, self.device, self.seed = batch.without_truth(), share, device, seed

    def __call__(self, step: int) -> SpectraBatch:
        """Return the batch of `step`; a pass that ends within it continues with the next order."""
        start, stop = self.share.rows(step)
        count = len(self.batch)
        orders = [self._order(k) for k in range(start // count, (stop - 1) // count + 1)]
        rows = torch.cat(orders)[start % count :][: stop - start]
        return self.batch[rows].to(self.device)

    def _order(self, number: int) -> Tensor:
        return torch.randperm(len(self.batch), generator=_generator(self.seed, number))


class PassFeed:
    """A set too large for memory: read in order, stretch by stretch, each stretch in random order.

    Going back, or far ahead as after a resume, reads from the beginning of the pass; a `Drawable` set is read
    where it is needed, with the noise of the pass.
    """

    def __init__(
        self, source: SpectraSource, share: Share, device: torch.device, seed: int, stretch: int
    ) -> None:
        self.source, self.share, self.device, self.seed = source, share, device, seed
        whole = share.batch * share.world
        self.steps_per_stretch = max(1, stretch // whole)
        self.stretches = len(source) // (self.steps_per_stretch * whole)
        if self.stretches == 0:
            raise DataError(f"training: {len(source)} spectra are fewer than one stretch of {stretch}")
        self._pass, self._next = -1, 0
        self._reader: Iterator[SpectraBatch] = iter(())
        self._held: tuple[int, SpectraBatch] | None = None

    def __call__(self, step: int) -> SpectraBatch:
        """Return the batch of `step`."""
        number, within = divmod(step, self.steps_per_stretch)
        if self._held is None or self._held[0] != number:
            self._held = (number, self._read(number))
        start, stop = self.share.rows(within)
        return self._held[1][start:stop].to(self.device)

    def _read(self, number: int) -> SpectraBatch:
        passes, wanted = divmod(number, self.stretches)
        if isinstance(self.source, Drawable):
            start = wanted * self._stretch_rows()
            batch = self.source.draw(start, start + self._stretch_rows(), passes)
            return self._shuffled(batch, number)
        if passes != self._pass or wanted < self._next:
            self._pass, self._next, self._reader = passes, 0, _rebatch(self.source, self._stretch_rows())
        while True:
            batch = next(self._reader)
            self._next += 1
            if self._next > wanted:
                return self._shuffled(batch, number)

    def _shuffled(self, batch: SpectraBatch, number: int) -> SpectraBatch:
        order = torch.randperm(len(batch), generator=_generator(self.seed, number))
        return batch[order].without_truth()

    def _stretch_rows(self) -> int:
        return self.steps_per_stretch * self.share.batch * self.share.world


def make_feed(
    source: SpectraSource, share: Share, device: torch.device, seed: int, compile: bool = False
) -> Feed:
    """Return the feed that suits `source`: drawn on the fly, in memory, or read in passes."""
    if isinstance(source, SimulatedSource):
        return SimulatorFeed(source, share, device, compile)
    most = MEMORY_BYTES // (4 * 2 * source.grid.size)
    if isinstance(source, Drawable) and source.fresh_noise:
        return PassFeed(source, share, device, seed, min(most, len(source)))
    if isinstance(source, MemorySource) or len(source) <= most:
        return MemoryFeed(collect(source), share, device, seed)
    return PassFeed(source, share, device, seed, most)


def endless(simulator: Simulator, seed: int, split: str = "train") -> SimulatedSource:
    """Return a simulated source that no training will come to the end of."""
    return simulator.source(split, seed, 2**40)


def masked(batch: SpectraBatch, share: float, seed: int) -> SpectraBatch:
    """Return the batch with random stretches of pixels dead (sigma = inf) in about `share` of its spectra."""
    rng = np.random.default_rng(seed)
    count, pixels = batch.flux.shape
    dead = np.zeros((count, pixels), dtype=bool)
    for row in np.flatnonzero(rng.random(count) < share):
        for _ in range(1 + rng.poisson(MASKED_STRETCHES - 1)):
            length = 1 + int(rng.integers(max(1, int(MASKED_SHARE * pixels))))
            start = int(rng.integers(pixels - length + 1))
            dead[row, start : start + length] = True
    where = torch.from_numpy(dead).to(batch.flux.device)
    return replace(batch, sigma=batch.sigma.masked_fill(where, torch.inf))


def prefetched(produce: Callable[[int], Prepared], step: int) -> Generator[Prepared, None, None]:
    """Yield produce(step), produce(step + 1), ... with the next one made in a thread meanwhile."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = pool.submit(produce, step)
        while True:
            prepared = waiting.result()
            step += 1
            waiting = pool.submit(produce, step)
            yield prepared


def _rebatch(source: SpectraSource, rows: int) -> Iterator[SpectraBatch]:
    """Yield batches of exactly `rows` spectra; sources may cut theirs short at file boundaries."""
    held: list[SpectraBatch] = []
    count = 0
    for batch in source.batches(min(rows, 4096)):
        held.append(batch)
        count += len(batch)
        if count >= rows:
            joined = SpectraBatch.concatenate(held)
            yield joined[:rows]
            held, count = [joined[rows:]], count - rows


def _generator(seed: int, number: int) -> torch.Generator:
    key = np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(key) & (2**63 - 1))
