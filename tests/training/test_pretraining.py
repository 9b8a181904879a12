"""Pretraining: what is hidden tells nothing, errors are weighed by noise, budgets are shared, frozen weights stay."""

from dataclasses import replace

import pytest
import torch

from specvit.errors import ConfigError, DataError
from specvit.estimators import make_estimator, network_config
from specvit.models.network import build_network
from specvit.spectra import MemorySource, Truth
from specvit.training import Recipe
from specvit.training.fine_tuning import freeze
from specvit.training.pretraining import Reconstruction, Reconstructor
from training_stars import GRID, SPACE, stars

SMALL = {"patch": 8, "width": 16, "depth": 2, "heads": 2, "readout": 1, "readout_width": 16}
QUICK = {"steps": 12, "batch": 32, "validations": 2, "lr": 3e-3, "seed": 3, "ema": 0.0}


def known(count, seed=0):
    """Return stars with their noise-free flux."""
    batch, clean = stars(count, seed), stars(count, seed, noise=1e-9)
    return replace(batch, truth=Truth(clean.flux, batch.sigma, torch.ones(count)))


def network(**options):
    torch.manual_seed(1)
    made = build_network(network_config("vit").with_options({**SMALL, **options}), GRID, SPACE)
    sample = stars(256)
    made.front.fit(sample.flux, sample.sigma)
    return made


def source(count, seed=0):
    return MemorySource(known(count, seed), GRID, SPACE)


@pytest.mark.parametrize(
    "options", [{}, {"channels": ("flux", "sigma", "derivative")}, {"view": "polynomial-2"}]
)
def test_what_is_hidden_tells_nothing(options):
    objective = Reconstruction(network(**options), "masked", 0.5, 2)
    batch = stars(32)
    hidden = objective._hidden(32, torch.Generator().manual_seed(7))
    other = replace(batch, flux=torch.where(hidden, 5 - batch.flux, batch.flux))
    inputs, targets = objective.prepare(batch, 7)
    again, _ = objective.prepare(other, 7)
    assert torch.equal(inputs.values, again.values)
    assert torch.equal(inputs.usable, again.usable)
    assert torch.equal(inputs.level, again.level)
    assert torch.equal(targets[:, 1] > 0, hidden)
    assert torch.equal(inputs.usable, ~hidden)


@pytest.mark.parametrize(("share", "block"), [(0.15, 1), (0.5, 2), (0.75, 1)])
def test_the_stated_share_is_hidden_in_whole_blocks_of_patches(share, block):
    objective = Reconstruction(network(), "masked", share, block)
    hidden = objective._hidden(200, torch.Generator().manual_seed(0))
    blocks = hidden.unflatten(1, (64 // (8 * block), 8 * block))
    assert torch.equal(blocks.any(dim=2), blocks.all(dim=2))
    expected = max(1, round(share * blocks.shape[1])) / blocks.shape[1]
    assert (hidden.float().mean(dim=1) == expected).all()
    # Everywhere alike, not the same patches in every spectrum.
    assert bool((blocks[:, :, 0].float().mean(dim=0) - expected).abs().max() < 0.12)


def test_the_loss_is_the_error_over_the_noise_of_each_pixel():
    made = network()
    objective, batch = Reconstruction(made, "denoise"), known(16)
    sigma = batch.sigma * torch.linspace(0.5, 2, 64)
    batch = replace(batch, sigma=sigma, truth=replace(batch.truth, sigma=sigma))
    _, targets = objective.prepare(batch, 0)
    level = batch.flux.median(dim=1, keepdim=True).values
    clean = (batch.truth.flux / level - made.front.centre) / made.front.scale
    torch.testing.assert_close(targets[:, 0], clean)
    outputs = torch.randn(16, 64, generator=torch.Generator().manual_seed(0))
    weight = (sigma / level / made.front.scale) ** -2
    expected = (weight * (outputs - clean) ** 2).sum() / weight.sum()
    torch.testing.assert_close(objective.loss(outputs, targets), expected)
    explained = 1 - (weight * (outputs - clean) ** 2).sum() / (weight * clean**2).sum()
    assert objective.scores([(outputs, targets)])["flux"] == pytest.approx(float(explained), rel=1e-4)


def test_a_second_draw_has_the_noise_of_the_first_and_none_of_it():
    objective, batch = Reconstruction(network(), "second-draw"), known(400)
    _, clean = Reconstruction(objective.network, "denoise").prepare(batch, 0)
    _, second = objective.prepare(batch, 0)
    front = objective.network.front
    first = front.viewed(batch.flux, batch.sigma)
    noise = (second[:, 0] - clean[:, 0]) * second[:, 1].sqrt()
    own = (((first.flux - front.centre) / front.scale) - clean[:, 0]) * second[:, 1].sqrt()
    assert float(noise.std()) == pytest.approx(1, abs=0.03)
    assert float(own.std()) == pytest.approx(1, abs=0.03)
    assert abs(float((noise * own).mean())) < 0.02
    assert not torch.equal(objective.prepare(batch, 1)[1], second)


@pytest.mark.parametrize(("tokeniser", "stride"), [("local", 8), ("c1d", 8), ("sw", 4)])
def test_tokens_are_laid_back_on_their_pixels(tokeniser, stride):
    made = network(tokeniser=tokeniser, stride=stride)
    body = Reconstructor(made.body.backbone)
    inputs = made.front(*(stars(3).flux, stars(3).sigma))
    patches = body.decoder(made.body.backbone.encode(inputs))
    total, count = torch.zeros(3, 64), torch.zeros(64)
    for token in range(patches.shape[1]):
        start = token * stride
        total[:, start : start + 8] += patches[:, token]
        count[start : start + 8] += 1
    torch.testing.assert_close(body(inputs), total / count)


@pytest.mark.parametrize("task", ["masked", "denoise", "second-draw"])
def test_a_pretraining_learns_is_recorded_and_takes_its_steps_from_the_whole(task, tmp_path):
    heard = []
    recipe = Recipe(**QUICK).with_options({"steps": 150, "pretrain": task, "pretrain_steps": 140})
    model = make_estimator(
        "vit", recipe=recipe, options=SMALL, folder=tmp_path / "a", listen=heard.append, device="cpu"
    )
    model.fit(source(512), source(128, 1))
    record = model.origin.training
    assert record.pretraining["task"] == task
    assert record.pretraining["steps"] + record.steps == 150
    assert record.pretraining["train_spectra"] == 140 * 32
    assert record.pretraining["validation_explained"] > 0.2
    assert record.recipe["pretrain"] == task
    assert {r["event"] for r in heard} >= {"pretraining", "validation"}
    # Continued from its last checkpoint it is the same, without a step.
    again = make_estimator("vit", recipe=recipe, options=SMALL, folder=tmp_path / "a", device="cpu")
    again.fit(source(512), source(128, 1))
    test = stars(20, 2)
    assert torch.equal(again.predict(test.flux, test.sigma).mean, model.predict(test.flux, test.sigma).mean)


@pytest.mark.parametrize("frozen", ["none", "encoder", "all-but-last"])
def test_frozen_weights_stay_as_they_are(frozen):
    made = network()
    freeze(made, frozen)
    learns = {name for name, p in made.body.named_parameters() if p.requires_grad}
    encoder = {
        name for name, _ in made.body.named_parameters() if "readout" not in name and "backbone" in name
    }
    last = {name for name in encoder if "blocks.1" in name or ".norm." in name}
    expected = {"none": encoder, "encoder": set(), "all-but-last": last}[frozen]
    assert learns & encoder == expected
    assert {"head.linear.weight", "head.linear.bias"} <= learns


def test_a_training_leaves_frozen_weights_alone():
    recipe = Recipe(**QUICK, frozen="encoder", start="random")
    model = make_estimator("vit", recipe=recipe, options=SMALL, device="cpu").fit(source(256), source(64, 1))
    torch.manual_seed(recipe.seed)
    start = build_network(network_config("vit").with_options(SMALL), GRID, SPACE).body.state_dict()
    trained = model.network.body.state_dict()
    assert torch.equal(trained["backbone.blocks.0.up.weight"], start["backbone.blocks.0.up.weight"])
    assert not torch.equal(trained["head.linear.weight"], start["head.linear.weight"])


def test_a_recipe_without_pretraining_says_nothing_of_it():
    assert not {name for name in Recipe().to_dict() if "pretrain" in name or name == "frozen"}
    recipe = Recipe(steps=100, pretrain="masked", pretrain_steps=60, pretrain_mask=0.75)
    assert Recipe(**recipe.to_dict()) == recipe
    first, then = recipe.parts
    assert (first.steps, then.steps) == (60, 40)
    assert Recipe().parts == (None, Recipe())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pretrain": "maskd"}, "choose none, masked, denoise"),
        ({"pretrain": "masked", "pretrain_steps": 12}, "expected 1 to 11 of the 12 steps"),
        ({"pretrain_steps": 5}, "pretrain = masked"),
        ({"pretrain": "masked", "pretrain_steps": 5, "pretrain_mask": 1.0}, "pretrain_mask"),
        ({"frozen": "all"}, "choose none, encoder"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        Recipe(**{**QUICK, **options})


def test_what_cannot_be_pretrained_says_so():
    recipe = Recipe(**QUICK, pretrain="masked", pretrain_steps=4)
    with pytest.raises(ConfigError, match="only a vit"):
        make_estimator("mlp", recipe=recipe, device="cpu").fit(source(64), source(32, 1))
    without_world = make_estimator(
        "vit", recipe=replace(recipe, pretrain_stars="endless"), options=SMALL, device="cpu"
    )
    with pytest.raises(ConfigError, match="need the simulated world"):
        without_world.fit(source(64), source(32, 1))
    without_truth = make_estimator(
        "vit", recipe=replace(recipe, pretrain="denoise"), options=SMALL, device="cpu"
    )
    plain = MemorySource(stars(64), GRID, SPACE)
    with pytest.raises(DataError, match="noise-free flux is known"):
        without_truth.fit(plain, plain)
