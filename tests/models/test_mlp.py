"""Perceptrons, the linear shortcut, heads and label scaling."""

import json

import numpy as np
import pytest
import torch
from scipy import stats

from specvit.errors import ConfigError
from specvit.estimators.architectures import ARCHITECTURES, network_config
from specvit.estimators.network_settings import read_config
from specvit.models.conditioning import Inputs
from specvit.models.heads import QUANTILES, Head, LabelScaling
from specvit.models.mlp import MLP, MLPConfig, ResidualBlock
from specvit.models.network import build_network
from specvit.spectra import LOW_T_BOX, WavelengthGrid

GRID = WavelengthGrid.linear(8000, 1.0, 40)
TWO = LOW_T_BOX.select(["log_g", "teff"])


def test_a_residual_block_starts_as_the_identity():
    features = torch.randn(3, 8)
    torch.testing.assert_close(ResidualBlock(8, 0.0)(features), features)


def test_level_features_reach_the_output():
    torch.manual_seed(0)
    network = MLP(MLPConfig(8, 2), (1, 10, 2))
    inputs = Inputs(torch.randn(3, 1, 10), torch.ones(3, 10, dtype=torch.bool), torch.randn(3, 2))
    assert (network(inputs) - network(inputs._replace(level=inputs.level + 1))).abs().max() > 1e-4


@pytest.mark.parametrize("head", ["point", "gaussian"])
def test_a_zero_shortcut_changes_nothing_and_a_full_one_adds_to_the_values_alone(head):
    config = network_config("mlp", "nano").with_options({"width": 8, "head": head, "shortcut": True})
    torch.manual_seed(0)
    network = build_network(config, GRID, TWO).eval()
    flux, sigma = 1 + 0.1 * torch.randn(4, 40), torch.full((4, 40), 0.1)
    with torch.no_grad():
        before = network(flux, sigma)
        network.body.shortcut.weight.normal_()
        after = network(flux, sigma)
        linear = network.body.shortcut(network.front(flux, sigma).values[:, 0])
    torch.testing.assert_close(after[..., 0] - before[..., 0], linear, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after[..., 1:], before[..., 1:])


def test_an_ordinal_head_takes_no_shortcut():
    with pytest.raises(ConfigError, match="shortcut"):
        network_config("mlp").with_options({"shortcut": "true", "head": "ordinal"})


def test_heads_are_sharper_for_less_noise_if_their_level_says_so():
    torch.manual_seed(0)
    features, level = torch.randn(1, 8).expand(2, -1), torch.tensor([[-1.0], [1.0]])
    for kind in ("gaussian", "ordinal"):
        head = Head(8, 1, TWO, kind)
        before = head.decode(head(features, level), level).std.detach()
        torch.testing.assert_close(before[0], before[1])
        with torch.no_grad():
            head.sharpness.weight.fill_(0.7)
            raw = head(features, level)
        estimate = head.decode(raw, level)
        ratio = estimate.std[0] / estimate.std[1]
        assert (ratio > 1).all()
        if kind == "gaussian":
            np.testing.assert_allclose(ratio, np.exp(1.4), rtol=1e-5)
            np.testing.assert_allclose(*estimate.mean)


@pytest.mark.parametrize(("scaling", "mean", "std"), [("zscore", 0, 1), ("minmax", 0.5, 12**-0.5)])
def test_scaled_uniform_labels_have_the_stated_moments(scaling, mean, std):
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.uniform(TWO.low, TWO.high, (20_000, 2)))
    scaled = LabelScaling(TWO, scaling).to_scaled(labels)
    np.testing.assert_allclose(scaled.mean(dim=0), mean, atol=0.02)
    np.testing.assert_allclose(scaled.std(dim=0), std, rtol=0.02)
    np.testing.assert_allclose(LabelScaling(TWO, scaling).to_labels(scaled), labels, rtol=1e-6)


def test_gaussian_head_decodes_mean_and_error_in_label_units():
    head = Head(4, 0, TWO, "gaussian")
    estimate = head.decode(torch.tensor([[[0.0, 0.0], [1.0, 2 * np.log(2)]]]), torch.zeros(1, 0))
    np.testing.assert_allclose(estimate.mean, [[3.0, 4875 + 2250 / 12**0.5]], rtol=1e-6)
    np.testing.assert_allclose(estimate.std, [[4 / 12**0.5, 2 * 2250 / 12**0.5]], rtol=1e-6)


def test_ordinal_head_decodes_the_moments_and_quantiles_of_its_histogram():
    torch.manual_seed(0)
    head = Head(4, 0, TWO, "ordinal", bins=6)
    raw = 2 * torch.randn(3, 2, 6)
    estimate = head.decode(raw, torch.zeros(3, 0))
    probability = raw.double().softmax(dim=-1).numpy()
    for label in range(2):
        edges = np.linspace(TWO.low[label], TWO.high[label], 7)
        for row in range(3):
            density = stats.rv_histogram((probability[row, label], edges), density=False)
            np.testing.assert_allclose(estimate.mean[row, label], density.mean(), rtol=1e-6)
            np.testing.assert_allclose(estimate.std[row, label], density.std(), rtol=1e-6)
            np.testing.assert_allclose(estimate.quantiles[row, label], density.ppf(QUANTILES), rtol=1e-6)


def test_ordinal_mean_of_a_certain_bin_is_its_centre():
    head = Head(4, 0, TWO, "ordinal", bins=4)
    raw = torch.full((1, 2, 4), -50.0)
    raw[..., 2] = 50.0
    np.testing.assert_allclose(head.mean(raw)[0], [3.5, 3750 + 2250 * 0.625])


@pytest.mark.parametrize("model", ARCHITECTURES)
@pytest.mark.parametrize("size", ["nano", "small"])
def test_every_size_survives_its_description(model, size):
    config = network_config(model, size)
    assert read_config(json.loads(json.dumps(config.to_dict())), "test") == config


def test_sizes_grow():
    for sizes in (kind.sizes for kind in ARCHITECTURES.values()):
        grid = WavelengthGrid.linear(7100.214, 0.42725, 4096)
        counts = [
            build_network(c, grid, LOW_T_BOX).parameter_count for n, c in sizes.items() if n != "reference"
        ]
        assert counts == sorted(counts)


def test_options_are_read_from_text():
    config = network_config("vit").with_options(
        {"patch": "16", "dropout": "0.2", "windows": "true", "channels": "flux,sigma", "head": "ordinal"}
    )
    assert (config.backbone.patch, config.backbone.dropout, config.backbone.windows) == (16, 0.2, True)
    assert (config.front.channels, config.head) == (("flux", "sigma"), "ordinal")


@pytest.mark.parametrize(
    ("option", "message"),
    [({"patsh": 3}, "did you mean 'patch'"), ({"patch": "wide"}, "expected a int"), ({"head": "x"}, None)],
)
def test_wrong_options_are_refused(option, message):
    with pytest.raises(ConfigError, match=message):
        build_network(network_config("vit").with_options(option), GRID, TWO)


@pytest.mark.parametrize(("model", "size"), [("resnet", "nano"), ("cnn", "reference")])
def test_unknown_models_and_sizes_are_refused(model, size):
    with pytest.raises(ConfigError, match="choose"):
        network_config(model, size)
