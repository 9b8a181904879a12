import shutil

import pytest

from specvit.errors import RunError
from specvit.runs import RunFolder, RunIndex

CONFIG = {"config_version": 1, "simulate": {"train": 10}}


def make_run(root, name, r2):
    run = RunFolder.create(root, name, {**CONFIG, "name": name})
    with run.stage("fit"):
        pass
    score = {"value": r2, "low": r2 - 0.1, "high": r2 + 0.1}
    run.write_summary({"models": {"ridge": {"overall": {"r2": score, "mae": {"value": None}}}}})
    run.finish()
    return run


def test_updating_run_by_run_equals_rebuilding(tmp_path):
    index = RunIndex(tmp_path)
    for name, r2 in (("a", 0.5), ("b", 0.7)):
        index.update(make_run(tmp_path, name, r2))
    updated = index.runs(), index.metrics("a"), index.metrics("b")
    index.path.unlink()
    assert RunIndex(tmp_path).rebuild() == 2
    assert (index.runs(), index.metrics("a"), index.metrics("b")) == updated
    assert index.metrics("b")[0] == {
        "model": "ridge",
        "metric": "r2",
        "value": 0.7,
        "low": 0.7 - 0.1,
        "high": 0.7 + 0.1,
    }


def test_updating_twice_keeps_one_entry(tmp_path):
    run, index = make_run(tmp_path, "a", 0.5), RunIndex(tmp_path)
    index.update(run)
    index.update(run)
    assert len(index.runs()) == 1
    assert len(index.metrics("a")) == 2


def test_rebuilding_forgets_removed_runs_and_skips_damaged_ones(tmp_path):
    kept, gone, damaged = (make_run(tmp_path, name, 0.5) for name in ("kept", "gone", "damaged"))
    index = RunIndex(tmp_path)
    assert index.rebuild() == 3
    shutil.rmtree(gone.path)
    (damaged.path / "provenance.json").write_text("not json")
    assert index.rebuild() == 1
    assert [entry["name"] for entry in index.runs()] == [kept.name]


def test_a_damaged_index_says_it_can_be_removed(tmp_path):
    (tmp_path / "index.sqlite").write_text("this is no database, " * 100)
    with pytest.raises(RunError, match="remove it and it is rebuilt"):
        RunIndex(tmp_path).runs()
