"""Networks as estimators in the simulated world: from a name to a prediction."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from specvit.errors import ConfigError, DataError
from specvit.estimators import make_estimator, network_config, network_fitter, split_options
from specvit.estimators.network_estimator import NetworkEstimator
from specvit.models.cost import forward_flops
from specvit.models.linear import Ridge
from specvit.models.network import build_network
from specvit.models.subspace import SubspaceProjection
from specvit.models.swin import Swin
from specvit.models.vit import SpecViT
from specvit.simulate import StoredSpectra, World, WriteJob, endless
from specvit.spectra import MemorySource, collect, take
from specvit.training import Recipe, starts
from specvit.training.objectives import pooled_r2
from specvit.training.starts import (
    fit_front,
    matched_filters,
    prepare,
    start_from_components,
    start_from_ridge,
)
from training_stars import GRID, SPACE, stars


@pytest.fixture(scope="module")
def validation(simulator):
    return simulator.source("validation", 1, 256)


def test_a_subspace_network_learns_log_g_in_seconds(simulator, validation, tmp_path, monkeypatch):
    monkeypatch.setattr(starts, "SAMPLE", 384)
    recipe = Recipe(steps=40, batch=128, lr=2e-3, validations=4)
    estimator = make_estimator("subspace", "nano", recipe=recipe, options={"head": "gaussian"}).fit(
        endless(simulator, 1), validation
    )
    test = collect(simulator.source("test", 1, 512))
    estimate = estimator.predict(test.flux, test.sigma)
    assert float(pooled_r2(estimate.mean, test.labels.double())[1]) > 0.5
    assert (estimate.std > 0).all()
    assert estimator.origin.training.train_spectra == 40 * 128
    estimator.save(tmp_path / "model")
    again = NetworkEstimator.load(tmp_path / "model")
    assert torch.equal(again.predict(test.flux, test.sigma).mean, estimate.mean)


@pytest.mark.parametrize("head", ["ordinal", "gaussian"])
def test_errors_hold_even_of_a_training_that_was_far_too_short(simulator, validation, monkeypatch, head):
    """Two steps leave errors of any size; spectra of a split of their own put them right."""
    monkeypatch.setattr(starts, "SAMPLE", 256)
    monkeypatch.setattr(network_fitter, "CALIBRATION_SPECTRA", 1500)
    recipe = Recipe(steps=2, batch=64, lr=0.1, validations=1)
    options = {"width": 16, "depth": 1, "head": head}
    told = []
    estimator = make_estimator(
        "subspace", "nano", labels=["teff"], recipe=recipe, options=options, listen=told.append
    )
    estimator.fit(endless(simulator, 1), validation)
    assert estimator.origin.training.calibration_spectra == 1500
    assert [t["progress"] for t in told if t["event"] == network_fitter.CORRECTION] == [
        512 / 1500,
        1024 / 1500,
        1.0,
    ]
    monkeypatch.setattr(network_fitter, "CALIBRATION_FLOPS", 700 * forward_flops(estimator.network))
    for fewest, taken in ((100, 700), (900, 900), (2000, 1500)):
        monkeypatch.setattr(network_fitter, "FEWEST_SPECTRA", fewest)
        record = network_fitter.calibrate(estimator.network, simulator.source("validation", 1, 64))
        assert record == {"calibration_spectra": taken}
    test = collect(simulator.source("test", 1, 1500))
    estimate = estimator.predict(test.flux, test.sigma)
    truth = test.labels[:, :1].double()
    inside = (truth - estimate.mean).abs() < estimate.std
    # As wide as the errors are on average; their shape is no Gaussian's, so coverage is only nearly its share.
    ratio = (truth - estimate.mean).square().mean().sqrt() / estimate.std.square().mean().sqrt()
    assert float(ratio) == pytest.approx(1, abs=0.08)
    assert 0.5 < float(inside.double().mean()) < 0.8
    if head == "ordinal":
        low, high = estimate.quantiles.interval(0.68)
        share = ((low <= truth) & (truth <= high)).double().mean()
        # Four binomial standard errors of 1,500 stars, fit and test together.
        assert float(share) == pytest.approx(0.68, abs=0.07)


def test_chosen_labels_are_estimated_in_the_chosen_order(simulator, validation):
    recipe = Recipe(steps=2, batch=64, validations=1)
    estimator = make_estimator("mlp", "nano", labels=["m_h", "log_g"], recipe=recipe, options={"width": 8})
    estimator.fit(endless(simulator, 1), validation)
    batch = collect(validation)
    assert estimator.predict(batch.flux, batch.sigma).mean.shape == (256, 2)
    assert estimator.label_space.names == ("m_h", "log_g")


def test_a_shortcut_started_from_ridge_is_ridge():
    sample, held_out = stars(256), stars(128, seed=1)
    train, check = MemorySource(sample, GRID, SPACE), MemorySource(held_out, GRID, SPACE)
    config = network_config("mlp").with_options({"width": 8, "shortcut": True, "head": "point"})
    network = build_network(config, GRID, SPACE).eval()
    fit_front(network, sample)
    start_from_ridge(network, sample, held_out, train)
    with torch.no_grad():
        network.body.head.linear.weight.zero_()
        network.body.head.linear.bias.zero_()
        found = network.estimate(held_out.flux, held_out.sigma).mean
    expected = Ridge(SPACE.names).fit(train, check).predict(held_out.flux, held_out.sigma).mean
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
    assert float(pooled_r2(found, held_out.labels.double()).min()) > 0.9


def test_ridge_needs_a_shortcut():
    network = build_network(network_config("mlp"), GRID, SPACE)
    with pytest.raises(ConfigError, match="shortcut = true"):
        start_from_ridge(network, stars(8), stars(8), MemorySource(stars(8), GRID, SPACE))


def test_a_subspace_needs_noise_free_spectra(simulator):
    batch = collect(simulator.source("train", 1, 64))
    network = build_network(network_config("subspace"), simulator.grid, simulator.prior.label_space)
    with pytest.raises(DataError, match="specvit simulate --truth"):
        fit_front(network, batch)


def test_take_stops_at_what_is_there(simulator):
    source = MemorySource(
        collect(simulator.source("train", 1, 40)), simulator.grid, simulator.prior.label_space
    )
    assert len(take(source, 25)) == 25
    assert len(take(source, 90)) == 40
    np.testing.assert_array_equal(take(source, 25).flux, source.batch.flux[:25])


def test_options_go_to_the_architecture_or_the_recipe():
    options, recipe = split_options("vit", "nano", {"patch": "64", "lr": "1e-4", "minutes": 3.0})
    assert options == {"patch": "64"}
    assert (recipe.lr, recipe.minutes) == (1e-4, 3.0)
    with pytest.raises(ConfigError, match="vit-nano: unknown option 'optimizer'; did you mean 'optimiser'"):
        split_options("vit", "nano", {"optimizer": "muon"})


@pytest.fixture
def starting(simulator, request):
    """A network whose first layer started from components, and spectra with truth."""
    model, options = request.param
    torch.manual_seed(0)
    network = build_network(
        network_config(model).with_options(options), simulator.grid, simulator.prior.label_space
    )
    sample = take(simulator.source("train", 1, 256), 256)
    fit_front(network, sample)
    start_from_components(network, sample)
    return network.eval(), sample


LOCAL = {"tokeniser": "local", "width": 32, "readout": 1}


@pytest.mark.parametrize(
    "starting", [("vit", {**LOCAL, "depth": 1, "patch": 64}), ("vit", {**LOCAL, "patch": 64, "stride": 40}),
                 ("vit", {**LOCAL, "depth": 1, "patch": 60}), ("swin", {**LOCAL, "blocks": 1, "patch": 60}),
                 ("mlp", {"width": 32})], indirect=True
)  # fmt: skip
def test_a_start_from_components_makes_the_first_features_matched_filters(starting):
    """Of unit variance, and nearly the coefficients of a subspace network."""
    network, sample = starting
    backbone, inputs = network.body.backbone, network.front(sample.flux, sample.sigma)
    with torch.no_grad():
        if isinstance(backbone, SpecViT):
            features = backbone.tokenisers[0](inputs.values).mean(dim=1)[:, :24]
        elif isinstance(backbone, Swin):
            padded = torch.nn.functional.pad(inputs.values, (0, backbone.padding))
            features = backbone.tokeniser(padded).mean(dim=1)[:, :24]
        else:
            features = backbone.layers[0](torch.cat([inputs.values.flatten(1), inputs.level], dim=1))[:, :24]
    np.testing.assert_allclose(features.std(dim=0), 1.0, rtol=1e-3)
    wiener = SubspaceProjection(sample.flux.shape[1], 24, 4).fit(sample.truth.flux, sample.flux, sample.sigma)
    expected = wiener(sample.flux, sample.sigma).values[:, 0]
    for k in range(3):
        assert abs(np.corrcoef(features[:, k], expected[:, k])[0, 1]) > 0.9


@pytest.mark.parametrize("model", ["mlp", "vit"])
@pytest.mark.parametrize("kinds", [1, 3])
def test_components_that_a_small_library_has_not_are_not_started_from(simulator, model, kinds):
    """Noise-free spectra of three sorts differ in two directions, those of one sort in none: the rest is rounding."""
    sample = take(simulator.source("train", 1, 256, truth=True), 256)
    level = sample.flux.double().median(dim=1, keepdim=True).values
    sort = torch.arange(256) % kinds
    clean = sample.truth.flux[sort].double() / level[sort]
    same = replace(sample, flux=(clean * level).float(), truth=replace(sample.truth, flux=clean * level))
    torch.manual_seed(0)
    network = build_network(network_config(model), simulator.grid, simulator.prior.label_space)
    fit_front(network, same)
    assert len(matched_filters(network.front, same)) == kinds - 1
    start_from_components(network, same)
    assert all(bool(parameter.isfinite().all()) for parameter in network.parameters())


def test_what_cannot_start_from_components_starts_at_random_or_says_so(simulator):
    validation = collect(simulator.source("validation", 1, 64))
    network = build_network(network_config("cnn"), simulator.grid, simulator.prior.label_space)
    assert prepare(network, simulator.source("train", 1, 128), validation, "auto") == "random"
    with pytest.raises(ConfigError, match="components need an mlp"):
        prepare(network, simulator.source("train", 1, 128), validation, "components")


def test_stored_spectra_train_as_well_as_simulated_ones(simulator, validation, tmp_path, monkeypatch):
    """With truth in the shards; the same spectra in another order, so only the score is compared."""
    monkeypatch.setattr(starts, "SAMPLE", 256)
    WriteJob(tmp_path / "shards", World(), "train", 1, 512, 2, True).run()
    recipe = Recipe(steps=16, batch=64, lr=2e-3, validations=2)
    scores, options = [], {"head": "gaussian", "width": 64}
    for source in (StoredSpectra(tmp_path / "shards"), simulator.source("train", 1, 512)):
        estimator = make_estimator("subspace", "nano", recipe=recipe, options=options)
        scores.append(estimator.fit(source, validation).origin.training.validation_r2)
    assert scores[0] > 0.2
    assert abs(scores[0] - scores[1]) < 0.15


@pytest.mark.slow
@pytest.mark.parametrize("model", ["subspace", "vit"])
def test_a_compiled_training_is_the_same_training(simulator, validation, model):
    """Simulation, body and backward pass compiled together; differences are those of fused arithmetic."""
    weights = []
    for compiled in (False, True):
        recipe = Recipe(steps=4, batch=64, validations=1, ema=0.0, compile=compiled)
        estimator = make_estimator(model, "nano", recipe=recipe, options={"width": 32, "depth": 1})
        estimator.fit(endless(simulator, 1), validation)
        weights.append([parameter.detach() for parameter in estimator.network.body.parameters()])
    for eager, fused in zip(*weights, strict=True):
        torch.testing.assert_close(fused, eager, rtol=0, atol=2e-4)
