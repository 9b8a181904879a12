"""The loop serves an objective without labels as it serves the regression of labels."""

from dataclasses import dataclass, replace

import pytest
import torch

from reconstruction import Reconstruction, Standardise, autoencoder
from specvit.errors import ConfigError, DataError, LabelError, RunError
from specvit.estimators import network_config
from specvit.models.network import build_network
from specvit.spectra import MemorySource, Truth
from specvit.training import LabelRegression, Recipe, Trainer
from specvit.training.checkpoint import NAME
from specvit.training.distributed import Processes
from specvit.training.feeds import Share, make_feed
from training_stars import GRID, SPACE, stars

HERE = Processes(0, 1, torch.device("cpu"))
RECIPE = {"steps": 40, "batch": 32, "validations": 5, "ema": 0.9, "lr": 1e-2, "seed": 5}


def known(count, seed=0):
    """Return stars with their noise-free flux."""
    batch, clean = stars(count, seed), stars(count, seed, noise=1e-9)
    return replace(batch, truth=Truth(clean.flux, batch.sigma, torch.ones(count)))


def trainer(folder=None, feed=None, listen=None, validation=None, **recipe):
    recipe = Recipe(**{**RECIPE, **recipe})
    torch.manual_seed(recipe.seed)
    train = known(256)
    source = MemorySource(train, GRID, SPACE)
    feed = feed or make_feed(source, Share(recipe.batch), HERE.device, recipe.seed, truth=True)
    objective = Reconstruction(Standardise(train))
    return Trainer(autoencoder(), objective, feed, validation or known(64, 1), recipe, HERE, folder, listen)


def weights(run):
    return [p.detach().clone() for p in run.body.parameters()]


def test_another_objective_learns_and_is_recorded_under_its_own_name():
    records = []
    run = trainer(listen=records.append, steps=120)
    record = run.run()
    assert record["validation_fidelity"] > 0.5
    assert "validation_r2" not in record
    validations = [r for r in records if r["event"] == "validation"]
    assert validations[0]["fidelity"].keys() == {"flux", "worst"}
    assert validations[-1]["best"] == record["validation_fidelity"]
    assert not run.body.training
    held_out = known(64, 1)
    with torch.no_grad():
        outputs = run.body(run.objective.front(held_out.flux))
    kept = run.objective.scores([(outputs, run.objective.front(held_out.truth.flux))])
    assert kept["flux"] == pytest.approx(record["validation_fidelity"], abs=1e-6)


def test_its_average_of_weights_is_kept_when_it_is_better():
    assert trainer(lr=0.05, floor=1.0, ema=0.98, validations=1, steps=100).run()["best_weights"] == "average"


class Killed(Exception):
    pass


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
@pytest.mark.parametrize("killed_at", [1, 17, 39])
def test_killed_it_continues_to_the_same_bits(tmp_path, killed_at, optimiser):
    """Hidden pixels and dropout included: all that is random is a function of the step."""
    whole = trainer(optimiser=optimiser)
    expected = whole.run()
    feed = whole.feed

    def dying(step):
        if step == killed_at:
            raise Killed
        return feed(step)

    with pytest.raises(Killed):
        trainer(tmp_path, feed=dying, checkpoint_minutes=0.0, optimiser=optimiser).run()
    again = trainer(tmp_path, checkpoint_minutes=0.0, optimiser=optimiser)
    assert again.step == killed_at
    found = again.run()
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(again), strict=True))
    assert found["validation_fidelity"] == expected["validation_fidelity"]


def test_a_checkpoint_brings_back_the_front_it_was_trained_with(tmp_path):
    trainer(tmp_path).run()
    recipe = Recipe(**RECIPE)
    other = Reconstruction(Standardise(known(8, seed=9)))
    Trainer(autoencoder(), other, lambda step: known(32), known(64, 1), recipe, HERE, tmp_path)
    assert torch.equal(other.front.centre, Standardise(known(256)).centre)


@dataclass(frozen=True)
class Sharper(Reconstruction):
    @property
    def identity(self):
        return {"objective": "sharper"}


def test_a_checkpoint_of_another_objective_is_refused(tmp_path):
    trainer(tmp_path).run()
    assert (tmp_path / NAME).is_file()
    objective = Sharper(Standardise(known(8)))
    with pytest.raises(RunError, match=r"belongs to another training \(objective"):
        Trainer(autoencoder(), objective, None, known(64, 1), Recipe(**RECIPE), HERE, tmp_path)


@dataclass(frozen=True)
class Elsewhere(Reconstruction):
    monitor = ("depth",)


def test_a_monitored_score_that_is_not_given_is_named():
    run = trainer()
    run.selection.objective = Elsewhere(run.objective.front)
    with pytest.raises(ConfigError, match="monitor: 'depth' is not among the scores flux, worst"):
        run.run()


def test_spectra_that_cannot_be_scored_are_refused_before_the_first_step():
    with pytest.raises(DataError, match="have no noise-free flux"):
        trainer(validation=stars(64, seed=1))


def regression(**options):
    network = build_network(network_config("mlp").with_options({"width": 8, "head": "point"}), GRID, SPACE)
    return LabelRegression.of(network, SPACE, Recipe(**options))


def test_regression_needs_labels_and_says_so():
    unlabelled = replace(stars(8), labels=None)
    with pytest.raises(LabelError, match="got 8 without any"):
        regression().prepare(unlabelled, 3)
    with pytest.raises(ConfigError, match="does not train a point head"):
        regression(loss="nll")


def test_regression_masks_training_spectra_alone_and_the_same_ones_by_seed():
    objective = regression(masked=0.5)
    whole = stars(64)
    hidden = [~objective.prepare(whole, seed)[0].usable for seed in (7, 7, 8)]
    assert hidden[0].any(dim=1).double().mean() == pytest.approx(0.5, abs=0.25)
    assert torch.equal(hidden[0], hidden[1])
    assert not torch.equal(hidden[0], hidden[2])
    assert objective.prepare(whole, None)[0].usable.all()


def test_regression_watches_the_label_it_is_told_or_all():
    assert regression(monitor="teff").monitor == ("teff",)
    with pytest.raises(ConfigError, match="monitor: 'c_m' is no label; choose log_g, teff, loss"):
        regression(monitor="c_m")
    other = SPACE.select(["teff"])
    network = build_network(network_config("mlp").with_options({"width": 8, "head": "point"}), GRID, other)
    assert LabelRegression.of(network, other, Recipe()).monitor == ("teff",)


def test_the_loss_prefers_what_is_right_where_spectra_are_bright_r2_what_is_right_where_they_are_not():
    """Of two networks one halves the large errors of faint stars, the other the small ones of bright stars."""
    truth = torch.linspace(-1.5, 1.5, 400)[:, None].repeat(1, 2)
    error = (
        torch.where(torch.arange(400) % 2 == 0, 0.8, 0.01)[:, None]
        * torch.tensor([1.0, -1.0]).repeat(200)[:, None]
    )
    error, faint = error.repeat(1, 2), torch.arange(400)[:, None] % 2 == 0
    scores = {}
    for name, better in (("faint", faint), ("bright", ~faint)):
        shrink = 0.9 if name == "faint" else 0.1
        left = torch.where(better, shrink * error, error)
        for monitor in ("log_g", "loss"):
            network = build_network(
                network_config("mlp").with_options({"width": 8, "head": "gaussian"}), GRID, SPACE
            )
            objective = LabelRegression.of(network, SPACE, Recipe(monitor=monitor, loss="nll"))
            raw = torch.stack([truth + left, 2 * left.abs().log()], dim=-1)
            labels = network.head.labels_scaling.to_labels(truth)
            halves = [(raw[:150], labels[:150]), (raw[150:], labels[150:])]
            found = objective.scores(halves)
            assert found["negative_loss"] == pytest.approx(-float(objective.loss(raw, labels)), rel=1e-5)
            scores[name, monitor] = [found[each] for each in objective.monitor]
    assert scores["faint", "log_g"] > scores["bright", "log_g"]
    assert scores["bright", "loss"] > scores["faint", "loss"]


def test_identities_tell_trainings_apart():
    first = regression().identity
    assert regression().identity == first
    for options in ({"loss": "l1"}, {"monitor": "teff"}, {"masked": 0.1}):
        assert regression(**options).identity != first
