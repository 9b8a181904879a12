import json
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest

import specvit
from specvit.errors import DataError, RunError
from specvit.runs import RunFolder, folder, write_atomic

CONFIG = {"config_version": 1, "simulate": {"train": 10}, "run": {"name": "demo", "threads": 0}}
OTHER = {**CONFIG, "simulate": {"train": 20}}


@contextmanager
def full_disk(free_bytes):
    """Let files of this process grow to `free_bytes` only: writing more fails as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free_bytes, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_new_run_holds_its_configuration_and_provenance(tmp_path):
    run = RunFolder.create(tmp_path, "demo", CONFIG)
    assert run.config == CONFIG
    machine = run.provenance["sessions"][0]
    assert machine["specvit"] == specvit.__version__
    assert machine["packages"]["numpy"] == np.__version__
    assert not run.finished
    assert names(tmp_path) == ["demo"]


def test_the_same_configuration_is_continued_and_another_is_kept_apart(tmp_path):
    first = RunFolder.create(tmp_path, "demo", CONFIG)
    elsewhere = {**CONFIG, "run": {"name": "demo", "threads": 7}}
    assert RunFolder.create(tmp_path, "demo", elsewhere).path == first.path
    assert len(first.provenance["sessions"]) == 2
    second = RunFolder.create(tmp_path, "demo", OTHER)
    assert second.name == "demo-2"
    assert RunFolder.create(tmp_path, "demo", OTHER).path == second.path
    assert first.config == CONFIG


def test_fresh_starts_over_without_touching_the_old_run(tmp_path):
    first = RunFolder.create(tmp_path, "demo", CONFIG)
    first.write_summary({"done": True})
    again = RunFolder.create(tmp_path, "demo", CONFIG, fresh=True)
    assert again.path != first.path
    assert first.summary == {"done": True}
    assert again.summary == {}


def test_a_run_is_what_its_results_depend_on_whatever_its_configuration_says(tmp_path):
    """The name of a file is in the configuration, its content in the identity."""
    first = RunFolder.create(tmp_path, "demo", CONFIG, identity={"library": "digest", "seed": 1})
    moved = RunFolder.create(tmp_path, "demo", OTHER, identity={"seed": 1, "library": "digest"})
    assert moved.path == first.path
    assert moved.config == CONFIG
    another = RunFolder.create(tmp_path, "demo", CONFIG, identity={"library": "other digest", "seed": 1})
    assert another.name == "demo-2"
    assert another.provenance["inputs"] == {"library": "other digest", "seed": 1}


def test_a_run_whose_results_another_version_counts_otherwise_is_not_continued(tmp_path, monkeypatch):
    first = RunFolder.create(tmp_path, "demo", CONFIG)
    monkeypatch.setattr(specvit, "__version__", "99.0")
    assert RunFolder.create(tmp_path, "demo", CONFIG).path == first.path
    monkeypatch.setattr(folder, "RESULTS", folder.RESULTS + 1)
    later = RunFolder.create(tmp_path, "demo", CONFIG)
    assert later.name == "demo-2"
    assert later.provenance["results"] == first.provenance["results"] + 1


def test_a_foreign_folder_of_that_name_is_left_alone(tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "notes.txt").write_text("mine")
    assert RunFolder.create(tmp_path, "demo", CONFIG).name == "demo-2"
    assert names(tmp_path / "demo") == ["notes.txt"]
    (tmp_path / "demo" / "config.toml").write_text("mine = true")  # of somebody else's program
    assert RunFolder.create(tmp_path, "demo", CONFIG).name == "demo-2"


def test_a_stage_counts_as_done_only_if_it_ended_well(tmp_path):
    run = RunFolder.create(tmp_path, "demo", CONFIG)
    with pytest.raises(ZeroDivisionError), run.stage("ridge"):
        raise ZeroDivisionError
    assert not run.is_done("ridge")
    with run.stage("ridge") as record:
        record["alpha"] = np.float32(2.5)
    assert run.is_done("ridge")
    assert run.stages["ridge"]["alpha"] == 2.5
    assert run.stages["ridge"]["seconds"] >= 0
    assert [line["event"] for line in run.read_log()] == ["stage started", "stage started", "stage finished"]


def test_a_killed_job_continues_after_its_last_finished_stage(tmp_path):
    script = f"""
import os, signal, sys
from specvit.runs import RunFolder
run = RunFolder.create({str(tmp_path)!r}, "demo", {CONFIG!r})
with run.stage("simulate"):
    run.write_arrays("test", labels=[1.0, 2.0])
with run.stage("ridge"):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    run = RunFolder.create(tmp_path, "demo", CONFIG)
    assert run.is_done("simulate")
    assert not run.is_done("ridge")
    assert run.read_arrays("test")["labels"].tolist() == [1.0, 2.0]


def test_a_cut_off_last_line_of_the_log_is_left_out(tmp_path):
    run = RunFolder.create(tmp_path, "demo", CONFIG)
    run.log(step=1, loss=np.float64(0.5))
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 2, "lo')
    assert [line["step"] for line in run.read_log()] == [1]


def test_arrays_come_back_as_written(tmp_path):
    run = RunFolder.create(tmp_path, "demo", CONFIG)
    arrays = {
        "mean": np.arange(6.0).reshape(3, 2),
        "names": np.array(["log_g", "teff"]),
        "rows": np.arange(3),
    }
    run.write_arrays("predictions_ridge", **arrays)
    back = run.read_arrays("predictions_ridge")
    assert back.keys() == arrays.keys()
    for key, value in arrays.items():
        assert back[key].dtype == value.dtype
        np.testing.assert_array_equal(back[key], value)


def test_arrays_of_objects_are_refused(tmp_path):
    run = RunFolder.create(tmp_path, "demo", CONFIG)
    with pytest.raises(RunError, match=r"test\.npz: 'bad'"):
        run.write_arrays("test", bad=np.array([None, {}], dtype=object))


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no zip"])
def test_missing_and_damaged_arrays_are_named(tmp_path, damage):
    run = RunFolder.create(tmp_path, "demo", CONFIG)
    with pytest.raises(DataError, match=r"test\.npz is missing"):
        run.read_arrays("test")
    run.write_arrays("test", a=[1])
    (run.path / "arrays" / "test.npz").write_bytes(damage)
    with pytest.raises(DataError, match=r"test\.npz(: is empty| is damaged: ).*--fresh"):
        run.read_arrays("test")


def test_nan_in_a_summary_becomes_null_and_the_file_is_strict_json(tmp_path):
    run = RunFolder.create(tmp_path, "demo", CONFIG)
    run.write_summary({"r2": float("nan"), "bins": [np.float32(0.5), float("inf")], "n": np.int64(3)})
    strict = json.loads((run.path / "summary.json").read_text(), parse_constant=pytest.fail)
    assert strict == {"r2": None, "bins": [0.5, None], "n": 3}


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        RunFolder.open(tmp_path / "absent")
    with pytest.raises(DataError, match="is not a run folder"):
        RunFolder.open(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("provenance.json", b"{", " is damaged"),
        ("provenance.json", b"[1]", " is damaged: it holds no entries"),
        ("provenance.json", b"{}", ": has no entry 'fingerprint'"),
        ("summary.json", b"\xff\xfe", " is damaged: it is no text"),
        ("summary.json", b'{"half', " is damaged"),
        ("summary.json", b'{"r2": NaN}', " is damaged: not JSON (NaN is no number)"),
        ("summary.json", b'{"r2": -Infinity}', " is damaged: not JSON (-Infinity is no number)"),
        ("summary.json", b"[" * 100_000, " is damaged: "),
        ("config.toml", b"\xff\xfe", " is damaged: it is no text"),
        ("config.toml", b"half =", " is damaged"),
    ],
)
def test_a_damaged_file_is_named_with_the_mend(tmp_path, name, content, words):
    run = RunFolder.create(tmp_path, "demo", CONFIG)
    (run.path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        getattr(run, name.partition(".")[0])
    assert f"{name}{words}" in str(caught.value)
    assert str(caught.value).endswith("start the run again with --fresh")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("sessions", [], "entry 'sessions': list should have at least 1 item"),
        ("sessions", [{}], "has no entry 'sessions.0.specvit'"),
        ("stages", {"fit": {}}, "has no entry 'stages.fit.seconds'"),
        ("stages", [1], "entry 'stages': input should be a valid dictionary"),
        ("created", None, "entry 'created': input should be a valid string"),
    ],
)
def test_an_entry_of_the_provenance_of_another_kind_is_named(tmp_path, key, value, words):
    run = RunFolder.create(tmp_path, "demo", CONFIG)
    path = run.path / "provenance.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(DataError, match=rf"provenance\.json: {words}.*--fresh"):
        _ = run.provenance


def test_the_mend_of_a_damaged_run_works(tmp_path):
    run = RunFolder.create(tmp_path, "demo", CONFIG)
    (run.path / "provenance.json").write_text("{}")
    with pytest.raises(DataError, match="--fresh"):
        RunFolder.create(tmp_path, "demo", CONFIG)
    assert RunFolder.create(tmp_path, "demo", CONFIG, fresh=True).name == "demo-2"


def test_a_full_disk_is_one_line_and_keeps_the_old_file(tmp_path):
    run = RunFolder.create(tmp_path, "demo", CONFIG)
    run.write_arrays("test", flux=[1.0])
    noise = np.random.default_rng(1).normal(size=20_000)
    with (
        full_disk(4096),
        pytest.raises(RunError, match=r"cannot write .*test\.npz: .*free some space") as caught,
    ):
        run.write_arrays("test", flux=noise)
    assert "\n" not in str(caught.value)
    assert names(run.path / "arrays") == ["test.npz"]
    assert run.read_arrays("test")["flux"].tolist() == [1.0]


def test_a_full_disk_leaves_no_half_made_run(tmp_path):
    with full_disk(10), pytest.raises(RunError, match="cannot write"):
        RunFolder.create(tmp_path, "demo", CONFIG)
    assert names(tmp_path) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="choose another folder") as caught:
        RunFolder.create(tmp_path / "file" / "runs", "demo", CONFIG)
    assert caught.value.exit_code == 1


def test_a_failed_write_leaves_the_old_content(tmp_path):
    path = write_atomic(tmp_path / "a" / "page.html", "old")

    def fail(file):
        file.write(b"half of the new")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_atomic(path, fail)
    assert path.read_text() == "old"
    assert names(path.parent) == ["page.html"]
