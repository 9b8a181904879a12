"""Where training spectra come from, as a sequence of batches with random access.

Batch number i is the same spectra in every run, whoever asks for it and whatever was asked for before: that
is what makes a resumed run equal to an uninterrupted one, and lets every process of a distributed run take
its own share of step i.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from specvit.errors import DataError
from specvit.numerics import to_device
from specvit.simulate.seeding import entropy_words
from specvit.spectra import Generated, MemorySource, SpectraBatch, SpectraSource, collect

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


class OrderedFeed:
    """Spectra in the order of their source, drawn step by step; nothing is kept.

    Args:
        source: gives its spectra on the training device. Its length is the number of different stars: past
            it they come again, with new noise if the source has `fresh_noise`.
        share: see `Share`.
    """

    def __init__(self, source: SpectraSource, share: Share) -> None:
        whole = share.batch * share.world
        if len(source) < whole:
            raise DataError(
                f"training: {len(source)} spectra are fewer than one step of {whole}; use a smaller batch"
            )
        self.source, self.share, self.steps_per_pass = source, share, len(source) // whole

    def __call__(self, step: int) -> SpectraBatch:
        """Return the batch of `step`."""
        epoch, within = divmod(step, self.steps_per_pass)
        return self.source.draw(*self.share.rows(within), epoch)


class MemoryFeed:
    """A set in memory, in a new random order each pass.

    Args:
        batch: the whole set; batches carry what it carries, truth included.
        share: see `Share`.
        device: where batches are wanted.
        seed: of the order.
    """

    def __init__(self, batch: SpectraBatch, share: Share, device: torch.device, seed: int) -> None:
        # A set smaller than a step is repeated within it.
        self.batch, self.share, self.device, self.seed = batch, share, device, seed

    def __call__(self, step: int) -> SpectraBatch:
        """Return the batch of `step`; a pass that ends within it continues with the next order."""
        start, stop = self.share.rows(step)
        count = len(self.batch)
        # An order depends on the number of its pass alone, so a continued run needs none before it.
        orders = [self._order(k) for k in range(start // count, (stop - 1) // count + 1)]
        rows = torch.cat(orders)[start % count :][: stop - start]
        return self.batch[rows].to(self.device)

    def _order(self, number: int) -> Tensor:
        return torch.randperm(len(self.batch), generator=_generator(self.seed, number))


class PassFeed:
    """A set too large for memory, or of fresh noise: read stretch by stretch, each in random order.

    Args:
        source: read where it is needed, with the noise of the pass.
        share, device, seed: see `MemoryFeed`.
        stretch: spectra held and shuffled at once, at most.
        truth: whether batches carry what only the simulator knows.
    """

    def __init__(
        self,
        source: SpectraSource,
        share: Share,
        device: torch.device,
        seed: int,
        stretch: int,
        truth: bool = False,
    ) -> None:
        self.source, self.share, self.device, self.seed, self.truth = source, share, device, seed, truth
        whole = share.batch * share.world
        self.steps_per_stretch = max(1, stretch // whole)
        self.rows_per_stretch = self.steps_per_stretch * whole
        self.stretches = len(source) // self.rows_per_stretch
        if self.stretches == 0:
            raise DataError(f"training: {len(source)} spectra are fewer than one stretch of {stretch}")
        self._held: tuple[int, SpectraBatch] | None = None

    def __call__(self, step: int) -> SpectraBatch:
        """Return the batch of `step`."""
        number, within = divmod(step, self.steps_per_stretch)
        if self._held is None or self._held[0] != number:
            self._held = (number, self._read(number))
        start, stop = self.share.rows(within)
        return self._held[1][start:stop].to(self.device)

    def _read(self, number: int) -> SpectraBatch:
        epoch, stretch = divmod(number, self.stretches)
        start = stretch * self.rows_per_stretch
        batch = self.source.draw(start, start + self.rows_per_stretch, epoch)
        order = torch.randperm(len(batch), generator=_generator(self.seed, number))
        return (batch if self.truth else batch.without_truth())[order]


def make_feed(
    source: SpectraSource,
    share: Share,
    device: torch.device,
    seed: int,
    compile: bool = False,
    truth: bool = False,
) -> Feed:
    """Return the feed that suits `source`: made on the fly, in memory, or read in passes.

    Args:
        source: where the spectra come from.
        share: see `Share`.
        device: where batches are wanted.
        seed: of the order, for a source whose own is not a random one.
        compile: compile what makes spectra on the fly, noise and all.
        truth: give batches what only the simulator knows, for an objective that learns it; else they never
            carry it.
    """
    if isinstance(source, Generated):
        return OrderedFeed(source.on(device, truth, compile), share)
    # Flux and sigma in float32.
    most = MEMORY_BYTES // (4 * 2 * source.grid.size)
    # A set held in memory would repeat the noise of its first pass.
    if source.fresh_noise:
        return PassFeed(source, share, device, seed, min(most, len(source)), truth)
    if isinstance(source, MemorySource) or len(source) <= most:
        held = collect(source)
        return MemoryFeed(held if truth else held.without_truth(), share, device, seed)
    return PassFeed(source, share, device, seed, most, truth)


def masked(batch: SpectraBatch, share: float, seed: int) -> SpectraBatch:
    """Return the batch with random stretches of pixels dead (sigma = inf) in about `share` of its spectra."""
    rng = np.random.default_rng(seed)
    count, pixels = batch.flux.shape
    dead = np.zeros((count, pixels), dtype=bool)
    for row in np.flatnonzero(rng.random(count) < share):
        # At least one stretch, and the stated number in the mean.
        for _ in range(1 + rng.poisson(MASKED_STRETCHES - 1)):
            length = 1 + int(rng.integers(max(1, int(MASKED_SHARE * pixels))))
            start = int(rng.integers(pixels - length + 1))
            dead[row, start : start + length] = True
    where = to_device(torch.from_numpy(dead), batch.flux.device)
    return replace(batch, sigma=batch.sigma.masked_fill(where, torch.inf))


def prefetched(produce: Callable[[int], Prepared], step: int) -> Generator[Prepared, None, None]:
    """Yield produce(step), produce(step + 1), ... with the next one made in a thread meanwhile."""
    # One thread: batches stay in order, and a source is never read twice at once.
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = pool.submit(produce, step)
        while True:
            prepared = waiting.result()
            step += 1
            waiting = pool.submit(produce, step)
            yield prepared


def _generator(seed: int, number: int) -> torch.Generator:
    key = np.random.SeedSequence(entropy_words(seed, number)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(key) & (2**63 - 1))
