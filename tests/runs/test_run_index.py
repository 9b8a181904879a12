import shutil

import pytest

from specvit.cli import main
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
    assert RunIndex(tmp_path).rebuild() == []
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


def test_rebuilding_forgets_removed_runs(tmp_path):
    kept, gone = (make_run(tmp_path, name, 0.5) for name in ("kept", "gone"))
    index = RunIndex(tmp_path)
    assert index.rebuild() == []
    assert len(index.runs()) == 2
    shutil.rmtree(gone.path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "config.toml").write_text("")  # no run, and no word about it
    assert index.rebuild() == []
    assert [entry["name"] for entry in index.runs()] == [kept.name]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("provenance.json", b"not json"),
        ("provenance.json", b"{}"),
        ("provenance.json", b"[]"),
        ("provenance.json", b"\xff\xfe"),
        ("summary.json", b'{"models": {"ridge": {}}}'),
        ("summary.json", b'{"models": {"ridge": {"overall": {"r2": {"value": [1]}}}}}'),
    ],
)
def test_rebuilding_leaves_out_damaged_runs_and_names_them(tmp_path, capsys, name, content):
    for run in ("kept", "damaged"):
        make_run(tmp_path, run, 0.5)
    (tmp_path / "damaged" / name).write_bytes(content)
    (problem,) = RunIndex(tmp_path).rebuild()
    assert name in problem
    assert "damaged" in problem
    assert "--fresh" in problem
    assert [entry["name"] for entry in RunIndex(tmp_path).runs()] == ["kept"]
    assert main(["report", "--list", "--folder", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("kept")
    assert printed.err == f"left out: {problem}\n"


def test_a_damaged_index_says_it_can_be_removed(tmp_path):
    (tmp_path / "index.sqlite").write_text("this is no database, " * 100)
    with pytest.raises(RunError, match="remove it and it is rebuilt"):
        RunIndex(tmp_path).runs()
