"""Run folders of which any file was changed: a report or one line, never a traceback."""

import json
import shutil
import tomllib

import numpy as np
import pytest

from damage import damaged_arrays, damaged_documents, refusal
from specvit.documents import dump_toml
from specvit.errors import ConfigError
from specvit.report.contents import load_contents
from specvit.report.drawings import drawings
from specvit.report.page import _render
from specvit.report.run_tables import run_tables

OTHERS = (None, -1, 0.5, float("nan"), "seven", [1], {"a": 1})


@pytest.fixture
def copy(run_folder, tmp_path):
    """A copy of a finished run, to be damaged."""
    return shutil.copytree(run_folder.path, tmp_path / "copy")


def refused(folder):
    """Return the one line with which a page is refused; '' if all of it but the figures can be made."""
    message = refusal(lambda: load_contents(folder))
    if not message:
        run = load_contents(folder)
        images = [{**drawing._asdict(), "image": ""} for drawing in drawings(run)]
        tables = run_tables(run)
        assert _render(run, images, tables)
        assert all(table.to_csv() and table.to_latex() for table in tables)
    return message


def test_every_entry_of_the_configuration_is_a_report_or_one_line(copy):
    """The page prints the configuration and quotes no entry of it, so a changed one is printed as it is."""
    path = copy / "config.toml"
    config = tomllib.loads(path.read_text())
    for done, changed in damaged_documents(config, OTHERS):
        try:
            path.write_text(dump_toml(changed))
        except ConfigError:
            continue  # no text of TOML says that
        if done.startswith(("library", "simulate.prior", "config_version")):
            message = refused(copy)
            assert "config.toml" in message or not message, done


@pytest.mark.parametrize(("name", "step"), [("summary.json", 43), ("provenance.json", 11)])
def test_entries_of_a_document_are_a_report_or_one_line(copy, name, step):
    """A sample of them; the steps have no factor in common with the number of things an entry is made."""
    path = copy / name
    for _, changed in list(damaged_documents(json.loads(path.read_text()), OTHERS))[::step]:
        path.write_text(json.dumps(changed))
        message = refused(copy)
        assert name in message or not message or "results" in message or "npz" in message


@pytest.mark.parametrize("name", ["test", "predictions_ridge", "bounds", "posteriors", "cells", "examples"])
def test_every_array_is_a_report_or_one_line(copy, name):
    path = copy / "arrays" / f"{name}.npz"
    with np.load(path) as file:
        arrays = dict(file)
    for done, changed in damaged_arrays(arrays):
        np.savez(path, **changed)
        message = refused(copy)
        assert path.name in message or not message or "predictions" in message, done
