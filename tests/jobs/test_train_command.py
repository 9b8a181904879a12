"""`specvit train` from the command line: a run folder, a model, a score; and the same again for nothing."""

import json

import pytest
import typer
from typer.testing import CliRunner

from reference_dataset import PIXELS, write_shard
from small_surveys import settings
from specvit.cli import main
from specvit.cli.train import parse_settings, train
from specvit.errors import ConfigError
from specvit.estimators import load_estimator
from specvit.jobs import run_survey
from specvit.runs import RunFolder, read_summary


def call(*arguments):
    app = typer.Typer()
    app.command()(train)
    return CliRunner().invoke(app, list(arguments))


def test_train_leaves_a_model_a_log_scores_and_a_report_and_does_not_repeat_itself(tmp_path, monkeypatch):
    monkeypatch.setattr("specvit.training.starts.SAMPLE", 384)
    options = (
        "--model subspace --steps 30 --validation 128 --test 128 "
        "--set batch=64 --set width=32 --set depth=1 --set head=gaussian"
    )
    command = [*options.split(), "--device", "cpu", "--out", str(tmp_path / "run"), "--json"]
    result = call(*command)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    run = RunFolder.open(tmp_path / "run")
    summary = read_summary(run)
    assert run.finished
    assert told["summary"] == run.summary
    assert summary.job == "training"
    assert summary.score("subspace-small", "r2", "teff").value > 0.3
    assert summary.estimators["subspace-small"].cost["train_spectra"] == 30 * 64
    assert (run.path / "report.html").stat().st_size > 50_000
    assert [r["event"] for r in run.read_log()].count("validation") >= 10
    assert not (run.path / "checkpoints").exists()
    model = load_estimator(run.path / summary.model)
    assert str(run.path / summary.model) == told["model"]
    assert model.network.config.backbone.width == 32
    assert model.metrics["teff"]["r2"] == pytest.approx(summary.score("subspace-small", "r2", "teff").value)
    assert model.origin.training.snr[0] < 2
    assert model.origin.training.snr[1] > 300
    assert model.by_true_label == summary.by_true_label["subspace-small"]
    assert sum(one.spectra for one in model.by_true_label["log_g"]) == 128
    assert "biased inwards" in (run.path / "report.html").read_text()
    log = (run.path / "metrics.jsonl").read_bytes()
    assert json.loads(call(*command).stdout) == told
    assert (run.path / "metrics.jsonl").read_bytes() == log


def test_a_trained_network_is_reported_on_and_used_by_its_folder(tmp_path):
    """`specvit report` takes the folder of a training, and so does a run the network in it."""
    options = "--model mlp --steps 4 --validation 40 --test 60 --instrument gaia_rvs --device cpu"
    options += " --set batch=32 --set width=16 --set depth=1"
    assert call(*options.split(), "--out", str(tmp_path / "run")).exit_code == 0
    assert main(["report", str(tmp_path / "run")]) == 0
    model = tmp_path / "run" / "models" / "mlp-nano"
    run = run_survey(settings(tmp_path / "runs", f'models.names=["{model}"]', "limits.bayes_stars=0"))
    assert list(read_summary(run).estimators) == ["mlp-nano"]


def test_the_reference_works_files_train_a_network_as_they_are(tmp_path):
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
    summary = read_summary(RunFolder.open(tmp_path / "run"))
    # One line of the spectra tells log g; the noise lets it through.
    assert summary.score("mlp-nano", "r2", "log_g").value > 0.3
    assert "train_0.h5" in summary.setting["Stored spectra"]
    assert load_estimator(tmp_path / "run/models/mlp-nano").grid.size == PIXELS


def test_the_reference_works_files_need_their_own_validation_set(tmp_path):
    result = call("--data", "train/dataset.h5", "--out", str(tmp_path / "run"))
    assert isinstance(result.exception, ConfigError)
    assert "validation and test spectra too" in str(result.exception)


@pytest.mark.parametrize("arguments", [["--model", "resnet"], ["--set", "patsh=3"], ["--size", "huge"]])
def test_requests_that_cannot_be_meant_touch_nothing(tmp_path, arguments):
    result = call(*arguments, "--out", str(tmp_path / "run"))
    assert isinstance(result.exception, ConfigError)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("device", ["cudaa", "meta", "cuda:99", "cpu:0:1"])
def test_a_device_that_is_not_there_is_a_usage_error(tmp_path, capsys, device):
    assert main(["train", "--device", device, "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: --device {device}: cannot be used here (")
    assert told.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--minutes 5 --steps 3", "--minutes, --steps: both are lengths of the training"),
        ("--steps 2 --minutes -5", "--minutes, --steps: both are lengths of the training"),
        ("--minutes 0", "--minutes: expected more than 0, got 0.0"),
        ("--steps -2", "--steps: expected 0 or more, got -2"),
        ("--labels log_g,logg", "--labels: 'logg' is not a label of the library (teff, log_g, "),
        ("--steps 2 --spectra 1", "--spectra: "),
    ],
)
def test_options_that_cannot_be_meant_leave_no_folder(tmp_path, capsys, options, told):
    assert main(["train", *options.split(), "--out", str(tmp_path / "run")]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {told}")
    assert shown.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_the_help_states_the_length_and_folder_that_are_taken(capsys):
    assert main(["train", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "without --steps 5 by default" in shown
    assert "[default: 0.0]" not in shown
    assert "runs/train-MODEL, with -SIZE if --size is given" in shown


def test_settings_are_name_value():
    assert parse_settings(["lr=1e-3", "channels=flux,sigma", "loss="]) == {
        "lr": "1e-3", "channels": "flux,sigma", "loss": ""
    }  # fmt: skip
    with pytest.raises(ConfigError, match="NAME=VALUE"):
        parse_settings(["lr"])
