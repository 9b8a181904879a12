"""The main job on a small spectrograph: right numbers, one result however often it is stopped."""

import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import r2_score
from specvit.jobs.networks import other_world

from specvit.errors import ConfigError
from specvit.estimators import make_estimator
from specvit.estimators.network_estimator import NetworkEstimator
from specvit.jobs import Quiet, run_main_job
from specvit.jobs import main_job as job
from specvit.jobs.config import resolve
from specvit.report import write_report
from specvit.runs import Summary
from specvit.simulate import World, endless
from specvit.training import Recipe

SMALL = (
    "instrument.name=gaia_rvs",
    "simulate.train=400",
    "simulate.validation=120",
    "simulate.test=150",
    "models.lightgbm.rounds=20",
    "evaluate.bootstrap=50",
    "limits.bayes_stars=40",
    "run.threads=1",
)


def settings(folder, *more):
    return resolve("smoke", None, [*SMALL, f"run.folder={folder}", *more])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run_main_job(settings(tmp_path_factory.mktemp("runs")))


def test_the_summary_is_what_the_report_reads(finished):
    summary = Summary.model_validate(finished.summary)
    assert set(summary.models) == {"ridge", "lightgbm", "template"}
    assert summary.counts == {"train": 400, "validation": 120, "test": 150}
    assert sum(summary.snr_bins.counts) + summary.snr_bins.outside == 150
    assert write_report(finished.path).stat().st_size > 50_000


def test_scores_are_those_of_the_stored_predictions(finished):
    test, ridge = finished.read_arrays("test"), finished.read_arrays("predictions_ridge")
    truth = test["labels"][:, list(test["label_names"]).index("log_g")]
    score = finished.summary["models"]["ridge"]["overall"]["r2"]
    assert score["value"] == pytest.approx(r2_score(truth, ridge["mean"][:, 0]), abs=1e-12)
    assert score["low"] < score["value"] < score["high"]


def test_ceilings_are_ordered(finished):
    """More free labels cannot help, and the posterior is at least as narrow as its prior on average."""
    ceiling = finished.read_arrays("ceiling")
    assert (ceiling["crlb_5"] >= ceiling["crlb_3"] * (1 - 1e-9)).all()
    assert ((ceiling["schur_5"] > 0) & (ceiling["schur_5"] <= 1)).all()
    assert ceiling["bayes_var"].shape == (40,)
    assert ceiling["bayes_var"].mean() < finished.summary["prior_variance"]
    assert finished.stages["bayes"]["stars"] == 40
    assert finished.summary["ceiling"]["stars"] == 40


def test_efficiency_is_the_ratio_on_the_same_stars(finished):
    test, ridge, ceiling = (finished.read_arrays(n) for n in ("test", "predictions_ridge", "ceiling"))
    truth = test["labels"][:40, list(test["label_names"]).index("log_g")].astype(float)
    top = 1 - ceiling["bayes_var"].mean() / truth.var()
    model = r2_score(truth, ridge["mean"][:40, 0])
    value = finished.summary["models"]["ridge"]["overall"]["efficiency"]["value"]
    assert value == pytest.approx(model / top, rel=1e-6)


def test_a_stopped_run_continues_and_ends_the_same(finished, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(job, "_ceilings", stop)
        with pytest.raises(KeyboardInterrupt):
            run_main_job(settings(tmp_path))
    lines = []
    watch = Quiet()
    monkeypatch.setattr(watch, "say", lines.append)
    run = run_main_job(settings(tmp_path), watch)
    assert "Ridge: done before" in lines
    first, second = (json.loads(json.dumps(r.summary)) for r in (finished, run))
    for summary in (first, second):
        for model in summary["models"].values():
            model.pop("seconds")
    assert first == second
    assert run_main_job(settings(tmp_path)).path == run.path


def test_the_test_set_is_not_used_in_a_fit(finished, tmp_path):
    """Another number of test spectra leaves the fitted estimators, and their predictions, as they were."""
    run = run_main_job(settings(tmp_path, "simulate.test=90", "limits.bayes_stars=0"))
    for name in ("ridge", "lightgbm"):
        np.testing.assert_allclose(
            run.read_arrays(f"predictions_{name}")["mean"],
            finished.read_arrays(f"predictions_{name}")["mean"][:90],
            rtol=0,
            atol=1e-9,
        )


def test_an_unknown_label_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"models\.labels: 'logg' is not a label"):
        run_main_job(settings(tmp_path, 'models.labels=["logg"]'))
    assert not list(tmp_path.iterdir())


def test_a_network_is_trained_in_the_run_and_a_saved_one_is_used_as_it_is(finished, tmp_path):
    """`--set models.names` takes MODEL-SIZE to train one, and a folder for one that is there."""
    more = ("models.networks.steps=20", "limits.bayes_stars=0", 'models.names=["subspace-nano"]')
    run = run_main_job(settings(tmp_path / "one", *more))
    model = run.summary["models"]["subspace-nano"]
    assert model["title"] == "Subspace network (nano)"
    assert model["facts"]["parameters"] > 1e5
    assert model["cost"]["parameters"] == model["facts"]["parameters"]
    assert model["cost"]["train_flops"] > 3 * 20 * 256 * 2 * 1e5
    assert {"coverage_68", "coverage_95"} <= set(model["overall"])
    assert run.stages["test set"]["emulator"] == finished.stages["test set"]["emulator"]
    assert not (run.path / "checkpoints").exists()
    assert run.stages["explain"]["model"] == "subspace-nano"
    shares = run.read_arrays("explain")["share"]
    np.testing.assert_allclose(shares[..., 0].sum(axis=-1), 1.0, atol=1e-6)
    folder = run.path / "models" / "subspace-nano"
    again = run_main_job(settings(tmp_path / "two", *more[:2], f'models.names=["{folder}"]'))
    first, second = (r.read_arrays("predictions_subspace-nano") for r in (run, again))
    np.testing.assert_array_equal(first["mean"], second["mean"])
    np.testing.assert_array_equal(first["quantiles"], second["quantiles"])
    assert write_report(again.path).exists()


def test_a_network_is_told_apart_by_its_world_and_not_by_how_a_bound_is_written(tmp_path):
    bounds = {"teff": (4000.0, 5000.0)}
    world = World(instrument="gaia_rvs", bounds=bounds).build()
    recipe = Recipe(steps=1, batch=64, validations=1)
    model = make_estimator("mlp", "nano", recipe=recipe, options={"width": 8, "depth": 1})
    model.fit(endless(world, 1), world.source("validation", 1, 64)).save(tmp_path / "m")
    saved = NetworkEstimator.load(tmp_path / "m")
    assert other_world(saved, world) == {}
    louder = World(instrument="gaia_rvs", bounds=bounds, noise_level=2.0).build()
    assert other_world(saved, louder) == {"noise_level": "1.0, not 2.0"}


def test_a_network_made_for_other_pixels_is_left_out_and_said_so(tmp_path):
    lines = []
    watch = Quiet()
    watch.say = lines.append
    more = ("limits.bayes_stars=0", 'models.names=["ridge", "subspace"]')
    run = run_main_job(settings(tmp_path, *more), watch)
    assert list(run.summary["models"]) == ["ridge"]
    assert any("Subspace network is left out" in line and "pixels" in line for line in lines)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ('["rigde"]', "did you mean 'ridge'"),
        ('["vit-huge"]', "vit-"),
        ('["a/ridge", "ridge"]', "neither an estimator"),
    ],
)
def test_an_unknown_estimator_is_named_before_any_work(tmp_path, names, said):
    with pytest.raises(ConfigError, match=said):
        run_main_job(settings(tmp_path, f"models.names={names}"))
    assert not list(tmp_path.iterdir())


def test_a_bound_of_no_label_is_named_with_its_key(tmp_path):
    with pytest.raises(ConfigError, match=r"simulate\.bounds: .*tef"):
        run_main_job(settings(tmp_path, "simulate.bounds.tef=[1.0, 2.0]"))


def test_the_command_prints_scores_and_where_the_report_is(tmp_path):
    overrides = [
        part
        for value in (*SMALL, "limits.bayes_stars=8", f"run.folder={tmp_path}")
        for part in ("--set", value)
    ]
    command = [sys.executable, "-m", "specvit", "run", "--scale", "smoke", *overrides]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"report: {tmp_path / 'smoke' / 'report.html'}" in result.stdout
    assert "Bayes ceiling" in result.stderr
    again = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(again.stdout)["summary"]["target"] == "log_g"
