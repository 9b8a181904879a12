"""`specvit train --model unet-denoiser`: a run folder, a denoiser that is read back, its scores; refusals by name."""

import json
import shutil

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from specvit.cli.train import train
from specvit.denoise.learned import LearnedDenoiser
from specvit.errors import DataError
from specvit.jobs.denoiser_training import score_flux
from specvit.report import write_report
from specvit.runs import DenoisedExamples, RunFolder
from specvit.simulate import Simulator

SMALL = (
    "--validation 40 --test 60 --instrument gaia_rvs --device cpu --set batch=32 --set width=8 --set linear=8"
)


def call(*arguments):
    app = typer.Typer()
    app.command()(train)
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    command = ["--model", "unet-denoiser", "--steps", "40", *SMALL.split(), "--out", str(folder), "--json"]
    result = call(*command)
    assert result.exit_code == 0, result.output
    return folder, command, json.loads(result.stdout)


def test_a_denoiser_is_trained_scored_and_kept_and_not_trained_again(trained):
    folder, command, told = trained
    run = RunFolder.open(folder)
    assert run.finished
    assert told["scores"]["all"]["mse_ratio"] < 0.3
    assert not (folder / "checkpoints").exists()
    events = [r for r in run.read_log() if r["event"] == "validation"]
    assert set(events[-1]["monitored"]) == {"raw", "average"}
    log = (folder / "metrics.jsonl").read_bytes()
    assert json.loads(call(*command).stdout) == told
    assert (folder / "metrics.jsonl").read_bytes() == log


def test_its_scores_are_those_of_the_saved_denoiser_on_test_stars(trained):
    folder, _, told = trained
    denoiser = LearnedDenoiser.load(folder / "models" / "unet-denoiser")
    stars = Simulator.build(instrument="gaia_rvs").draw("test", 42, 0, 60)
    found = score_flux(denoiser, stars)
    assert found["all"]["mse"] == pytest.approx(told["scores"]["all"]["mse"], rel=1e-5)
    answer = denoiser.denoise(stars.flux, stars.sigma).mean
    live = torch.isfinite(stars.sigma)
    ratio = (answer - stars.truth.flux)[live].square().mean() / (stars.flux - stars.truth.flux)[
        live
    ].square().mean()
    assert found["all"]["mse_ratio"] == pytest.approx(float(ratio), rel=1e-5)
    assert denoiser.metrics["mse_ratio, all"] == pytest.approx(float(ratio), rel=1e-5)
    assert "mse_ratio, all" in (folder / "models" / "unet-denoiser" / "card.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--model unet-denoiser --set objectve=clean", "objective"),
        ("--model unet-denoiser --set objective=basis", "basis-denoiser"),
        ("--model basis-denoiser --set objective=clean", "basis"),
        ("--model unet-denoiser --labels log_g", "estimates no labels"),
        ("--model unet-denoiser --size huge", "nano, small, base"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(arguments, words, tmp_path):
    result = call(*arguments.split(), *SMALL.split(), "--steps", "2", "--out", str(tmp_path / "run"))
    assert result.exit_code != 0
    assert words in str(result.exception)


def test_the_report_holds_its_scores_three_stars_and_the_loss(trained):
    folder, _, told = trained
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert told["report"] == str(folder / "report.html")
    assert page.count("data:image/png") + page.count("data:image/svg") == 4
    for place, scores in told["scores"].items():
        assert f"<td>{place}</td><td>{scores['mse']:.3g}</td>" in page
    examples = DenoisedExamples.read(RunFolder.open(folder))
    assert (np.diff(examples.snr) > 0).all()
    error = [np.square(flux - examples.clean).mean() for flux in (examples.flux, examples.mean)]
    assert error[1] < 0.5 * error[0]


def test_the_report_is_made_again_from_the_run_alone(trained):
    folder, _, _ = trained
    before = (folder / "report.html").read_text(encoding="utf-8")
    (folder / "report.html").unlink()
    assert write_report(folder) == folder / "report.html"
    assert (folder / "report.html").read_text(encoding="utf-8") == before


def test_a_run_without_scores_is_refused_by_name(trained, tmp_path):
    shutil.copytree(trained[0], tmp_path / "run")
    provenance = json.loads((tmp_path / "run" / "provenance.json").read_text())
    provenance["stages"] = {}
    (tmp_path / "run" / "provenance.json").write_text(json.dumps(provenance))
    with pytest.raises(DataError, match="holds no scores"):
        write_report(tmp_path / "run")
