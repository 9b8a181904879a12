"""The index of runs holds what the folders hold, whoever made it and when."""

import shutil
import sqlite3

import pytest

from small_summary import small_summary
from specvit.cli import main
from specvit.errors import RunError
from specvit.runs import RunFolder, RunIndex
from specvit.runs.identity import content_digest

CONFIG = {"config_version": 1, "simulate": {"train": 10}}

#: A slice of all spectra is there, under another name.
WITHOUT_ALL = small_summary().model_dump_json().replace('"all":', '"most":').encode()

#: As the first version wrote it.
OLD = """
CREATE TABLE runs (name TEXT PRIMARY KEY, created TEXT, fingerprint TEXT);
CREATE TABLE metrics (run TEXT, model TEXT, metric TEXT, value REAL, PRIMARY KEY (run, model, metric));
INSERT INTO runs VALUES ('gone', '2020', 'f');
INSERT INTO metrics VALUES ('gone', 'ridge', 'r2', 0.5);
PRAGMA user_version = 1;
"""


def make_run(root, name, r2):
    run = RunFolder.create(root, name, {**CONFIG, "name": name})
    with run.stage("fit"):
        pass
    run.write_summary(small_summary(r2).model_dump(mode="json"))
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
    assert {"job": "survey", "target": "log_g"}.items() <= updated[0][0].items()
    entry = {"estimator": "ridge", "label": "log_g", "metric": "r2"}
    assert {**entry, "value": 0.7, "low": 0.7 - 0.1, "high": 0.7 + 0.1} in index.metrics("b")


def test_the_scores_of_every_estimator_and_label_are_those_over_all_spectra(tmp_path):
    index = RunIndex(tmp_path)
    index.update(make_run(tmp_path, "a", 0.5))
    found = [(row["estimator"], row["label"], row["metric"], row["value"]) for row in index.metrics("a")]
    assert found == [
        ("ridge", "teff", "r2", 0.9),
        ("ridge", "teff", "mae", None),
        ("ridge", "log_g", "r2", 0.5),
        ("ridge", "log_g", "mae", None),
        ("mine", "log_g", "r2", 0.4),
        ("mine", "log_g", "mae", None),
    ]


def test_updating_twice_keeps_one_entry(tmp_path):
    run, index = make_run(tmp_path, "a", 0.5), RunIndex(tmp_path)
    index.update(run)
    index.update(run)
    assert len(index.runs()) == 1
    assert len(index.metrics("a")) == 6


def test_a_run_without_results_is_entered_without_scores(tmp_path):
    run = RunFolder.create(tmp_path, "begun", CONFIG)
    index = RunIndex(tmp_path)
    index.update(run)
    (entry,) = index.runs()
    assert (entry["name"], entry["job"], entry["finished"]) == ("begun", None, None)
    assert index.metrics("begun") == []


@pytest.mark.parametrize("ask", [lambda index, run: index.runs(), RunIndex.update])
def test_an_index_of_another_version_is_made_anew_from_the_folders(tmp_path, ask):
    """Not only the run that happens to be entered next: all of them."""
    for name in ("a", "b"):
        make_run(tmp_path, name, 0.5)
    index = RunIndex(tmp_path)
    with sqlite3.connect(index.path) as connection:
        connection.executescript(OLD)
    connection.close()
    ask(index, RunFolder.open(tmp_path / "b"))
    assert sorted(entry["name"] for entry in index.runs()) == ["a", "b"]
    assert len(index.metrics("a")) == len(index.metrics("b")) == 6
    assert index.metrics("gone") == []


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
    ("name", "content", "words"),
    [
        ("provenance.json", b"not json", "is damaged"),
        ("provenance.json", b"{}", "no entry 'fingerprint'"),
        ("provenance.json", b"[]", "is damaged"),
        ("provenance.json", b"\xff\xfe", "is damaged"),
        ("summary.json", b'{"models": {"ridge": {}}}', "schema_version 1 was written by an older specvit"),
        ("summary.json", b'{"schema_version": 2, "models": {}}', "is damaged"),
        ("summary.json", WITHOUT_ALL, "slices: no slice 'all'"),
    ],
)
def test_rebuilding_leaves_out_damaged_runs_and_names_them(tmp_path, capsys, name, content, words):
    for run in ("kept", "damaged"):
        make_run(tmp_path, run, 0.5)
    (tmp_path / "damaged" / name).write_bytes(content)
    (problem,) = RunIndex(tmp_path).rebuild()
    assert f"damaged/{name}" in problem
    assert words in problem
    assert "\n" not in problem
    assert [entry["name"] for entry in RunIndex(tmp_path).runs()] == ["kept"]
    assert main(["report", "--list", "--folder", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("kept")
    assert "ridge R² 0.500, mine R² 0.400" in printed.out
    assert printed.err == f"left out: {problem}\n"


def test_a_damaged_index_says_it_can_be_removed(tmp_path):
    (tmp_path / "index.sqlite").write_text("this is no database, " * 100)
    with pytest.raises(RunError, match="remove it and it is rebuilt"):
        RunIndex(tmp_path).runs()


def test_an_entry_knows_its_run_by_content(tmp_path):
    run = make_run(tmp_path, "a", 0.5)
    index = RunIndex(tmp_path)
    index.update(run)
    kept = run.provenance
    expected = content_digest({"results": kept["results"], "inputs": kept["inputs"]})
    assert index.runs()[0]["fingerprint"] == kept["fingerprint"] == expected
