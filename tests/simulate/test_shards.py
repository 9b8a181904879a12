"""Stored spectra: the same bytes however often the job is killed, and clear words when it cannot go on."""

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time

import h5py
import numpy as np
import pytest
import torch

from specvit.cli import main
from specvit.errors import ConfigError, DataError, RunError
from specvit.simulate import StoredSpectra, World, WriteJob, shards
from specvit.spectra import collect

WORLD = World()


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.h5"))}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    assert WriteJob(folder, WORLD, "test", 11, 300, shards=3).run() == 300
    return folder


def test_stored_spectra_are_those_drawn_on_the_fly(uninterrupted, simulator):
    stored = collect(StoredSpectra(uninterrupted), 77)
    drawn = simulator.draw("test", 11, 0, 300)
    assert torch.equal(stored.flux, drawn.flux)
    assert torch.equal(stored.sigma, drawn.sigma)
    assert torch.equal(stored.labels, drawn.labels)
    assert stored.truth is None
    assert StoredSpectra(uninterrupted).grid.matches(simulator.grid)


def test_shards_carry_units_and_provenance(uninterrupted):
    with h5py.File(next(uninterrupted.glob("*.h5"))) as file:
        assert file["wavelength"].attrs["unit"] == "angstrom, vacuum"
        assert file["conditions/seeing"].attrs["unit"] == "arcsec"
        assert json.loads(file.attrs["world"])["instrument"] == "pfs_mr_reference"
        assert json.loads(file.attrs["label_space"])["units"][0] == "K"
    manifest = json.loads((uninterrupted / "manifest.json").read_text())
    assert manifest["seed"] == 11
    assert manifest["created"].startswith("20")


def test_worker_processes_write_the_same_bytes(uninterrupted, tmp_path):
    WriteJob(tmp_path, WORLD, "test", 11, 300, shards=3).run(workers=2)
    assert digests(tmp_path) == digests(uninterrupted)


def test_a_second_run_writes_nothing(uninterrupted):
    before = {path: path.stat().st_mtime_ns for path in uninterrupted.glob("*.h5")}
    assert WriteJob(uninterrupted, WORLD, "test", 11, 300, shards=3).run() == 0
    assert before == {path: path.stat().st_mtime_ns for path in uninterrupted.glob("*.h5")}


def test_killed_in_the_middle_and_run_again_gives_the_same_bytes(tmp_path):
    """kill -9 while a shard is being written: at least one shard done, none half-written under its name."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-m", "specvit", "simulate", "--spectra", "6000", "--shards", "4",
               "--split", "test", "--seed", "5", "--out"]  # fmt: skip
    process = subprocess.Popen([*command, str(killed)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if list(killed.glob("*.h5")) and list(killed.glob("*.partial")):
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    assert process.wait() == -signal.SIGKILL
    done = set(digests(killed))
    assert 1 <= len(done) < 4
    subprocess.run([*command, str(killed)], check=True, stderr=subprocess.DEVNULL)
    assert not list(killed.glob("*.partial"))
    subprocess.run([*command, str(whole)], check=True, stderr=subprocess.DEVNULL)
    assert digests(killed) == digests(whole)
    assert len(digests(whole)) == 4


def test_a_killed_job_leaves_no_worker_behind(tmp_path):
    """kill -9 of the parent ends its workers: what lies there afterwards no longer changes."""
    command = [sys.executable, "-m", "specvit", "simulate", "--spectra", "400000", "--shards", "2",
               "--workers", "2", "--out", str(tmp_path)]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list(tmp_path.glob("*.partial")):
        time.sleep(0.01)
    process.kill()
    process.wait()
    time.sleep(1.0)
    left = {path: path.stat() for path in tmp_path.glob("*.partial")}
    assert left
    time.sleep(1.5)
    assert {path: path.stat() for path in tmp_path.glob("*.partial")} == left
    assert not list(tmp_path.glob("*.h5"))


def test_a_worker_of_a_killed_job_cannot_spoil_its_continuation(tmp_path, monkeypatch, simulator):
    """A Dask worker outlives its client and ends its shard while the next job is in the middle of the same."""
    plan = WriteJob(tmp_path, WORLD, "test", 11, 300).plans[0]
    continuation = threading.Thread(target=WriteJob(tmp_path, WORLD, "test", 11, 300).run)
    in_the_middle, outlived, fill = threading.Event(), threading.Event(), shards._fill

    def fill_twice(*arguments):
        if threading.current_thread() is continuation:
            in_the_middle.set()
            assert outlived.wait(60)
            fill(*arguments)
        else:
            fill(*arguments)
            continuation.start()
            assert in_the_middle.wait(60)

    monkeypatch.setattr(shards, "_fill", fill_twice)
    with pytest.raises(RunError, match="cannot write"):
        shards.write_shard(plan, simulator)
    assert not list(tmp_path.glob("*.h5"))
    outlived.set()
    continuation.join()
    assert len(collect(StoredSpectra(tmp_path)).snr) == 300


def test_truth_is_stored_only_when_asked_for(tmp_path, simulator):
    WriteJob(tmp_path, WORLD, "validation", 2, 20, truth=True).run()
    stored = collect(StoredSpectra(tmp_path))
    assert torch.equal(stored.truth.flux, simulator.draw("validation", 2, 0, 20).truth.flux)


def test_a_folder_with_another_set_is_not_touched(uninterrupted):
    before = digests(uninterrupted)
    with pytest.raises(ConfigError, match=r"spectra is 300 there, 400 asked for"):
        WriteJob(uninterrupted, WORLD, "test", 11, 400, shards=3).run()
    with pytest.raises(ConfigError, match="seed is 11 there, 12 asked for"):
        WriteJob(uninterrupted, WORLD, "test", 12, 300, shards=3).run()
    with pytest.raises(ConfigError, match=r"noise_level is 1\.0 there, 2\.0 asked for"):
        WriteJob(uninterrupted, World(noise_level=2.0), "test", 11, 300, shards=3).run()
    assert digests(uninterrupted) == before


def test_a_full_disk_is_noticed_before_and_while_writing(tmp_path, monkeypatch):
    job = WriteJob(tmp_path / "before", WORLD, "test", 1, 1000)
    full = type("usage", (), {"free": 1_000_000})()
    monkeypatch.setattr("specvit.simulate.writer.shutil.disk_usage", lambda _: full)
    with pytest.raises(RunError, match=r"0\.03 GB needed, 0\.00 GB free"):
        job.run()
    monkeypatch.undo()
    assert WriteJob(tmp_path / "before", WORLD, "test", 1, 10).run() == 10  # the folder is not claimed
    # A file size limit is how a process meets the end of its disk without one.
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, {resource.RLIM_INFINITY}))\n"
        "from specvit.cli import main\n"
        f"sys.argv = ['specvit', 'simulate', '--spectra', '1000', '--out', {str(tmp_path / 'while')!r}]\n"
        "sys.exit(main())\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 1
    assert "cannot write" in result.stderr
    assert "Traceback" not in result.stderr
    assert not [path for path in (tmp_path / "while").iterdir() if path.suffix in (".h5", ".partial")]


def test_unwritable_places_are_refused_in_one_line(tmp_path):
    occupied = tmp_path / "file"
    occupied.write_text("")
    with pytest.raises(RunError, match="a file stands where a folder is needed"):
        WriteJob(occupied / "set", WORLD, "test", 1, 10).run()
    if os.geteuid() != 0:
        locked = tmp_path / "locked"
        locked.mkdir(mode=0o500)
        with pytest.raises(RunError, match="no permission"):
            WriteJob(locked / "set", WORLD, "test", 1, 10).run()


def test_broken_shards_are_named(tmp_path):
    WriteJob(tmp_path, WORLD, "test", 1, 20, shards=2).run()
    first, second = sorted(tmp_path.glob("*.h5"))
    whole = first.read_bytes()
    first.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=f"{first.name}: is cut short .* or move it away and run"):
        StoredSpectra(tmp_path)
    first.write_bytes(whole)
    second.unlink()
    with pytest.raises(DataError, match=f"{second.name}: no such file, expected a shard; run the same"):
        StoredSpectra(tmp_path)
    for text in ("", "[1]", '{"format": "specvit-spectra"}'):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(
            DataError,
            match=r"manifest\.json: (.*not a manifest .*or simulate again in another folder|is empty .*give a folder)",
        ):
            StoredSpectra(tmp_path)
    with pytest.raises(DataError, match=r"no manifest\.json there"):
        StoredSpectra(tmp_path / "elsewhere")


@pytest.mark.parametrize("size", [0, 5_000, 200_000])
def test_a_finished_shard_that_was_cut_short_is_not_called_complete(tmp_path, capsys, size):
    command = ["simulate", "--out", str(tmp_path), "--spectra", "20", "--shards", "2", "--split", "test"]
    assert main(command) == 0
    cut, whole = max(tmp_path.glob("*.h5")), digests(tmp_path)
    os.truncate(cut, size)
    capsys.readouterr()
    assert main(command) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: {cut}: is {'cut short' if size else 'empty'}")
    assert "or move it away and run the same `specvit simulate` command again" in told
    assert told.count("\n") == 1
    cut.unlink()
    assert main(command) == 0
    assert digests(tmp_path) == whole


def test_a_folder_of_another_set_is_refused_before_the_plan_is_told(tmp_path, capsys):
    command = ["simulate", "--out", str(tmp_path), "--split", "test", "--spectra"]
    assert main([*command, "10"]) == 0
    capsys.readouterr()
    assert main([*command, "12"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert "holds another set (spectra is 10 there, 12 asked for)" in told
    assert told.count("\n") == 1


def test_two_writers_do_not_share_a_folder(tmp_path):
    job = WriteJob(tmp_path, WORLD, "test", 1, 20)
    with job._locked(), pytest.raises(RunError, match="another process is writing here"):
        WriteJob(tmp_path, WORLD, "test", 1, 20).run()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"spectra": 0}, "--spectra"),
        ({"spectra": 5, "shards": 6}, "--shards"),
        ({"split": "dev"}, "split"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
    ],
)
def test_impossible_jobs_are_refused(tmp_path, options, word):
    job = {"split": "test", "seed": 1, "spectra": 10, **options}
    with pytest.raises(ConfigError, match=word):
        WriteJob(tmp_path, WORLD, **job).run()
    assert not list(tmp_path.iterdir())


def test_no_workers_is_a_usage_error_before_any_plan(tmp_path, capsys):
    assert main(["simulate", "--out", str(tmp_path / "x"), "--workers", "0"]) == 2
    assert capsys.readouterr().err == "error: --workers: expected at least 1, got 0\n"
    assert not list(tmp_path.iterdir())


def test_a_dask_cluster_writes_the_same_bytes(uninterrupted, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        written = []
        job = WriteJob(tmp_path, WORLD, "test", 11, 300, shards=3)
        assert job.run(dask=cluster.scheduler_address, progress=written.append) == 300
    assert sum(written) == 300
    assert digests(tmp_path) == digests(uninterrupted)


def test_a_missing_dask_scheduler_is_one_clear_line(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("specvit.simulate.writer.DASK_TIMEOUT", "1s")
    with pytest.raises(RunError, match="no scheduler answers there"):
        WriteJob(tmp_path, WORLD, "test", 11, 10).run(dask="tcp://127.0.0.1:9")


def test_a_world_survives_json():
    world = World(prior="lattice", bounds={"log_g": (1.0, 3.0)})
    assert World.from_dict(json.loads(json.dumps(world.to_dict()))) == world
    with pytest.raises(ConfigError, match="unknown field 'colour'"):
        World.from_dict({"colour": "red"})
    assert np.isclose(World(bounds={"log_g": (1.0, 3.0)}).build().prior.variance("log_g"), 4 / 12)
