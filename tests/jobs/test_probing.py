"""`specvit probe`: scores are of the stars they say, controls find nothing, a wrong split would be seen."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from specvit.cli import main
from specvit.errors import ConfigError
from specvit.estimators import NetworkEstimator, load_pretrained, network_config
from specvit.jobs.judged_stars import Judge
from specvit.jobs.probe_baselines import baselines
from specvit.jobs.probing import ProbePlan, probe_networks
from specvit.models import Origin, build_network
from specvit.represent import Wanted
from specvit.runs.probe_record import read_probe
from specvit.simulate import World
from specvit.spectra import LOW_T_BOX, Truth
from training_stars import GRID, SPACE, stars

SMALL = World(instrument="gaia_rvs")


@pytest.fixture(scope="module")
def network():
    """An untrained subspace network: its front end alone knows the stars."""
    simulator = SMALL.build()
    sample = simulator.source("train", 3, 200, truth=True).draw(0, 200)
    torch.manual_seed(0)
    config = network_config("subspace").with_options(
        {"components": 12, "patterns": 2, "width": 32, "depth": 1}
    )
    built = build_network(config, simulator.grid, LOW_T_BOX.select(["log_g", "teff"]))
    built.front.fit(sample.truth.flux, sample.flux, sample.sigma)
    return NetworkEstimator("tiny").adopt(built, Origin(simulator.grid, LOW_T_BOX))


@pytest.fixture(scope="module")
def record(network, tmp_path_factory):
    plan = ProbePlan(
        Wanted.parse(["all"], ["mean"]),
        ("ridge",),
        ("teff", "c_m"),
        (250, 80, 60),
        posteriors=0,
        information=2,
        runs=tmp_path_factory.mktemp("runs"),
    )
    return probe_networks({"tiny": network}, SMALL, plan)


def value(record, **wanted):
    (row,) = list(record.of(**wanted))
    return row.r2.value


def test_every_place_and_readout_is_there(record):
    places = {row.place for row in record.of(source="tiny", target="label", control="none") if row.layer}
    assert places == {f"{name}/vector" for name in ("input", "level", "entry", "block1", "features")}
    readouts = {row.readout for row in record.of(source="tiny", target="label", control="none")}
    assert readouts == {"ridge", "itself"}
    assert {row.source for row in record.rows} >= {
        "pixels",
        "pca:10",
        "statistics",
        "sigma alone",
        "both towers",
    }
    assert record.labels == ("teff", "c_m")


def test_what_is_there_is_found_and_controls_find_nothing(record):
    one = {"source": "tiny", "layer": "input", "label": "teff", "target": "label", "readout": "ridge"}
    assert value(record, control="none", **one) > 0.7
    # Nothing, within three standard errors of R² of 60 stars.
    for control in ("shuffled labels", "noise alone"):
        assert value(record, control=control, **one) < 3 * 2 / np.sqrt(60)
    # An untrained network of coefficients still has them.
    assert value(record, control="random weights", **one) > 0.7
    # And so has it before any update: what it knows then was not learnt.
    assert value(record, control="before any update", **one) > 0.7
    places = {row.place for row in record.of(control="before any update", target="residual", label="teff")}
    assert places == {row.place for row in record.of(source="tiny", control="none", target="residual")}
    assert value(record, source="sigma alone", label="teff", target="label") < 0.4


def test_labels_are_not_exchanged(record):
    one = {"source": "statistics", "target": "label", "readout": "ridge"}
    assert value(record, label="teff", **one) > value(record, label="c_m", **one) + 0.1


def test_information_survives_where_nothing_is_lost(record):
    found, begun = (
        {one.layer: one.survives["teff"].value for one in record.information if one.source == name}
        for name in ("tiny", "tiny, before any update")
    )
    assert set(begun) == set(found)
    # One front end: what enters is the same, whatever comes after it.
    assert begun["input"] == pytest.approx(found["input"], abs=1e-6)
    assert found["level"] == pytest.approx(0, abs=1e-9)
    assert 0.5 < found["input"] <= 1 + 1e-9
    assert found["features"] <= found["input"] + 1e-6
    assert record.likeness.values[0][0] == pytest.approx(1)


def test_a_judge_scores_against_the_posterior_and_states_its_share():
    rng = np.random.default_rng(0)
    mean = rng.normal(0, 1, 4000)
    truth = mean + rng.normal(0, 0.5, 4000)
    judge = Judge(truth, mean, np.full(4000, 0.25), np.ones(4000, bool), 0)
    r2, share = judge.scores(torch.from_numpy(mean))
    assert r2.value == pytest.approx(judge.ceiling().value)
    assert share.value == pytest.approx(1)
    half, share = judge.scores(torch.from_numpy(0.5 * mean))
    assert share.value == pytest.approx(0.75, abs=0.02)
    assert half.value < r2.value
    # The residual of a base that knows half: the rest is all there is to find.
    base = torch.from_numpy(0.5 * mean)
    assert judge.scores(torch.from_numpy(0.5 * mean), base)[1].value == pytest.approx(1)
    assert judge.scores(torch.zeros(4000), base)[0].value == pytest.approx(0, abs=1e-9)
    assert judge.ceiling(base).value == pytest.approx(0.25 / 0.5, abs=0.02)


def test_stars_without_a_posterior_do_not_count():
    truth, known = np.array([0.0, 1.0, 5.0, 9.0]), np.array([True, True, True, False])
    judge = Judge(truth, truth, np.zeros(4), known, 0)
    values = torch.tensor([0.0, 1.0, 5.0, -100.0])
    assert judge.scores(values)[0].value == pytest.approx(1)


def test_baselines_learn_from_the_training_stars_alone():
    parts = [stars(n, seed) for n, seed in ((200, 0), (60, 1), (40, 2))]
    clean = stars(200, 0, noise=1e-6).flux
    parts[0] = replace(parts[0], truth=Truth(clean, parts[0].sigma, torch.ones(200)))
    labels = tuple(part.labels.double() for part in parts)
    found = baselines(parts, labels)
    other = [parts[0], parts[1], replace(parts[2], flux=parts[2].flux.flip(0), sigma=parts[2].sigma)]
    again = baselines(other, labels)
    for name, vectors in found.items():
        torch.testing.assert_close(vectors[0], again[name][0], msg=name)
        torch.testing.assert_close(vectors[2], again[name][2].flip(0), msg=name, rtol=1e-4, atol=1e-5)
    assert found["pca:10"][0].shape == (200, 10)
    assert "pca:200" not in found
    assert GRID.size == found["pixels"][0].shape[1]
    assert SPACE.names == ("log_g", "teff")


def test_what_cannot_be_probed_is_refused(network):
    wrong = ProbePlan(Wanted.parse(["all"], ["mean"]), labels=("logg",))
    with pytest.raises(ConfigError, match="--labels: 'logg'"):
        probe_networks({"tiny": network}, SMALL, wrong)
    with pytest.raises(ConfigError, match="block7"):
        probe_networks({"tiny": network}, SMALL, ProbePlan(Wanted.parse(["block7"], ["mean"])))


def test_the_command_writes_record_tables_and_figures(network, tmp_path, capsys):
    network.save(tmp_path / "tiny")
    known = load_pretrained("vit").grid  # another spectrograph's: the network's own world is not stated
    assert known.size != network.grid.size
    size = [
        "--train",
        "60",
        "--validation",
        "40",
        "--test",
        "40",
        "--posteriors",
        "0",
        "--information",
        "0",
        "--layers",
        "input",
        "--json",
    ]
    command = ["probe", "subspace", *size, "--out", str(tmp_path / "p"), "--no-controls"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert read_probe(tmp_path / "p" / "probe.json").rows[0].source == told["rows"][0]["source"] == "pixels"
    assert {path.name for path in (tmp_path / "p").iterdir()} >= {
        "probe.json",
        "readouts.csv",
        "probe-log_g.png",
    }
    for wrong, text in {
        "--readouts forest": "lightgbm",
        "--pool tokens": "segments",
        "--train 3": "30",
    }.items():
        assert main([*command, *wrong.split()]) == 2
        assert text in capsys.readouterr().err
