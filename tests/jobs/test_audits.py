"""`specvit audit`: the true noise leaks and is found out; mixtures are scored on the same stars."""

import json
import re

import numpy as np
import pytest
import torch

from specvit.cli import main
from specvit.jobs import experts_audit
from specvit.jobs.experts_audit import audit_experts
from specvit.jobs.leak_audit import audit_leak
from specvit.models.experts import MixtureOfExperts
from specvit.report.experts_tables import routing_table
from specvit.runs.experts_record import read_experts_record
from specvit.simulate import Simulator, World

GAIA = World(instrument="gaia_rvs")
STARS = (500, 150, 400)


def own_features(sigma, mean):
    """The largest ratio of neighbouring pixels: a shape, no level."""
    return (sigma[:, 1:] / sigma[:, :-1]).amax(dim=1, keepdim=True).numpy()


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    """A small mixture of three bins, saved as in a run."""
    simulator = GAIA.build()
    model = MixtureOfExperts(["log_g"], partition="mh", components=4, rebin=8)
    model.fit(simulator.source("train", 3, 900), simulator.source("validation", 3, 200))
    folder = tmp_path_factory.mktemp("run")
    (folder / "models").mkdir()
    model.save(folder / "models" / "moe")
    return folder


def test_the_true_noise_leaks_and_its_scale_does_not():
    world = World(instrument="gaia_rvs", visible_sigma="true")
    raw, scale = audit_leak(["S0-raw", "S2-scale"], world, stars=STARS)
    assert raw.label_r2 > 0.5
    assert not raw.passes
    assert scale.label_r2 < 0.05
    assert scale.snr_r2 > 0.9
    assert scale.passes


def test_the_noise_a_pipeline_knows_does_not_leak():
    assert all(one.passes for one in audit_leak(["S0-raw", "S3b-aggregates", "S4-norm"], GAIA, stars=STARS))


def test_an_estimator_is_asked_what_it_makes_of_the_noise_alone(mixture, monkeypatch):
    whole = MixtureOfExperts.predict_routed
    asked = []

    def predict(self, flux, sigma, *more):
        asked.append(flux)
        return whole(self, flux, sigma, *more)

    monkeypatch.setattr(MixtureOfExperts, "predict_routed", predict)
    (found,) = audit_leak([str(mixture / "models" / "moe")], None, stars=STARS)
    flux = torch.cat([torch.as_tensor(part) for part in asked])
    # One spectrum for all stars.
    assert float((flux - flux[:1]).abs().max()) == 0
    assert found.label_r2 < 0.05
    assert found.features == 2


def test_an_estimator_that_reads_the_true_noise_is_found_out(monkeypatch):
    import specvit.jobs.leak_audit as audit

    class Reader:
        def predict(self, flux, sigma):
            from specvit.models import Prediction

            return Prediction(
                (sigma / sigma.mean(dim=1, keepdim=True))[:, ::40].double(),
                None,
                tuple("abcdefghijklmnopqrstuvwxyz"[:25]),
            )

    monkeypatch.setattr(
        audit, "_features_of", lambda name: lambda spectra, mean: audit._said_by(Reader(), spectra)
    )
    (found,) = audit_leak(["reader"], World(instrument="gaia_rvs", visible_sigma="true"), stars=STARS)
    assert found.label_r2 > 0.3


def test_features_of_one_s_own_are_audited(capsys):
    assert (
        main(
            [
                "audit",
                "leak",
                "test_audits:own_features",
                "--instrument",
                "gaia_rvs",
                "--stars",
                "400",
                "--json",
            ]
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["scores"][0]["features"] == 1
    assert told["scores"][0]["label_r2"] < 0.05
    assert told["scores"][0]["passes"] is (told["scores"][0]["snr_r2"] > 0.5)


@pytest.mark.parametrize(
    ("name", "told"), [("os:getcwd", "is called with sigma"), ("test_audits:flat", "expected (200, F)")]
)
def test_features_that_are_none_are_the_user_s_to_mend(capsys, name, told):
    assert main(["audit", "leak", name, "--instrument", "gaia_rvs", "--stars", "200"]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert name in error
    assert "bug in specvit" not in error


def flat(sigma, mean):
    """Features without an axis of their own."""
    return sigma[:, 0]


def test_what_is_nothing_to_audit_is_one_line(capsys, tmp_path):
    assert main(["audit", "leak", "S9"]) != 0
    assert "no strategy" in capsys.readouterr().err
    assert main(["audit", "leak", "--label", "zeta", "--instrument", "gaia_rvs", "--stars", "200"]) != 0
    assert "--label" in capsys.readouterr().err
    assert main(["audit", "experts", str(tmp_path)]) != 0
    assert "neither a saved mixture" in capsys.readouterr().err


def test_experts_are_scored_on_the_same_stars(mixture, capsys):
    command = ["audit", "experts", str(mixture), "--stars", "400", "--posteriors", "25", "--json"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    place = mixture / "experts"
    record = read_experts_record(place / "experts.json")
    assert record.model_dump(mode="json") == told
    assert {path.name for path in place.iterdir()} >= {
        "routings.csv",
        "routings.png",
        "coverage.pdf",
        "gate.png",
    }
    # By hand, from the model and the stars.
    simulator = Simulator.build("gaia_rvs")
    source = simulator.source("test", 42, 400)
    batch = next(source.batches(400))
    labels = dict(zip(simulator.prior.label_space.names, batch.labels.T, strict=True))
    model = MixtureOfExperts.load(mixture / "models" / "moe")
    covered = (labels["m_h"] >= -2) & (labels["m_h"] <= 0.5)
    assert record.coverage == pytest.approx(float(covered.double().mean()))
    for routing in ("global", "soft", "oracle"):
        found = model.predict_routed(batch.flux, batch.sigma, routing, labels).mean[:, 0]
        for part, rows in (("all", torch.ones_like(covered)), ("covered", covered)):
            y, z = labels["log_g"][rows].double(), found[rows]
            expected = float(1 - (y - z).square().mean() / y.var(unbiased=False))
            assert getattr(record.routings[routing], part).value == pytest.approx(expected, abs=1e-6)
    assert record.routings["oracle"].expected is None
    assert record.routings["soft"].expected.value <= record.ceiling.value
    assert sum(map(sum, record.confusion)) == sum(one.stars for one in record.bins.values()) == 400
    assert sum(map(sum, record.map.stars)) == 400
    assert np.trace(record.confusion) / 400 == pytest.approx(record.accuracy)


def with_answers(monkeypatch, change):
    """Let the audit see other estimates than the model's."""
    whole = experts_audit._answers

    def answers(model, test, *more):
        found = whole(model, test, *more)
        found.estimates.update(change(found.estimates, test.table.truth("log_g")))
        return found

    monkeypatch.setattr(experts_audit, "_answers", answers)


def test_a_routing_above_its_oracle_is_explained_or_flagged(mixture, monkeypatch):
    model = MixtureOfExperts.load(mixture / "models" / "moe")
    with_answers(monkeypatch, lambda found, truth: {"soft": 0.5 * (found["oracle"] + truth)})
    assert (
        "averages the noise"
        in audit_experts(model, "log_g", 300, resamples=100).routings["soft"].above_oracle
    )
    with_answers(monkeypatch, lambda found, truth: {"hard": 0.5 * (found["oracle"] + truth)})
    assert (
        audit_experts(model, "log_g", 300, resamples=100).routings["hard"].above_oracle.startswith("flagged")
    )
    # All of them are better than experts that are of no use, by what they ask instead of these.
    with_answers(monkeypatch, lambda found, truth: {"oracle": truth.mean() + 0 * truth})
    record = audit_experts(model, "log_g", 300, resamples=100)
    assert "asks that model" in record.routings["fallback"].above_oracle
    assert "asking the right one is no merit" in record.routings["soft"].above_oracle
    assert "worse than the model of all spectra" in routing_table(record).caption


def test_shares_of_a_gain_that_is_none_are_not_stated(mixture, monkeypatch):
    model = MixtureOfExperts.load(mixture / "models" / "moe")
    with_answers(monkeypatch, lambda found, truth: {"oracle": found["global"]})
    record = audit_experts(model, "log_g", 300, resamples=100)
    assert not record.oracle_is_worth
    assert all(one.kept is None for one in record.routings.values())
    table = routing_table(record)
    assert "not defined" in [cell for row in table.rows for cell in row]
    assert re.search(r"not told from zero", table.caption)


def test_too_few_stars_for_an_audit_of_leaks_are_refused_as_they_were_given(capsys):
    for stars in (3, 99):
        assert main(["audit", "leak", "--stars", str(stars)]) == 2
        assert f"--stars: expected at least 100, got {stars}" in capsys.readouterr().err
