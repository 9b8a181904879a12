"""What survives a layer: all of it where a layer only mixes, none where it sees nothing, never more than there was."""

import pytest
import torch

from specvit.errors import ConfigError
from specvit.estimators.architectures import network_config
from specvit.models import build_network
from specvit.represent import layer_information
from specvit.represent.information import LayerInformation
from specvit.spectra import LOW_T_BOX, WavelengthGrid

PIXELS = 40
GRID = WavelengthGrid.linear(8400, 1.0, PIXELS)
SPACE = LOW_T_BOX.select(["log_g", "teff"])
PRIOR = torch.tensor([1.2, 4e5], dtype=torch.float64)


def stars(count=2):
    generator = torch.Generator().manual_seed(2)
    flux = 1 + 0.05 * torch.randn(count, PIXELS, generator=generator)
    jacobian = torch.randn(count, PIXELS, 2, generator=generator) * torch.tensor([0.05, 1e-4])
    noise = 0.05 + 0.05 * torch.rand(count, PIXELS, generator=generator)
    return flux, noise, jacobian


def network(**options):
    torch.manual_seed(4)
    config = network_config("mlp", "nano").with_options({"width": 64, "depth": 1, **options})
    return build_network(config, GRID, SPACE).eval()


def independent(flux, noise, jacobian, read):
    """The variances of a star by the textbook: F = mᵀ C⁻¹ m with m = A J and C = A Σ Aᵀ."""
    level = flux.median()
    slopes = torch.cat([jacobian, flux[:, None]], dim=1).double() / level
    mean = read @ slopes
    covariance = read @ torch.diag((noise.double() / level).square()) @ read.T
    fisher = mean.T @ torch.linalg.solve(covariance, mean)
    precision = torch.cat([PRIOR, torch.ones(1)]).reciprocal().diag()
    return torch.linalg.inv(fisher + precision).diagonal()[:2]


def found(built, keys):
    flux, noise, jacobian = stars()
    return layer_information(built, (flux, noise), noise, jacobian, PRIOR, keys)


def test_it_is_the_information_of_the_linearised_layer():
    built = network()
    with torch.no_grad():
        weights = built.body.backbone.layers[0].weight[:12, :PIXELS].double()
        # Twelve numbers of the pixels: the first layer, cut, is a linear map that is known.
        built.body.backbone.layers[0].weight[12:] = 0
    kept = found(built, [("entry", "vector")])["entry", "vector"]
    flux, noise, jacobian = stars()
    for star in range(2):
        expected = independent(flux[star], noise[star], jacobian[star], weights)
        torch.testing.assert_close(kept.variance[star], expected, rtol=1e-3, atol=0)


def test_an_invertible_layer_loses_nothing_and_later_ones_only_lose():
    built = network()
    with torch.no_grad():
        for parameter in built.body.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    layers = [("input", "vector"), ("entry", "vector"), ("block1", "vector"), ("features", "vector")]
    kept = found(built, layers)
    # 64 units of 40 pixels: as many as are needed to read every one.
    torch.testing.assert_close(kept["input", "vector"].survives, torch.ones(2).double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(kept["entry", "vector"].survives, torch.ones(2).double(), rtol=1e-3, atol=0)
    for key in layers:
        assert bool((kept[key].variance >= kept[key].whole * (1 - 1e-9)).all())
        assert bool((kept[key].variance <= PRIOR * (1 + 1e-9)).all())
    assert bool((kept["features", "vector"].survives <= 1 + 1e-9).all())


def test_a_layer_that_sees_no_flux_keeps_nothing():
    kept = found(network(), [("level", "vector")])["level", "vector"]
    torch.testing.assert_close(kept.variance, PRIOR.expand(2, 2))
    torch.testing.assert_close(kept.survives, torch.zeros(2).double())


def test_a_wide_layer_is_refused_and_survival_is_of_the_gain_over_the_prior(monkeypatch):
    monkeypatch.setattr("specvit.represent.information.WIDEST", 10)
    with pytest.raises(ConfigError, match=r"entry/vector has 64 numbers"):
        found(network(), [("entry", "vector")])
    half = LayerInformation(torch.tensor([[0.6]]), torch.tensor([[0.2]]), torch.tensor([1.0]))
    assert float(half.survives) == pytest.approx(0.5)
