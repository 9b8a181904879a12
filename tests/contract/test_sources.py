"""What every source of spectra promises, held for each kind that specvit has."""

import json
from dataclasses import dataclass
from functools import partial

import pytest
import torch

from reference_dataset import write_shard
from specvit.errors import ConfigError
from specvit.simulate import StoredSpectra, UniformPrior, World, WriteJob
from specvit.simulate.reference_shards import ReferenceShards
from specvit.simulate.simulator import Simulator
from specvit.spectra import MemorySource, SpectraBatch, SpectraSource, collect
from training_stars import GRID, SPACE, stars

COUNT = 150
RANGES = [(0, 1), (0, COUNT), (31, 33), (60, 130), (74, 76), (COUNT - 1, COUNT)]


def in_memory(_, seed):
    return MemorySource(stars(COUNT, seed), GRID, SPACE)


def simulated(places, seed, split="validation", **options):
    return places.simulator.source(split, seed, COUNT, **options)


def stored(places, seed):
    folder = places.folder / f"shards-{seed}"
    if not folder.exists():
        WriteJob(folder, World(), "train", seed, COUNT, 2, False).run()
    return StoredSpectra(folder)


def reference(places, seed, **options):
    pytest.importorskip("tables")
    paths = [places.folder / "a.h5", places.folder / "b.h5"]
    for k, path in enumerate(paths):
        if not path.exists():
            write_shard(path, COUNT // 2, seed=k)
    return ReferenceShards(paths, seed=seed, **options)


KINDS = {
    "memory": in_memory,
    "simulated": simulated,
    "simulated, fresh": partial(simulated, split="train", fresh_noise=True),
    "stored": stored,
    "reference": reference,
    "reference, fresh": partial(reference, fresh_noise=True),
}


@dataclass
class Places:
    simulator: Simulator
    folder: object


@pytest.fixture(scope="module")
def places(simulator, tmp_path_factory):
    return Places(simulator, tmp_path_factory.mktemp("sources"))


@pytest.fixture(params=KINDS, scope="module")
def make(request, places):
    """Return what makes sources of one kind from a seed."""
    return partial(KINDS[request.param], places)


@pytest.fixture(scope="module")
def source(make):
    return make(3)


def same(one: SpectraBatch, two: SpectraBatch) -> bool:
    return len(one) == len(two) and one.fingerprint == two.fingerprint


def test_it_is_a_source(source):
    assert isinstance(source, SpectraSource)
    assert len(source) == COUNT
    batch = source.draw(0, 2)
    assert batch.flux.shape == batch.sigma.shape == (2, source.grid.size)
    assert batch.known_labels().shape == (2, len(source.label_space))
    assert source.lsf is None or source.lsf.keys() == {"wavelength", "fwhm"}


@pytest.mark.parametrize("epoch", [0, 2])
def test_random_access_is_iteration(source, epoch):
    whole = collect(source, epoch=epoch)
    assert len(whole) == COUNT
    for start, stop in RANGES:
        assert same(source.draw(start, stop, epoch), whole[start:stop]), (start, stop)


@pytest.mark.parametrize("batch_size", [1, 32, 97, 10 * COUNT])
def test_the_batch_size_does_not_matter(source, batch_size):
    batches = list(source.batches(batch_size, 1))
    assert max(len(batch) for batch in batches) <= batch_size
    assert same(SpectraBatch.concatenate(batches), source.draw(0, COUNT, 1))


def test_reading_changes_nothing(source):
    told, first = source.provenance, collect(source)
    next(iter(source.batches(7)))
    assert same(collect(source), first)
    assert source.provenance == told


def test_epochs_differ_exactly_if_noise_is_fresh(source):
    first, second = source.draw(20, 90), source.draw(20, 90, epoch=1)
    assert torch.equal(first.labels, second.labels)
    assert same(first, second) != source.fresh_noise
    if source.fresh_noise:
        assert (first.flux != second.flux).any(dim=1).all()


def test_provenance_is_json_and_says_which_spectra_these_are(make, source):
    told = source.provenance
    assert json.loads(json.dumps(told)) == told
    assert make(3).provenance == told
    assert make(4).provenance != told


def test_a_reserve_has_no_star_of_the_set_and_no_reserve_of_its_own(source):
    reserve = source.reserve(64)
    if reserve is None:
        return
    assert len(reserve) == 64
    assert reserve.grid.fingerprint == source.grid.fingerprint
    assert reserve.label_space == source.label_space
    ours, theirs = collect(source).labels, collect(reserve).labels
    assert not (ours[:, None] == theirs[None]).all(dim=2).any()
    assert reserve.reserve(64) is None


def test_simulated_spectra_have_a_reserve(places):
    reserve = simulated(places, 3).reserve(10)
    assert same(collect(reserve), places.simulator.draw("calibration", 3, 0, 10, truth=False))


@pytest.mark.parametrize(
    ("start", "stop", "epoch"), [(-1, 3, 0), (5, 5, 0), (9, 4, 0), (0, COUNT + 1, 0), (0, 3, -1)]
)
def test_what_is_not_there_is_refused(source, start, stop, epoch):
    with pytest.raises(ConfigError, match="draw: expected"):
        source.draw(start, stop, epoch)


def test_an_empty_batch_is_refused(source):
    with pytest.raises(ConfigError, match="batch size >= 1"):
        list(source.batches(0))


def test_provenance_tells_worlds_apart_that_have_no_name(simulator):
    parts = simulator.observed, simulator.instrument
    space = simulator.prior.label_space
    worlds = [
        Simulator(*parts, UniformPrior(space)),
        Simulator(*parts, UniformPrior(space.replace(log_g=(1.0, 4.9)))),
        Simulator(*parts, UniformPrior(space), noise_level=0.5),
        Simulator(*parts, _Sharper(space)),
    ]
    told = [json.dumps(world.source("test", 1, 8).provenance) for world in worlds]
    assert len(set(told)) == len(worlds)


class _Sharper(UniformPrior):
    """Another distribution in the same box: only its stars show it."""

    def sample(self, count, generator):
        return super().sample(count, generator).lerp(super().sample(count, generator), 0.5)


def test_a_source_says_on_which_device_and_with_what_truth(simulator):
    source = simulator.source("train", 5, 40, fresh_noise=True)
    with_truth = source.on("cpu", truth=True)
    assert with_truth.draw(3, 9, 2).truth is not None
    assert same(with_truth.draw(3, 9, 2), source.draw(3, 9, 2))
    assert source.draw(3, 9).truth is None
