"""`specvit refine`: which stars it learns from, what is saved, and what is refused."""

import json

import pytest
import torch

from specvit.cli import main
from specvit.errors import ConfigError, DataError
from specvit.estimators import NetworkEstimator, load_pretrained, network_config
from specvit.jobs.refining import bright_stars
from specvit.models import build_network
from specvit.models.origin import Origin
from specvit.simulate import Simulator, Widening, World, endless

WIDE = World(instrument="gaia_rvs", widening=Widening())


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A network that learnt nothing, in a world with bright stars."""
    train = endless(WIDE.build(), 1)
    torch.manual_seed(0)
    config = network_config("mlp").with_options({"width": 8, "depth": 1, "bins": 16})
    network = build_network(config, train.grid, train.label_space)
    sample = train.draw(0, 64)
    network.front.fit(sample.flux, sample.sigma)
    folder = tmp_path_factory.mktemp("refine") / "small"
    NetworkEstimator("small").adopt(network, Origin.of(train, train)).save(folder)
    return folder


def test_a_network_is_refined_for_bright_stars_alone(saved, tmp_path, capsys):
    out = tmp_path / "sharp"
    few = ["--spectra", "5000", "--steps", "20", "--expected-steps", "20"]
    assert main(["refine", str(saved), "--snr", "60", *few, "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    first, found = NetworkEstimator.load(saved), NetworkEstimator.load(out)
    assert found.network.refinement.config.snr == 60
    assert told["model"] == str(out)
    assert set(told["rmse_ratio"]) == set(found.names)
    assert found.origin.training.refinement["rmse_ratio"] == told["rmse_ratio"]
    assert found.origin.training.calibration_spectra > 0
    stars = (
        World(instrument="gaia_rvs", widening=Widening(1.0, (20.0, 200.0))).build().draw("test", 3, 0, 200)
    )
    before, after = (e.predict(stars.flux, stars.sigma) for e in (first, found))
    bright = found.network.is_bright(stars.flux, stars.sigma)
    assert 20 < int(bright.sum()) < 180
    assert torch.equal(before.mean[~bright], after.mean[~bright])
    assert bool((before.mean[bright] != after.mean[bright]).any(dim=1).all())
    # The errors of all are corrected anew, by stars of the whole world.
    assert not torch.equal(before.std[~bright], after.std[~bright])


def test_a_step_that_makes_things_worse_is_said_to(saved, tmp_path, capsys):
    few = ["--spectra", "5000", "--steps", "1", "--expected-steps", "1"]
    assert main(["refine", str(saved), "--snr", "60", *few, "--out", str(tmp_path / "x")]) == 0
    text = capsys.readouterr()
    ratios = {
        line.split()[0]: float(line.split()[1]) for line in text.out.splitlines() if line.startswith("  ")
    }
    worse = [label for label, ratio in ratios.items() if ratio > 1.005]
    assert worse
    assert all(label in text.err for label in worse)
    assert "became worse" in text.err


def test_its_stars_are_bright_and_none_of_the_training(saved):
    estimator = NetworkEstimator.load(saved)
    stars = bright_stars(estimator, 60.0, 47)
    drawn = stars.source.draw(0, 400)
    assert float(drawn.snr.quantile(0.05)) > 0.6 * 60
    assert float(drawn.snr.quantile(0.95)) > 250
    usual = stars.usual.draw(0, 400)
    assert float(usual.snr.quantile(0.25)) < 20
    training = endless(WIDE.build(), 1).draw(0, 400).known_labels()
    assert not set(map(tuple, drawn.known_labels().tolist())) & set(map(tuple, training.tolist()))
    with pytest.raises(ConfigError, match="--seed 1"):
        bright_stars(estimator, 60.0, 1)


def test_what_cannot_be_is_one_line(saved, tmp_path, capsys):
    def refused(*arguments):
        assert main(["refine", *arguments, "--out", str(tmp_path / "x")]) != 0
        text = capsys.readouterr().err
        assert "Traceback" not in text
        return text

    assert "snr" in refused(str(saved), "--snr", "-3")
    assert "spectra" in refused(str(saved), "--spectra", "10")
    assert "steps" in refused(str(saved), "--steps", "0")
    assert "nowhere" in refused("nowhere")
    assert main(["refine", str(saved), "--out", str(saved)]) != 0
    assert "--out" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_world_that_is_another_today_is_refused(saved):
    estimator = NetworkEstimator.load(saved)
    estimator.origin.training.train["emulator"] = "0123"
    with pytest.raises(DataError, match="emulator"):
        bright_stars(estimator, 60.0, 47)
    spectra = Simulator.build(instrument="gaia_rvs").source("validation", 1, 64)
    estimator.origin.training.train.clear()
    estimator.origin.training.train.update({"split": "train", "spectra": len(spectra)})
    with pytest.raises(ConfigError, match="world"):
        bright_stars(estimator, 60.0, 47)


def test_the_networks_that_come_trained_have_one():
    """As good as a fit where stars are bright: what docs/training.md measures on many more stars."""
    for name in ("subspace", "vit"):
        step = load_pretrained(name).network.refinement
        assert step is not None
        assert step.config.snr <= 60


def test_an_interruption_says_that_nothing_is_left(saved, tmp_path, capsys, monkeypatch):
    def interrupted(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr("specvit.jobs.refining.refined", interrupted)
    assert main(["refine", str(saved), "--out", str(tmp_path / "x")]) == 130
    assert "nothing was written; the same command starts anew" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_refused_before_the_work(saved, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("specvit.jobs.refining.refined", lambda *given: pytest.fail("the work has begun"))
    (tmp_path / "file").write_text("no folder")
    for verb in (["refine", str(saved)], ["calibrate", str(saved)]):
        assert main([*verb, "--out", str(tmp_path / "file" / "x")]) != 0
        assert str(tmp_path / "file" / "x") in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
