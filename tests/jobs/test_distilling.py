"""`specvit distil`: students of a network and of the posterior, beside the same ones on labels; kept and read back."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from specvit.cli import main
from specvit.errors import ConfigError
from specvit.estimators import NetworkEstimator, network_config
from specvit.jobs import distilling
from specvit.jobs.distilling import DistilPlan, distil, parse_student, smallest
from specvit.jobs.judged_stars import Judge
from specvit.jobs.learning import scores_over_seeds
from specvit.models import Origin, build_network
from specvit.runs import Score
from specvit.runs.learning_record import LearningRow
from specvit.simulate import World
from specvit.spectra import LOW_T_BOX
from specvit.training.distillation import ERROR

SMALL = World(instrument="gaia_rvs")
STUDENT = "mlp-nano:width=8,depth=1,head=gaussian"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    simulator = SMALL.build()
    sample = simulator.source("train", 3, 100, truth=True).draw(0, 100)
    torch.manual_seed(0)
    config = network_config("subspace").with_options(
        {"components": 8, "patterns": 2, "width": 16, "depth": 1}
    )
    built = build_network(config, simulator.grid, LOW_T_BOX.select(["log_g", "teff"]))
    built.front.fit(sample.truth.flux, sample.flux, sample.sigma)
    folder = tmp_path_factory.mktemp("teacher") / "tiny"
    NetworkEstimator("tiny").adopt(built, Origin(simulator.grid, LOW_T_BOX)).save(folder)
    return folder


def plan(tmp_path, **changes):
    given = {
        "students": (STUDENT,),
        "labels": ("teff",),
        "updates": 6,
        "batch": 16,
        "test": 40,
        "posteriors": 0,
        "seeds": 1,
    }
    return DistilPlan(**{**given, "validation": 40, "runs": tmp_path / "runs", **changes})


def test_students_are_trained_beside_controls_and_read_back(teacher, tmp_path, monkeypatch):
    model = NetworkEstimator.load(teacher)
    record = distil(model, str(teacher), SMALL, plan(tmp_path), tmp_path / "out")
    assert [(row.name, row.how) for row in record.rows] == [
        ("tiny", "teacher"), (STUDENT, "tiny"), (STUDENT, "labels"),
    ]  # fmt: skip
    # The teacher was not trained: its score is not told from zero, and nothing is a share of that.
    assert record.rows[0].ratio is None
    assert {row.seeds for row in record.rows} == {1}
    assert record.rows[1].r2.value != record.rows[2].r2.value
    kept = sorted(path.name for path in (tmp_path / "out" / "models").iterdir())
    assert len(kept) == 2
    taught = [NetworkEstimator.load(tmp_path / "out" / "models" / name).origin.training for name in kept]
    assert sorted(one.facts.get("teacher", "") for one in taught) == ["", model.described]

    def never(*arguments, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr("specvit.estimators.network_fitter.Trainer", never)
    again = distil(model, str(teacher), SMALL, plan(tmp_path), tmp_path / "out")
    assert [row.r2 for row in again.rows] == [row.r2 for row in record.rows]


def test_the_posterior_states_what_students_learn(tmp_path, monkeypatch):
    source = distilling.taught_sources(None, SMALL, plan(tmp_path, spectra=12), distilling.Quiet())
    batch = source.draw(0, len(source))
    truth = SMALL.build().source("train", 42, 12).draw(0, 12).labels
    error = batch.conditions[ERROR + "teff"]
    assert bool((error > 0).all())
    teff = LOW_T_BOX.index("teff")
    # The mean of a posterior is not the label drawn, but as near as its error says.
    pull = ((batch.labels[:, teff] - truth[: len(batch), teff]) / error).abs()
    assert 0 < float(pull.median()) < 3
    # Labels that are not asked for stay as they were drawn.
    assert torch.equal(batch.labels[:, 1], truth[: len(batch), 1])
    monkeypatch.setattr(distilling, "sample_posteriors", None)
    again = distilling.taught_sources(None, SMALL, plan(tmp_path, spectra=12), distilling.Quiet())
    assert torch.equal(again.draw(0, len(again)).labels, batch.labels)
    with pytest.raises(ConfigError, match="--spectra"):
        distil(None, "posterior", SMALL, plan(tmp_path), tmp_path / "out")


def test_scores_have_intervals_over_seeds_and_ratios_are_paired():
    rng = np.random.default_rng(0)
    mean = rng.normal(0, 1, 3000)
    variance = rng.uniform(0.05, 0.45, 3000)
    judge = Judge(mean + variance**0.5 * rng.normal(0, 1, 3000), mean, variance, np.ones(3000, bool), 0)
    good, poor = mean, 0.8 * mean
    seeds = np.stack([good, good])
    r2, share, ratio = scores_over_seeds(judge, seeds, poor)
    assert share.value == pytest.approx(1)
    assert ratio.value > 1
    assert ratio.low > 1
    assert r2.value == pytest.approx(judge.ceiling().value, abs=1e-6)
    # Paired: the interval of a ratio is far narrower than that of the scores.
    assert ratio.high - ratio.low < (r2.high - r2.low) / r2.value
    scattered = scores_over_seeds(judge, np.stack([good, poor]), None)[0]
    assert scattered.high - scattered.low > 2 * (r2.high - r2.low)


def test_there_is_no_ratio_to_a_score_that_may_be_nothing():
    rng = np.random.default_rng(1)
    mean = rng.normal(0, 1, 300)
    judge = Judge(mean, mean, np.full(300, 0.1), np.ones(300, bool), 0)
    nothing = np.full(300, mean.mean()) + 0.1 * rng.normal(0, 1, 300)
    assert scores_over_seeds(judge, np.stack([mean, mean]), nothing)[2] is None
    assert scores_over_seeds(judge, np.stack([mean, mean]), 0.9 * mean)[2].value > 1


def row(parameters, share, name="a"):
    score = Score(value=share)
    return LearningRow(
        name=name, how="t", spectra=0, seeds=1, updates=1, parameters=parameters, flops=1, speed=1,
        label="log_g", r2=score, share=score, ratio=None,
    )  # fmt: skip


def test_the_smallest_that_keeps_enough_is_named():
    rows = [row(100, 0.98, "large"), row(10, 0.975, "small"), row(1, 0.9, "tiny")]
    assert smallest(rows, "log_g", 0.97) == "small (t)"
    assert smallest(rows, "log_g", 0.99) == ""


def test_students_are_parsed_and_refused():
    assert parse_student(STUDENT)[1:] == ("mlp", "nano", {"width": "8", "depth": "1", "head": "gaussian"})
    for wrong, told in {
        "mpl-nano": "mlp",
        "mlp-huge": "nano",
        "mlp-nano:width": "OPTION=VALUE",
        "mlp:widht=3": "width",
    }.items():
        with pytest.raises(ConfigError, match=told):
            parse_student(wrong)


def test_the_command_writes_its_files(tmp_path, capsys):
    command = [
        "distil",
        "subspace",
        "--students",
        "subspace-nano:width=8;depth=1",
        "--updates",
        "3",
        "--seeds",
        "1",
    ]
    sizes = ["--test", "40", "--posteriors", "0", "--no-controls", "--out", str(tmp_path / "d"), "--json"]
    assert main([*command, *sizes]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["how"] for row in told["rows"]] == ["teacher", "subspace"]
    assert {p.name for p in Path(tmp_path / "d").iterdir()} >= {
        "distil.json",
        "distil.csv",
        "students-log_g.png",
    }
    assert main([*command, *sizes[:-1]]) == 0
    assert "not known without --posteriors" in capsys.readouterr().out
    assert main(["distil", "nobody"]) == 1
    assert "comes with specvit" in capsys.readouterr().err


def test_what_cannot_be_is_refused_before_anything_is_sampled(teacher, tmp_path, monkeypatch):
    def never(*arguments, **options):
        raise AssertionError("sampled first")

    monkeypatch.setattr("specvit.jobs.distilling.judged_stars", never)
    model = NetworkEstimator.load(teacher)
    for changes, told in (
        ({"students": (STUDENT, STUDENT)}, "named twice"),
        ({"options": (("teach", "bogus"),)}, "bogus"),
        ({"options": (("teacher_sigma", "bogus"),)}, "bogus"),
        ({"options": (("teacher_noise", 0.0),)}, "teacher_noise"),
    ):
        with pytest.raises(ConfigError, match=told):
            distil(model, str(teacher), SMALL, replace(plan(tmp_path), **changes), tmp_path / "out")


def test_a_teacher_of_other_weights_is_another_training(teacher, tmp_path):
    """Trials and students are found again by the content of what they learn from, not by its name."""
    from specvit.jobs.survey import learnt_from

    assert learnt_from({"start": "random", "teacher": "", "width": 3}) == {}
    before = learnt_from({"teacher": str(teacher), "start": "auto"})
    assert before.keys() == {"teacher"}
    model = NetworkEstimator.load(teacher)
    with torch.no_grad():
        model.network.body.head.linear.bias.add_(1.0)
    model.save(tmp_path / "other")
    assert learnt_from({"teacher": str(tmp_path / "other")}) != before
