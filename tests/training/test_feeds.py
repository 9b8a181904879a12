"""Training batches: the same by number whoever asks, every spectrum once per pass, disjoint shares."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from specvit.errors import DataError
from specvit.simulate import endless
from specvit.spectra import (
    LOW_T_BOX,
    MemorySource,
    SpectraBatch,
    SpectraSource,
    Truth,
    WavelengthGrid,
    check_rows,
)
from specvit.training.feeds import (
    MemoryFeed,
    OrderedFeed,
    PassFeed,
    Share,
    make_feed,
    masked,
    prefetched,
)

CPU = torch.device("cpu")
GRID = WavelengthGrid.linear(8000, 1.0, 8)


def numbered(count):
    """Return a batch whose flux says which spectrum it is."""
    flux = torch.arange(float(count))[:, None].expand(-1, 8).clone()
    labels = torch.arange(float(count))[:, None].expand(-1, 5).clone()
    return SpectraBatch(flux, torch.ones_like(flux), labels, {"mag": torch.zeros(count)}, torch.ones(count))


class Stored:
    """A set of somebody's own, which cuts its batches at file boundaries; with `fresh` sigma says the epoch."""

    grid, label_space, lsf = GRID, LOW_T_BOX, None

    def __init__(self, count, fresh=False, per_file=7):
        self.whole, self.fresh_noise, self.per_file = numbered(count), fresh, per_file

    @property
    def provenance(self):
        return {"numbered": len(self), "fresh_noise": self.fresh_noise}

    def __len__(self):
        return len(self.whole)

    def draw(self, start, stop, epoch=0):
        check_rows(start, stop, len(self), epoch)
        batch = self.whole[start:stop]
        return replace(batch, sigma=batch.sigma + epoch) if self.fresh_noise else batch

    def batches(self, batch_size, epoch=0):
        for first in range(0, len(self), self.per_file):
            last = min(first + self.per_file, len(self))
            for start in range(first, last, batch_size):
                yield self.draw(start, min(start + batch_size, last), epoch)

    def reserve(self, count):
        return None


def numbers(batch):
    assert torch.equal(batch.flux[:, 0], batch.labels[:, 0])
    return batch.flux[:, 0].int().tolist()


def make(kind, share, seed=3):
    if kind == "memory":
        return MemoryFeed(numbered(24), share, CPU, seed)
    return PassFeed(Stored(24, fresh=kind == "fresh"), share, CPU, seed, stretch=12)


@pytest.mark.parametrize("kind", ["memory", "pass", "fresh"])
def test_every_pass_holds_every_spectrum_once_in_a_new_order(kind):
    feed = make(kind, Share(4))
    passes = [[n for step in range(6 * p, 6 * p + 6) for n in numbers(feed(step))] for p in range(3)]
    assert all(sorted(p) == list(range(24)) for p in passes)
    assert passes[0] != passes[1] != passes[2]
    assert passes[0] != list(range(24))


@pytest.mark.parametrize("kind", ["memory", "pass", "fresh"])
def test_a_batch_depends_on_its_number_alone(kind):
    feed = make(kind, Share(4))
    forward = [numbers(feed(step)) for step in range(14)]
    fresh = make(kind, Share(4))
    assert [numbers(fresh(step)) for step in (13, 2, 7, 2)] == [forward[k] for k in (13, 2, 7, 2)]
    assert numbers(make(kind, Share(4), seed=4)(0)) != forward[0]


@pytest.mark.parametrize("kind", ["memory", "pass", "fresh"])
def test_processes_share_the_batch_of_one(kind):
    whole, parts = make(kind, Share(6)), [make(kind, Share(2, rank, 3)) for rank in range(3)]
    for step in range(9):
        assert [n for part in parts for n in numbers(part(step))] == numbers(whole(step))


def test_a_set_smaller_than_a_batch_is_repeated():
    feed = MemoryFeed(numbered(5), Share(12), CPU, 0)
    assert sorted(numbers(feed(0))[:10]) == sorted([*range(5), *range(5)])
    assert len(feed(3)) == 12


def test_simulated_batches_are_the_stream_of_the_simulator(simulator):
    feed = make_feed(endless(simulator, 7), Share(32, 1, 2), CPU, 0)
    expected = simulator.draw("train", 7, 3 * 64 + 32, 3 * 64 + 64)
    found = feed(3)
    assert torch.equal(found.flux, expected.flux)
    assert found.truth is None


def test_past_its_end_a_simulated_set_repeats_its_stars_with_fresh_noise_if_asked(simulator):
    for fresh in (False, True):
        feed = OrderedFeed(simulator.source("train", 7, 64, fresh_noise=fresh), Share(64))
        first, second = feed(0), feed(1)
        assert torch.equal(first.labels, second.labels)
        assert torch.equal(first.flux, second.flux) != fresh


def test_a_source_is_fed_as_suits_it(simulator, monkeypatch):
    monkeypatch.setattr("specvit.training.feeds.MEMORY_BYTES", 64 * 12)
    share = Share(4)
    assert isinstance(make_feed(Stored(24), share, CPU, 0), PassFeed)
    assert isinstance(make_feed(Stored(12), share, CPU, 0), MemoryFeed)
    assert isinstance(make_feed(MemorySource(numbered(24), GRID, LOW_T_BOX), share, CPU, 0), MemoryFeed)


def test_a_set_of_ones_own_is_a_source():
    assert isinstance(Stored(3), SpectraSource)


@pytest.mark.parametrize("kind", ["generated", "memory", "pass"])
def test_batches_carry_the_truth_only_for_who_asks(kind, simulator, monkeypatch):
    if kind == "generated":
        source = simulator.source("train", 7, 64)
    else:
        batch = numbered(24)
        batch = replace(batch, truth=Truth(batch.flux + 0.5, batch.sigma, batch.snr))
        source = Stored(24, fresh=kind == "pass")
        source.whole = batch
    silent, telling = (make_feed(source, Share(4), CPU, 0, truth=truth)(1) for truth in (False, True))
    assert silent.truth is None
    assert torch.equal(silent.flux, telling.flux)
    assert telling.truth.flux.shape == telling.flux.shape


def test_sets_with_fresh_noise_get_it_in_every_pass_even_if_they_fit_into_memory():
    feed = make_feed(Stored(24, fresh=True), Share(4), CPU, 0)
    assert isinstance(feed, PassFeed)
    passes = [[float(feed(step).sigma[0, 0]) for step in range(6 * k, 6 * k + 6)] for k in (2, 0, 1)]
    assert passes == [[3.0] * 6, [1.0] * 6, [2.0] * 6]


def test_too_few_spectra_are_refused(simulator):
    with pytest.raises(DataError, match="fewer than one step"):
        OrderedFeed(simulator.source("train", 7, 10), Share(64))
    with pytest.raises(DataError, match="fewer than one stretch"):
        PassFeed(Stored(10), Share(4), CPU, 0, stretch=12)


def test_masks_kill_stretches_in_the_stated_share_of_spectra():
    batch = SpectraBatch(
        torch.ones(2000, 400), torch.ones(2000, 400), torch.ones(2000, 5), {}, torch.ones(2000)
    )
    dead = torch.isinf(masked(batch, 0.3, seed=1).sigma)
    hit = dead.any(dim=1)
    assert abs(float(hit.double().mean()) - 0.3) < 0.04
    assert 0.02 < float(dead[hit].double().mean()) < 0.12
    assert torch.equal(dead, torch.isinf(masked(batch, 0.3, seed=1).sigma))
    assert not torch.equal(dead, torch.isinf(masked(batch, 0.3, seed=2).sigma))
    assert torch.isfinite(batch.sigma).all()


def test_prefetching_keeps_the_order_and_passes_on_errors():
    def produce(step):
        if step == 5:
            raise ValueError("five")
        return step * 10

    iterator = prefetched(produce, 2)
    assert [next(iterator) for _ in range(3)] == [20, 30, 40]
    with pytest.raises(ValueError, match="five"):
        next(iterator)


def test_shares_tile_the_numbering():
    rows = [Share(3, rank, 2).rows(step) for step in range(4) for rank in range(2)]
    np.testing.assert_array_equal(np.array(rows).ravel()[1:-1:2], np.array(rows).ravel()[2::2])
