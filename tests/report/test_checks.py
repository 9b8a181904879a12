"""A run folder whose parts do not fit together is refused in one line, before anything is written."""

import json
import shutil

import numpy as np
import pytest

from damage import damaged_arrays, some_damaged_documents
from damage import refusal as refused_with
from specvit.cli import main
from specvit.report import load_contents, run_tables
from specvit.report.drawings import drawings
from specvit.report.meanings import curve_meanings
from specvit.report.page import _render
from specvit.report.words import findings


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


@pytest.mark.parametrize("name", ["test", "bounds", "posteriors", "cells", "examples", "predictions_ridge"])
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
        ("predictions_ridge", "mean", lambda a: a[:3], "3 spectra, test.npz has 300"),
        ("bounds", "crlb", lambda a: a[:, :3], "'crlb' has shape (2, 3, 5), expected (2, 300, 5)"),
        ("bounds", "rows", lambda a: a + 5, "'rows' names spectrum 304, test.npz has 300"),
        ("posteriors", "rows", lambda a: a + 5, "'rows' names spectrum 304, test.npz has 300"),
        ("posteriors", "variance", lambda a: -a, "'variance' holds negative values"),
        ("cells", "stars", lambda a: a[0], "'stars' has shape"),
        ("cells", "efficiency", lambda a: a[..., :2], "'efficiency' has shape (2, 3, 2, 2, 2)"),
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
        ("summary.json", ("counts",)),
        ("summary.json", ("scores", "ridge", "log_g", "all", "r2")),
        ("summary.json", ("scores", "lightgbm", "log_g", "S/N 4-8", "residual_68")),
        ("summary.json", ("scores", "lightgbm", "log_g", "all", "headroom")),
        ("summary.json", ("ceilings", "log_g", "spreads", "metal-poor", "sigma_min_1")),
        ("summary.json", ("ceilings", "log_g", "spreads", "all", "posterior_std")),
        ("summary.json", ("ceilings", "log_g", "sets")),
    ],
)
def test_a_missing_entry_is_named(damaged, capsys, name, keys):
    change_json(damaged, name, *keys)
    error = refusal(damaged, capsys)
    assert name in error
    assert ".".join(keys) in error


@pytest.mark.parametrize(
    "keys", [("scores", "ridge", "log_g", "metal-poor"), ("ceilings", "teff", "bayes", "all")]
)
def test_a_missing_slice_is_named(damaged, capsys, keys):
    change_json(damaged, "summary.json", *keys)
    *place, part = keys
    assert f"summary.json: {'.'.join(place)}: no slice '{part}'" in refusal(damaged, capsys)


def replace_json(folder, value, *keys):
    path = folder / "summary.json"
    values = entry = json.loads(path.read_text())
    for key in keys[:-1]:
        entry = entry[key]
    entry[keys[-1]] = value
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("value", "keys", "words"),
    [
        (
            9,
            ("schema_version",),
            "schema_version 9 is newer than this specvit reads (2): pip install --upgrade specvit",
        ),
        (1, ("schema_version",), "schema_version 1 was written by an older specvit"),
        ({}, ("scores",), "'scores' hold no estimator of log_g"),
        (["teff"], ("estimators", "ridge", "labels"), "'estimators.ridge.labels' lacks log_g"),
        (7, ("ceilings", "log_g", "sets", 0, "at"), "no 'ceilings.log_g.spreads.all.r2_max_7'"),
    ],
)
def test_a_summary_that_this_report_cannot_be_made_of_says_what_to_do(damaged, capsys, value, keys, words):
    replace_json(damaged, value, *keys)
    assert f"summary.json: {words}" in refusal(damaged, capsys)


def test_bounds_without_a_set_that_the_summary_names_are_refused(damaged, capsys):
    path = damaged / "arrays" / "bounds.npz"
    arrays = dict(np.load(path))
    fewer = {name: arrays[name][:1] for name in ("sets", "free", "crlb", "r2_max", "schur")}
    np.savez(path, **arrays | fewer)
    assert "bounds.npz: no set 1 of free labels, which summary.json names" in refusal(damaged, capsys)


#: Of each kind of entry.
DAMAGES = 40


def some(cases, count):
    """Return `count` of many cases, drawn once and for all."""
    cases = list(cases)
    at = np.random.default_rng(5).choice(len(cases), min(count, len(cases)), replace=False)
    return [cases[i] for i in sorted(at)]


def tell(folder):
    """Read a run and say all that needs no figure."""
    run = load_contents(folder)
    return findings(run), curve_meanings(run), [drawing.caption for drawing in drawings(run)], _page(run)


def _page(run):
    return _render(run, [], run_tables(run))


def test_whatever_entry_of_a_summary_is_damaged_the_report_is_made_or_refused_in_one_line(damaged):
    path = damaged / "summary.json"
    document = json.loads(path.read_text())
    # Most entries are scores and spreads, which are all alike.
    many = {name: document.pop(name) for name in ("scores", "ceilings")}
    refused = 0
    cases = [*some_damaged_documents(document, DAMAGES), *some_damaged_documents(many, DAMAGES)]
    for what, changed in cases:
        path.write_text(json.dumps({**document, **many, **changed}))
        line = refused_with(lambda: tell(damaged))
        refused += bool(line)
        assert not line or str(damaged) in line, what
    assert refused > DAMAGES / 2


@pytest.mark.parametrize("name", ["test", "bounds", "posteriors", "cells", "predictions_ridge", "examples"])
def test_whatever_array_is_damaged_the_report_is_made_or_refused_in_one_line(damaged, name):
    path = damaged / "arrays" / f"{name}.npz"
    arrays = dict(np.load(path))
    for what, changed in some(damaged_arrays(arrays), 15):
        np.savez(path, **changed)
        line = refused_with(lambda: tell(damaged))
        assert not line or f"{name}.npz" in line or "npz has" in line or "predictions_" in line, what


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
