"""A run folder whose parts do not fit together is refused in one line, before anything is written."""

import json
import shutil

import numpy as np
import pytest

from specvit.cli import main


@pytest.fixture
def damaged(run_folder, tmp_path):
    """A copy of a finished run, to be damaged."""
    return shutil.copytree(
        run_folder.path, tmp_path / "copy", ignore=shutil.ignore_patterns("figures", "tables")
    )


def change_arrays(folder, name, **changes):
    path = folder / "arrays" / f"{name}.npz"
    arrays = dict(np.load(path))
    np.savez(path, **{**arrays, **{key: change(arrays[key]) for key, change in changes.items()}})


def change_json(folder, name, *keys):
    """Take one entry out of a JSON file."""
    values = entry = json.loads((folder / name).read_text())
    for key in keys[:-1]:
        entry = entry[key]
    del entry[keys[-1]]
    (folder / name).write_text(json.dumps(values))


def refusal(folder, capsys):
    """Return the one line with which the report is refused; nothing may be written."""
    before = sorted(folder.rglob("*"))
    assert main(["report", str(folder)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "unexpected" not in error
    assert sorted(folder.rglob("*")) == before
    return error


@pytest.mark.parametrize("name", ["test", "ceiling", "cells", "examples", "predictions_ridge"])
def test_a_truncated_array_file_is_named(damaged, capsys, name):
    path = damaged / "arrays" / f"{name}.npz"
    path.write_bytes(path.read_bytes()[:100])
    assert f"{name}.npz is damaged" in refusal(damaged, capsys)


@pytest.mark.parametrize("name", ["config.toml", "provenance.json", "summary.json"])
@pytest.mark.parametrize("content", [b'{"half', b"\xff\xfe"])
def test_a_truncated_text_file_is_named(damaged, capsys, name, content):
    (damaged / name).write_bytes(content)
    assert f"{name} is damaged" in refusal(damaged, capsys)


@pytest.mark.parametrize(
    ("name", "array", "change", "words"),
    [
        ("test", "labels", lambda a: a[:, 0], "'labels' has shape (300,), expected (N, 5)"),
        ("test", "snr", lambda a: 0 * a, "'snr' of 300 spectra is not a positive number"),
        ("predictions_ridge", "mean", lambda a: a[:, 0], "'mean' has shape (300,), expected (N, 1)"),
        ("predictions_ridge", "mean", lambda a: np.nan * a, "'mean' holds no finite log_g"),
        ("ceiling", "crlb_5", lambda a: a[:3], "'crlb_5' has shape (3,), expected (300)"),
        ("ceiling", "rows", lambda a: a + 5, "'rows' names spectrum 304, test.npz has 300"),
        ("cells", "stars", lambda a: a[0], "'stars' has shape"),
        ("cells", "efficiency_ridge_low", lambda a: a[0], "no 'efficiency_ridge_low' of shape"),
        ("examples", "flux", lambda a: a[:, :9], "'flux' has shape (2, 9), expected (S, 400)"),
    ],
)
def test_an_array_that_does_not_fit_is_named(damaged, capsys, name, array, change, words):
    change_arrays(damaged, name, **{array: change})
    error = refusal(damaged, capsys)
    assert f"{name}.npz: {words}" in error
    assert "--fresh" in error


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("provenance.json", ("sessions",)),
        ("provenance.json", ("stages",)),
        ("summary.json", ("counts", "test")),
        ("summary.json", ("models", "ridge", "overall", "r2")),
        ("summary.json", ("models", "lightgbm", "bins", "residual_68")),
        ("summary.json", ("models", "lightgbm", "overall", "headroom")),
        ("summary.json", ("ceiling", "bins", "sigma_min_5")),
        ("summary.json", ("ceiling", "labels", "5")),
    ],
)
def test_a_missing_entry_is_named(damaged, capsys, name, keys):
    change_json(damaged, name, *keys)
    error = refusal(damaged, capsys)
    assert name in error
    assert ".".join(keys) in error


def test_a_summary_of_a_newer_version_or_without_models_is_refused(damaged, capsys):
    path = damaged / "summary.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "schema_version": 9}))
    assert "schema_version 9 is newer" in refusal(damaged, capsys)
    path.write_text(json.dumps({**values, "models": {}}))
    assert "'models' is empty" in refusal(damaged, capsys)


@pytest.mark.parametrize("name", ["figures", "tables"])
def test_a_file_where_a_folder_is_needed_is_named(damaged, capsys, name):
    (damaged / name).write_text("mine")
    assert main(["report", str(damaged)]) == 1
    error = capsys.readouterr().err
    assert f"{name}: a file stands where a folder is needed" in error
    assert error.count("\n") == 1
    assert (damaged / name).read_text() == "mine"
    assert not [path for kind in ("figures", "tables") for path in (damaged / kind).glob("*")]
    assert not (damaged / "report.html").exists()
