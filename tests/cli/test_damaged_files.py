"""A sample of damaged files through the command line: exit code 1 or 2, one line, no traceback."""

import json
import shutil

import h5py
import numpy as np
import pytest

from damage import copied, reseal
from specvit.cli import main
from specvit.estimators.pretrained import FOLDER
from specvit.library import Emulator


def told(capsys, *arguments):
    """Return the one line of a command that fails."""
    code = main([str(argument) for argument in arguments])
    output = capsys.readouterr().err
    lines = [line for line in output.splitlines() if line.startswith("error: ")]
    assert code in (1, 2)
    assert "Traceback" not in output
    assert "this is a bug" not in output
    assert len(lines) == 1, output
    return lines[0]


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("settings", {}),
        ("label_space", None),
        ("grid", {"medium": "air"}),
        ("training", {"train": 3}),
        ("lsf", [1]),
    ],
)
def test_a_damaged_network(tmp_path, capsys, entry, value):
    manifest = copied(FOLDER / "vit", tmp_path / "m")
    reseal(tmp_path / "m", {**manifest, entry: value}, {})
    assert entry in told(capsys, "explain", tmp_path / "m", "--stars", "2")


@pytest.mark.parametrize("entry", ["regressor", "label_space", "resolution"])
def test_a_damaged_emulator(tmp_path, capsys, monkeypatch, entry):
    path = tmp_path / "e.safetensors"
    emulator = Emulator.builtin()
    monkeypatch.setattr(
        "specvit.library.emulator.write_emulator_file",
        lambda path, tensors, metadata, compact: write(
            path, tensors, {**metadata, entry: {"components": 7}}, compact
        ),
    )
    from specvit.library.emulator_file import write_emulator_file as write

    emulator.save(path)
    message = told(capsys, "simulate", "--library", path, "--spectra", "10", "--out", tmp_path / "out")
    assert entry in message


def test_a_damaged_library(tmp_path, capsys):
    with h5py.File(tmp_path / "l.h5", "w") as file:
        file.attrs["format"], file.attrs["metadata"] = "specvit-library-1", json.dumps({"medium": "vacuum"})
    assert "resolution" in told(capsys, "library", "info", tmp_path / "l.h5")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """What is left of a run: its configuration, provenance and an array file."""
    from specvit.jobs.config import resolve
    from specvit.runs import RunFolder

    run = RunFolder.create(tmp_path_factory.mktemp("runs"), "demo", resolve("smoke", None, []).to_dict())
    run.write_arrays("test", snr=np.ones(3))
    run.write_summary({"target": "log_g"})
    return run.path


@pytest.mark.parametrize(
    ("file", "text", "named"),
    [
        ("config.toml", "x =", "config.toml"),
        ("provenance.json", "{}", "'fingerprint'"),
        ("provenance.json", "NaN", "provenance.json"),
        ("summary.json", '{"target": 3}', "summary.json"),
        ("summary.json", "[]", "summary.json"),
    ],
)
def test_a_damaged_run(run_folder, tmp_path, capsys, file, text, named):
    shutil.copytree(run_folder, tmp_path / "demo")
    (tmp_path / "demo" / file).write_text(text)
    assert named in told(capsys, "report", tmp_path / "demo")
