"""Schedules, losses, weight averages, optimisers: each against a closed form or another implementation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from specvit.errors import ConfigError
from specvit.estimators import network_config
from specvit.estimators.architectures import architecture_of
from specvit.models.heads import Head, joint_covariance
from specvit.models.network import build_network
from specvit.spectra import LOW_T_BOX, WavelengthGrid
from specvit.training.ema import WeightAverage
from specvit.training.losses import HUBER_DELTA, training_loss
from specvit.training.optimisers import Muon, Optimisers, orthogonalise, split_parameters
from specvit.training.recipe import Recipe
from specvit.training.schedules import rate_factor

TWO = LOW_T_BOX.select(["log_g", "teff"])


def test_cosine_at_its_corners():
    recipe = Recipe(schedule="cosine", warmup=0.1, floor=0.02)
    assert rate_factor(0.05, recipe) == pytest.approx(0.5)
    assert rate_factor(0.1, recipe) == pytest.approx(1.0)
    assert rate_factor(0.55, recipe) == pytest.approx(0.51)
    assert rate_factor(1.0, recipe) == pytest.approx(0.02)


def test_wsd_is_flat_then_falls_in_a_line():
    recipe = Recipe(schedule="wsd", warmup=0.1, decay=0.4, floor=0.0)
    assert [rate_factor(p, recipe) for p in (0.1, 0.3, 0.6)] == pytest.approx([1.0, 1.0, 1.0])
    assert [rate_factor(p, recipe) for p in (0.8, 0.9, 1.0)] == pytest.approx([0.5, 0.25, 0.0])


@given(st.floats(0, 1), st.sampled_from(["cosine", "wsd"]), st.floats(0, 0.5), st.floats(0, 1))
def test_rates_stay_between_nothing_and_the_peak(progress, schedule, warmup, floor):
    assert 0 <= rate_factor(progress, Recipe(schedule=schedule, warmup=warmup, floor=floor)) <= 1


def raw_and_labels(outputs, count=50):
    torch.manual_seed(0)
    labels = torch.tensor(TWO.low) + torch.rand(count, 2) * (torch.tensor(TWO.high) - torch.tensor(TWO.low))
    return torch.randn(count, 2, outputs), labels


@pytest.mark.parametrize("name", ["mse", "l1", "huber"])
def test_point_losses_against_torch(name):
    head = Head(4, 0, TWO, "point")
    raw, labels = raw_and_labels(1)
    reference = {"mse": nn.MSELoss(), "l1": nn.L1Loss(), "huber": nn.HuberLoss(delta=HUBER_DELTA)}[name]
    expected = reference(raw[..., 0], head.labels_scaling.to_scaled(labels))
    torch.testing.assert_close(training_loss(name, head, raw, labels), expected)


def test_nll_is_the_gaussian_likelihood():
    head = Head(4, 0, TWO, "gaussian")
    raw, labels = raw_and_labels(2)
    target = head.labels_scaling.to_scaled(labels).numpy()
    likelihood = stats.norm(raw[..., 0].numpy(), np.exp(0.5 * raw[..., 1].numpy())).logpdf(target)
    expected = -likelihood.mean() - 0.5 * math.log(2 * math.pi)
    assert float(training_loss("nll", head, raw, labels)) == pytest.approx(expected, rel=1e-5)


def test_joint_loss_is_the_likelihood_of_all_labels_together():
    head = Head(4, 0, TWO, "joint")
    raw, labels = raw_and_labels(head.outputs)
    target = head.labels_scaling.to_scaled(labels).numpy()
    covariance = joint_covariance(raw).numpy()
    each = [
        stats.multivariate_normal(mean, cov).logpdf(y)
        for mean, cov, y in zip(raw[..., 0].numpy(), covariance, target, strict=True)
    ]
    expected = (-np.mean(each) - math.log(2 * math.pi)) / 2
    assert float(training_loss("joint", head, raw, labels)) == pytest.approx(expected, rel=1e-5)
    stated = head.decode(raw, torch.zeros(len(raw), 0)).std
    marginal = np.sqrt(covariance.diagonal(axis1=1, axis2=2)) * head.labels_scaling.width.numpy()
    torch.testing.assert_close(stated, torch.from_numpy(marginal).double(), rtol=1e-5, atol=0)
    # Errors are those of labels that depend on each other, not those of each given the ones before it.
    assert (stated[:, 1] > (0.5 * raw[:, 1, 1]).exp() * head.labels_scaling.width[1]).all()


def test_a_joint_head_learns_the_covariance_of_what_it_cannot_know():
    torch.manual_seed(0)
    head = Head(1, 0, TWO, "joint")
    root = torch.tensor([[0.3, 0.0], [0.24, 0.1]])
    scaled = torch.randn(4000, 2) @ root.T
    labels = head.labels_scaling.to_labels(scaled)
    features, level = torch.ones(4000, 1), torch.zeros(4000, 0)
    optimiser = torch.optim.LBFGS(head.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        value = training_loss("joint", head, head(features, level), labels)
        value.backward()
        return value

    optimiser.step(loss)
    found = joint_covariance(head(features[:1], level[:1]).detach())[0]
    torch.testing.assert_close(found, torch.cov(scaled.T, correction=0), rtol=0.02, atol=1e-4)


def test_faithful_loss_trains_the_mean_as_mse_does_and_the_variance_as_nll_does():
    head = Head(4, 0, TWO, "gaussian")
    raw, labels = raw_and_labels(2)

    def gradient(name):
        leaf = raw.clone().requires_grad_()
        training_loss(name, head, leaf[..., :1] if name == "mse" else leaf, labels).backward()
        return leaf.grad

    torch.testing.assert_close(gradient("faithful")[..., 0], gradient("mse")[..., 0])
    torch.testing.assert_close(gradient("faithful")[..., 1], gradient("nll")[..., 1])


def test_ordinal_loss_is_the_probability_of_the_right_bin():
    head = Head(4, 0, TWO, "ordinal", bins=5)
    raw, labels = raw_and_labels(5)
    labels[0] = torch.tensor(TWO.low)
    labels[1] = torch.tensor(TWO.high)
    share = (labels.numpy() - TWO.low) / (np.array(TWO.high) - TWO.low)
    bins = np.minimum((share * 5).astype(int), 4)
    chosen = np.take_along_axis(raw.log_softmax(dim=-1).numpy(), bins[..., None], axis=-1)
    assert float(training_loss("ordinal", head, raw, labels)) == pytest.approx(-chosen.mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("mse", "point"), ("faithful", "gaussian"), ("joint", "joint"), ("ordinal", "ordinal")],
)
def test_unknown_labels_contribute_nothing(name, kind):
    head = Head(4, 0, TWO, kind)
    raw, labels = raw_and_labels(head.outputs)
    known = labels.clone()
    labels[10:, 1] = torch.nan
    raw.requires_grad_()
    training_loss(name, head, raw, labels).backward()
    assert torch.isfinite(raw.grad).all()
    assert not raw.grad[10:, 1].any()
    weight = 60 / 50
    alone = training_loss(name, head, raw[:10].detach(), known[:10])
    rest = Head(4, 0, TWO.select(["log_g"]), kind)
    others = training_loss(name, rest, raw[10:, :1, : rest.outputs].detach(), known[10:, :1])
    total = training_loss(name, head, raw.detach(), labels)
    assert float(total) == pytest.approx(float(20 * alone + 40 * others) / 50 / weight, rel=1e-5)


def test_average_of_constant_weights_is_those_weights_from_the_first_step():
    layer = nn.Linear(3, 2)
    average = WeightAverage(layer, 0.9999)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(7.0)
    for _ in range(5):
        average.update(layer)
        for value in average.values:
            torch.testing.assert_close(value, torch.full_like(value, 7.0))


@given(st.floats(0.5, 0.9999), st.integers(1, 60))
def test_average_against_the_closed_form(decay, steps):
    layer = nn.Linear(1, 1, bias=False).double()
    average = WeightAverage(layer, decay)
    rng = np.random.default_rng(steps)
    weights = rng.normal(size=steps)
    for weight in weights:
        with torch.no_grad():
            layer.weight.fill_(weight)
        average.update(layer)
    decays = [min(decay, (1 + t) / (10 + t)) for t in range(1, steps + 1)]
    share = np.array([(1 - d) * np.prod(decays[i + 1 :]) for i, d in enumerate(decays)])
    assert float(average.values[0]) == pytest.approx(share @ weights / share.sum(), abs=1e-9)


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8), (3, 12, 5)])
def test_orthogonalise_against_the_singular_value_decomposition(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    found = orthogonalise(matrix)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    singular = torch.linalg.svdvals(found)
    assert 0.6 < float(singular.min()) < float(singular.max()) < 1.3
    # The same singular vectors: Uᵀ X V is diagonal.
    core = u.mT @ found @ v.mT
    off = core - torch.diag_embed(core.diagonal(dim1=-2, dim2=-1))
    assert off.abs().max() < 1e-4


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this PyTorch has no Muon of its own")
def test_muon_moves_as_torch_muon_does():
    torch.manual_seed(0)
    start, gradients = torch.randn(24, 12), torch.randn(4, 24, 12)
    mine, other = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimisers = [
        Muon([mine], lr=0.01, weight_decay=0.1),
        torch.optim.Muon([other], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    ]
    for gradient in gradients:
        for parameter, optimiser in zip((mine, other), optimisers, strict=True):
            parameter.grad = gradient.clone()
            optimiser.step()
    moved, expected = (mine - start).detach(), (other - start).detach()
    # torch orthogonalises in bf16.
    assert float((moved - expected).norm() / expected.norm()) < 0.03


def test_muon_takes_hidden_matrices_alone():
    grid = WavelengthGrid.linear(8000, 1.0, 64)
    network = build_network(
        network_config("vit").with_options({"width": 16, "heads": 2, "depth": 2, "readout": 1}), grid, TWO
    )
    hidden, matrices, vectors = split_parameters(network.body, muon=True)
    names = {id(p): n for n, p in network.body.named_parameters()}
    # Four matrices per block, the level's, and three of the readout.
    assert sorted(names[id(p)].split(".")[1] for p in hidden) == ["blocks"] * 8 + ["level"] + ["readout"] * 3
    assert {names[id(p)] for p in matrices} == {
        "backbone.tokenisers.0.map.weight",
        "head.linear.weight",
        "head.sharpness.weight",
    }
    assert {id(p) for p in (*hidden, *matrices, *vectors)} == set(names)
    assert not split_parameters(network.body, muon=False)[0]


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_optimisers_descend_a_quadratic_at_the_scheduled_rate(optimiser):
    torch.manual_seed(0)
    body = nn.Module()
    body.backbone = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 8))
    body.head = nn.Linear(8, 1)
    optimisers = Optimisers(body, Recipe(optimiser=optimiser, lr=0.01, weight_decay=0.0))
    x = torch.randn(64, 6)
    y, losses = x @ torch.randn(6, 1), []
    for _ in range(60):
        loss = (body.head(body.backbone(x)) - y).square().mean()
        loss.backward()
        optimisers.step(0.5)
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert {group["lr"] for part in optimisers.parts for group in part.param_groups} == {0.005}


@pytest.mark.parametrize(
    "options",
    [{"optimiser": "sgd"}, {"schedule": "step"}, {"batch": 0}, {"warmup": 2}, {"steps": 0}, {"lr": -1}],
)
def test_bad_recipes_are_refused(options):
    with pytest.raises(ConfigError):
        Recipe(**options)


def test_a_loss_must_suit_the_head():
    assert Recipe().loss_for("gaussian") == "faithful"
    with pytest.raises(ConfigError, match="does not train a point head"):
        Recipe(loss="nll").loss_for("point")


def test_recipe_options_are_read_from_text():
    recipe = architecture_of("vit").recipe.with_options(
        {"betas": "0.8,0.95", "compile": "true", "lr": "1e-4"}
    )
    assert (recipe.betas, recipe.compile, recipe.lr) == ((0.8, 0.95), True, 1e-4)
    with pytest.raises(ConfigError, match="did you mean 'batch'"):
        recipe.with_options({"bacth": 3})
