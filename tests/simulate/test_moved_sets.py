"""Sets of shards that were moved, or made with files of the user's own: whole by themselves."""

import json
import shutil

import numpy as np
import pytest
import torch

from specvit.errors import ConfigError, DataError
from specvit.instrument import Instrument
from specvit.instrument.description import INSTRUMENT
from specvit.jobs.config.training import training_config
from specvit.jobs.training import open_sources
from specvit.library import Emulator
from specvit.simulate import StoredSpectra, World, WriteJob
from specvit.simulate.writer import write_planned_shard
from specvit.spectra import collect


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder one works in, with an instrument (a table file, one file over another) and an emulator of one's own."""
    place = tmp_path / "place"
    place.mkdir()
    shutil.copy(INSTRUMENT.presets / "pfs_red_mr.npz", place / "pfs_red_mr.npz")
    shutil.copy(INSTRUMENT.presets / "pfs_mr.toml", place / "base.toml")
    (place / "mine.toml").write_text('extends = "base.toml"\nname = "mine"\n')
    monkeypatch.chdir(place)
    return place


@pytest.fixture(scope="module")
def emulator_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("library") / "mine.emulator"
    Emulator.builtin().save(path)
    return path


def digests(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.h5"))}


def test_a_moved_set_needs_none_of_the_files_it_was_made_with(place, emulator_file, tmp_path, monkeypatch):
    shutil.copy(emulator_file, place / "mine.emulator")
    world = World(instrument="mine.toml", library="mine.emulator")
    WriteJob("set", world, "train", 1, 20, shards=2).run()
    before, lsf = collect(StoredSpectra("set")), Instrument.load("mine.toml").lsf_nodes()
    drawn = world.build().draw("validation", 1, 0, 9)
    shutil.move(place / "set", tmp_path / "moved")
    shutil.rmtree(place)
    monkeypatch.chdir(tmp_path)
    stored = StoredSpectra("moved")
    assert torch.equal(collect(stored).flux, before.flux)
    assert stored.lsf == lsf
    again = stored.world.build().draw("validation", 1, 0, 9)
    assert torch.equal(again.flux, drawn.flux)
    assert torch.equal(again.sigma, drawn.sigma)
    assert str(tmp_path) not in (tmp_path / "moved" / "manifest.json").read_text()


def test_a_job_goes_on_in_a_moved_folder_with_the_same_bytes(place, tmp_path, monkeypatch):
    whole, moved = place / "whole", tmp_path / "moved"
    WriteJob(whole, World(instrument="mine.toml"), "train", 1, 20, shards=2).run()
    shutil.copytree(whole, moved)
    sorted(moved.glob("*.h5"))[1].unlink()
    monkeypatch.chdir(tmp_path)
    job = WriteJob("moved", World(instrument=str(place / "mine.toml")), "train", 1, 20, shards=2)
    assert [plan.count for plan in job.remaining] == [10]
    assert job.run() == 10
    assert digests(moved) == digests(whole)


def test_workers_draw_from_the_kept_files(place):
    """What a worker process is given is enough where the instrument itself is not, as on another machine."""
    job = WriteJob("set", World(instrument="mine.toml"), "train", 1, 20, shards=2)
    job.run()
    expected = digests(place / "set")
    (place / "mine.toml").unlink()
    for plan in job.plans:
        write_planned_shard(json.loads(json.dumps(plan.to_dict())))
    assert digests(place / "set") == expected


def test_an_instrument_that_was_changed_since_is_another_set(place):
    world = World(instrument="mine.toml")
    WriteJob("set", world, "train", 1, 10).run()
    assert WriteJob("set", world, "train", 1, 10).run() == 0
    # Another name or source of the same spectrograph is none.
    (place / "mine.toml").write_text('extends = "base.toml"\nname = "my own"\nsource = "other"\n')
    assert WriteJob("set", world, "train", 1, 10).run() == 0
    (place / "mine.toml").write_text('extends = "base.toml"\nname = "mine"\n[detector]\nread_noise = 40.0\n')
    with pytest.raises(ConfigError, match=r"holds another set \(instrument_fingerprint is"):
        WriteJob("set", world, "train", 1, 10).run()


def test_files_of_the_user_in_the_same_folder_are_left_alone(place):
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    WriteJob(".", World(instrument="mine.toml"), "train", 1, 10).run()
    assert {name: (place / name).read_bytes() for name in before} == before
    assert StoredSpectra(".").world.instrument == str(place / "world" / "mine.toml")


def test_a_kept_file_that_is_lost_is_named_with_its_place(place):
    WriteJob("set", World(instrument="mine.toml"), "train", 1, 10).run()
    (place / "set" / "world" / "mine.toml").unlink()
    with pytest.raises(ConfigError, match=f"{place}/set/world/mine.toml does not exist"):
        StoredSpectra("set").world.build()


def test_training_on_a_moved_set_draws_its_validation_spectra_from_the_kept_files(
    place, tmp_path, monkeypatch
):
    WriteJob("set", World(instrument="mine.toml"), "train", 1, 10).run()
    lsf = Instrument.load("mine.toml").lsf_nodes()
    shutil.move(place / "set", tmp_path / "moved")
    shutil.rmtree(place)
    monkeypatch.chdir(tmp_path)
    stars = {"validation": 20, "test": 20, "seed": 1}
    data = open_sources(training_config({"data": {"train": ["moved"]}, "simulate": stars}))
    assert data.train.lsf == data.validation.lsf == lsf
    assert len(collect(data.validation)) == len(collect(data.test)) == 20


def test_presets_need_no_kept_files(tmp_path):
    WriteJob(tmp_path / "set", World(), "train", 1, 10).run()
    assert not (tmp_path / "set" / "world").exists()
    assert StoredSpectra(tmp_path / "set").world == World()


def test_tables_that_were_changed_are_noticed(place):
    WriteJob("set", World(instrument="mine.toml"), "train", 1, 10).run()
    np.savez(place / "set" / "world" / "mine.npz", throughput=np.ones(4096))
    with pytest.raises(DataError, match=r"mine\.npz: checksum is not the one stated"):
        StoredSpectra("set").world.build()
