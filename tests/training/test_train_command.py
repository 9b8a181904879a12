"""`specvit train` from the command line: a run folder, a model, a score; and the same again for nothing."""

import json

import pytest
import typer
from typer.testing import CliRunner

from reference_dataset import PIXELS, write_shard
from specvit.cli.train import parse_settings, train
from specvit.errors import ConfigError
from specvit.estimators.network_estimator import NetworkEstimator
from specvit.runs import RunFolder


def call(*arguments):
    app = typer.Typer()
    app.command()(train)
    return CliRunner().invoke(app, list(arguments))


def test_train_leaves_a_model_a_log_and_a_score_and_does_not_repeat_itself(tmp_path, monkeypatch):
    monkeypatch.setattr("specvit.training.starts.SAMPLE", 384)
    options = (
        "--model subspace --steps 30 --validation 128 --test 128 "
        "--set batch=64 --set width=32 --set depth=1 --set head=gaussian"
    )
    command = [*options.split(), "--device", "cpu", "--out", str(tmp_path / "run"), "--json"]
    result = call(*command)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    run = RunFolder.open(tmp_path / "run")
    assert run.finished
    assert summary["training"]["steps"] == 30
    assert summary["test"]["teff"]["r2"] > 0.3
    assert [r["event"] for r in run.read_log()].count("validation") >= 10
    assert not (run.path / "checkpoint.pt").exists()
    model = NetworkEstimator.load(run.path / "models" / "subspace-small")
    assert model.network.config.backbone.width == 32
    log = (run.path / "metrics.jsonl").read_bytes()
    # Relative to the folder, so that a run that was moved still finds it.
    assert (run.summary["model"], summary["model"]) == (
        "models/subspace-small",
        f"{run.path}/models/subspace-small",
    )
    assert json.loads(call(*command).stdout) == summary
    assert (run.path / "metrics.jsonl").read_bytes() == log


def test_the_reference_works_files_train_a_network_as_they_are(tmp_path):
    pytest.importorskip("tables")
    for name, count in (("train_0", 200), ("train_1", 150), ("val", 100), ("test", 120)):
        write_shard(tmp_path / f"{name}.h5", count, seed=len(name))
    stored = [
        *("--data", str(tmp_path / "train_0.h5"), "--data", str(tmp_path / "train_1.h5")),
        *("--validation-data", str(tmp_path / "val.h5"), "--test-data", str(tmp_path / "test.h5")),
    ]
    options = (
        "--model mlp --steps 150 --set batch=64 --set width=32 --set depth=1 --labels log_g --device cpu"
    )
    result = call(*options.split(), *stored, "--out", str(tmp_path / "run"), "--json")
    assert result.exit_code == 0, result.output
    # One line of the spectra tells log g; the noise lets it through.
    assert json.loads(result.stdout)["test"]["log_g"]["r2"] > 0.3
    assert NetworkEstimator.load(tmp_path / "run/models/mlp-nano").grid.size == PIXELS


def test_the_reference_works_files_need_their_own_validation_set(tmp_path):
    result = call("--data", "train/dataset.h5", "--out", str(tmp_path / "run"))
    assert isinstance(result.exception, ConfigError)
    assert "--validation-data" in str(result.exception)


@pytest.mark.parametrize("arguments", [["--model", "resnet"], ["--set", "patsh=3"], ["--size", "huge"]])
def test_requests_that_cannot_be_meant_touch_nothing(tmp_path, arguments):
    result = call(*arguments, "--out", str(tmp_path / "run"))
    assert isinstance(result.exception, ConfigError)
    assert not (tmp_path / "run").exists()


def test_settings_are_name_value():
    assert parse_settings(["lr=1e-3", "channels=flux,sigma", "loss="]) == {
        "lr": "1e-3", "channels": "flux,sigma", "loss": ""
    }  # fmt: skip
    with pytest.raises(ConfigError, match="NAME=VALUE"):
        parse_settings(["lr"])
