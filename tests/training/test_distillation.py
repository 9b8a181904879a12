"""A student learns what its teacher states, not the labels; the losses are least where they should be."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm

from specvit.errors import ConfigError, DataError
from specvit.estimators import NetworkEstimator, make_estimator, network_config
from specvit.models import Origin, build_network
from specvit.models.heads import Head
from specvit.spectra import MemorySource, Truth
from specvit.training import Recipe
from specvit.training.distillation import Teacher, bin_shares, stating, taught_loss
from specvit.training.optimisers import Optimisers
from training_stars import GRID, SPACE, stars

QUICK = {"steps": 150, "batch": 64, "lr": 3e-3, "validations": 2, "start": "random", "seed": 1}
SMALL = {"width": 32, "depth": 1}


def source(count, seed=0, **changes):
    return MemorySource(replace(stars(count, seed), **changes), GRID, SPACE)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A trained network, saved."""
    model = make_estimator("mlp", recipe=Recipe(**QUICK), options={**SMALL, "head": "gaussian"}, device="cpu")
    folder = tmp_path_factory.mktemp("teacher") / "t"
    model.fit(source(600), source(200, 1)).save(folder)
    return folder


def r2(said, wanted):
    return 1 - (said - wanted).square().mean(dim=0) / wanted.var(dim=0)


def taught(folder, train, head="gaussian", **recipe):
    options = {**SMALL, "head": head}
    student = make_estimator(
        "mlp", recipe=Recipe(**QUICK, teacher=str(folder), **recipe), options=options, device="cpu"
    )
    return student.fit(train, source(200, 1))


@pytest.mark.parametrize("head", ["point", "gaussian", "ordinal"])
def test_a_student_learns_the_teacher_though_all_labels_are_wrong(teacher, head):
    wrong = stars(600, 5).labels.flip(0)
    test = stars(200, 3)
    wanted = NetworkEstimator.load(teacher).predict(test.flux, test.sigma).mean
    student = taught(teacher, source(600, 5, labels=wrong), head)
    assert bool((r2(student.predict(test.flux, test.sigma).mean, wanted) > 0.8).all())
    assert NetworkEstimator.load(teacher).described == student.origin.training.facts["teacher"]


def test_latents_are_learnt_besides(teacher):
    student = taught(teacher, source(600, 5), teach="latents")
    test = stars(200, 3)
    wanted = NetworkEstimator.load(teacher).predict(test.flux, test.sigma).mean
    assert bool((r2(student.predict(test.flux, test.sigma).mean, wanted) > 0.8).all())
    # The map to the teacher is thrown away: the network is that of its description.
    fresh = build_network(student.network.config, GRID, SPACE)
    assert student.network.state_dict().keys() == fresh.state_dict().keys()


def test_stated_labels_come_with_their_errors():
    batch = stars(400, 6)
    columns = {
        name: (batch.labels[:, at].flip(0), torch.full((400,), 0.1 * (SPACE.high[at] - SPACE.low[at])))
        for at, name in enumerate(SPACE.names)
    }
    said = stating(batch, columns, SPACE)
    assert torch.equal(said.labels, batch.labels.flip(0))
    model = taught("stated", MemorySource(replace(said, labels=batch.labels), GRID, SPACE))
    test = stars(200, 3)
    found = model.predict(test.flux, test.sigma)
    assert bool((r2(found.mean, test.labels.double()) > 0.8).all())
    with pytest.raises(DataError, match="stated_error"):
        taught("stated", source(100, 6))


def test_the_expected_likelihood_is_least_at_what_the_teacher_states():
    head = Head(4, 0, SPACE, "gaussian")
    mean, error = torch.tensor([[0.3, -0.7]]), torch.tensor([[0.2, 1.5]])
    best = torch.stack([mean, 2 * error.log()], dim=-1)
    least = float(taught_loss(head, best, mean, error))
    for column in range(2):
        for step in (-0.1, 0.1):
            moved = best.clone()
            moved[..., column] += step
            assert float(taught_loss(head, moved, mean, error)) > least
    # The expectation over draws of the teacher's Gaussian of the plain likelihood.
    draws = mean + error * torch.randn(200_000, 2, generator=torch.Generator().manual_seed(0))
    other = torch.stack([mean + 0.3, 2 * error.log() + 0.4], dim=-1)
    plain = 0.5 * (other[..., 1] + (draws - other[..., 0]).square() * (-other[..., 1]).exp()).mean()
    assert float(taught_loss(head, other, mean, error)) == pytest.approx(float(plain), abs=0.01)


def test_bins_hold_the_shares_of_a_cut_gaussian():
    edges = torch.tensor([[-1.0, -0.5, 0.2, 1.0]])
    found = bin_shares(edges, torch.tensor([[0.1]]), torch.tensor([[0.4]]))[0, 0].numpy()
    whole = norm.cdf(1, 0.1, 0.4) - norm.cdf(-1, 0.1, 0.4)
    expected = np.diff(norm.cdf(edges[0].numpy(), 0.1, 0.4)) / whole
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # Certain, and beyond the range: still shares.
    sure = bin_shares(edges, torch.tensor([[-3.0], [0.0]]), torch.zeros(2, 1))
    torch.testing.assert_close(sure.sum(-1), torch.ones(2, 1))
    assert sure[1, 0].tolist() == pytest.approx([0, 1, 0])


def test_a_teacher_is_shown_what_the_recipe_says():
    batch = stars(2000, 7)
    clean = torch.ones_like(batch.flux)
    batch = replace(batch, flux=2 * clean, truth=Truth(clean, batch.sigma, torch.ones(2000)))
    network = build_network(network_config("mlp").with_options(SMALL), GRID, SPACE)
    flux, sigma = Teacher(network, "t", noise=0.5).shown(batch, 1)
    assert float((flux - 1).std()) == pytest.approx(0.5 * 0.02, rel=0.02)
    torch.testing.assert_close(sigma, 0.5 * batch.sigma)
    constant = torch.linspace(0.1, 0.2, 64)
    flux, sigma = Teacher(network, "t", constant_sigma=constant).shown(batch, 1)
    torch.testing.assert_close(sigma, 2 * constant.expand_as(sigma))
    torch.testing.assert_close(flux, batch.flux)


def test_what_cannot_be_taught_is_refused(teacher):
    with pytest.raises(ConfigError, match="teacher: expected a saved network"):
        taught("nobody", source(100))
    with pytest.raises(ConfigError, match="monitor"):
        taught(teacher, source(100), monitor="loss")
    with pytest.raises(ConfigError, match="no latents"):
        taught("stated", source(100), teach="latents")
    half = build_network(network_config("mlp").with_options(SMALL), GRID, SPACE.select(["log_g"]))
    half.front.fit(stars(50).flux, stars(50).sigma)
    place = teacher.parent / "half"
    NetworkEstimator("half").adopt(half, Origin(GRID, SPACE)).save(place)
    with pytest.raises(ConfigError, match="teff"):
        taught(place, source(100))


@pytest.mark.parametrize(("kind", "steps"), [("mlp", 4), ("vit", 5), ("swin", 10), ("cnn", 11)])
def test_rates_fall_from_the_head_to_the_input(kind, steps):
    torch.manual_seed(0)
    body = build_network(network_config(kind), GRID, SPACE).body
    optimisers = Optimisers(body, Recipe(lr=1e-3, layer_decay=0.5))
    rate = {id(p): group["lr"] for group in optimisers.parts[0].param_groups for p in group["params"]}
    assert len(rate) == len(list(body.parameters()))
    assert rate[id(body.head.linear.weight)] == 1e-3
    layers = sorted({round(np.log2(1e-3 / value), 6) for value in rate.values()})
    assert layers == list(range(len(layers)))
    first = next(p for name, p in body.named_parameters() if name.startswith("backbone.") and p.ndim > 1)
    assert rate[id(first)] == min(rate.values())
    plain = Optimisers(body, Recipe(lr=1e-3))
    assert {group["lr"] for group in plain.parts[0].param_groups} == {1e-3}
    with pytest.raises(ConfigError, match="layer_decay"):
        Optimisers(body, Recipe(layer_decay=0.5, optimiser="muon"))


def test_a_frozen_mlp_trains_its_last_layers(teacher):
    recipe = Recipe(**{**QUICK, "start": str(teacher)}, frozen="encoder", layer_decay=0.8)
    options = {**SMALL, "head": "gaussian"}
    model = make_estimator("mlp", recipe=recipe, options=options, device="cpu").fit(
        source(300, 8), source(100, 1)
    )
    before = NetworkEstimator.load(teacher).network.body
    after = model.network.body
    assert torch.equal(before.backbone.layers[1].up.weight, after.backbone.layers[1].up.weight)
    assert not torch.equal(before.head.linear.weight, after.head.linear.weight)
