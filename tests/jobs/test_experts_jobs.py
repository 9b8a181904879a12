"""Mixtures of experts in jobs: trained by command, fitted in a survey, and told true labels only as an oracle."""

import json

import numpy as np
import pytest

from small_surveys import settings
from specvit.cli import main
from specvit.errors import ConfigError
from specvit.jobs import run_survey
from specvit.jobs.config.training import training_config
from specvit.jobs.config.trial import trial_config
from specvit.jobs.stages import fit as fit_stage
from specvit.jobs.training import FIXED_STARS, chosen, open_sources
from specvit.jobs.trial import prepare_trial, run_trial
from specvit.models.experts import MixtureOfExperts
from specvit.runs import Estimates, StarTable, read_summary

SMALL = {"partition": "mh", "components": 3, "rebin": 16, "alphas": [1.0, 100.0]}


def trial(**options):
    return prepare_trial(
        trial_config(
            {
                "instrument": {"name": "gaia_rvs"},
                "simulate": {"seed": 3, "train": 500, "validation": 120},
                "estimator": {"name": "moe", "options": {**SMALL, **options}},
                "test": {"stars": 200},
                "run": {"threads": 1},
            },
            "test",
        )
    )


def estimates(found, folder):
    run = run_trial(found, folder)
    return found.estimates(run).of("log_g"), StarTable.read(run).truth("log_g")


def test_an_oracle_is_told_the_truth_and_nobody_else(tmp_path, monkeypatch):
    told = []
    whole = MixtureOfExperts.predict_knowing
    monkeypatch.setattr(
        MixtureOfExperts, "predict_knowing", lambda self, *more: told.append(more[2]) or whole(self, *more)
    )
    soft, truth = estimates(trial(), tmp_path / "soft")
    assert told == []
    oracle, same = estimates(trial(routing="oracle"), tmp_path / "oracle")
    np.testing.assert_array_equal(same, truth)
    assert [set(labels) >= {"m_h", "log_g"} for labels in told] == [True]
    assert not np.array_equal(soft, oracle)
    np.testing.assert_array_equal(told[0]["log_g"].numpy(), truth.astype(np.float32))


def test_an_estimator_that_needs_no_labels_is_given_none(monkeypatch):
    class Told:
        is_informed = False

        def predict(self, flux, sigma):
            return "without"

        def predict_knowing(self, flux, sigma, labels):
            return "with"

    class Piece:
        flux = sigma = None

    assert fit_stage._answer(Told(), Piece(), ()) == "without"


def test_a_training_is_one_command(tmp_path, capsys):
    command = ["train", "--model", "moe", "--instrument", "gaia_rvs", "--spectra", "400", "--labels", "log_g"]
    stars = [
        "--validation",
        "100",
        "--test",
        "150",
        "--threads",
        "1",
        "--out",
        str(tmp_path / "run"),
        "--json",
    ]
    options = [
        f"--set={name}={value}"
        for name, value in (("partition", "mh"), ("features", "ca,pca"), ("alphas", "1,100"))
    ]
    assert main([*command, *stars, *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"].endswith("models/moe")
    model = MixtureOfExperts.load(tmp_path / "run" / "models" / "moe")
    assert model.options.features == ("ca", "pca")
    assert model.origin.training.train_spectra == 400
    # The survey's own stars: experts do not learn to be wider than they are.
    assert model.origin.training.world["widening"] is None
    assert read_summary_r2(told) > 0.3


def read_summary_r2(told):
    return told["summary"]["scores"]["moe"]["log_g"]["all"]["r2"]["value"]


def test_without_a_number_of_spectra_a_fixed_set_is_drawn():
    config = training_config({"instrument": {"name": "gaia_rvs"}, "network": {"model": "moe"}})
    choice, _ = chosen(config)
    assert len(open_sources(config, FIXED_STARS).train) == FIXED_STARS
    assert not choice.spec.draws_spectra


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ({"model": "moo"}, "did you mean 'moe'"),
        ({"model": "template"}, "not known"),
        ({"model": "moe", "size": "nano"}, "has no sizes"),
        ({"model": "moe", "options": {"gaet": "mlp"}}, "did you mean 'gate'"),
    ],
)
def test_what_cannot_be_trained_is_one_line(network, told):
    with pytest.raises(ConfigError, match=told):
        chosen(training_config({"network": network}))


def test_a_survey_fits_experts_beside_others(tmp_path):
    names = 'models.names=["ridge", "moe"]'
    options = 'models.options.moe={ partition = "mh", rebin = 8, components = 3 }'
    run = run_survey(settings(tmp_path, names, options, "limits.bayes_stars=0", "limits.ceiling_stars=3"))
    summary = read_summary(run)
    assert summary.estimating("log_g") == ["ridge", "moe"]
    assert "coverage_68" in summary.scores["moe"]["log_g"]["all"]
    assert summary.estimators["moe"].facts["log_g"]["experts"] == 3
    kept = Estimates.read(run, "moe")
    assert kept.quantiles.shape == (150, 1, 5)
