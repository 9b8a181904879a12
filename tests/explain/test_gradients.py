"""Integrated gradients: exact for a linear network, complete for all, nothing on dead pixels."""

import pytest
import torch

from small_networks import GRID, OPTIONS, SPACE, make_network, spectra
from specvit.errors import LabelError
from specvit.estimators import network_config
from specvit.explain import estimate_slopes, gradients, integrated_gradients
from specvit.models.conditioning import normalise
from specvit.models.network import build_network


def test_a_linear_network_gives_weight_times_distance_from_the_mean_spectrum():
    config = network_config("mlp").with_options({"width": 4, "head": "point", "shortcut": True})
    network = build_network(config, GRID, SPACE).eval().requires_grad_(False)
    flux, sigma = spectra()
    network.front.fit(*spectra(40, seed=1))
    network.head.linear.weight.zero_()
    network.body.shortcut.weight.copy_(torch.randn(2, 96, generator=torch.Generator().manual_seed(3)))
    attribution = integrated_gradients(network, flux, sigma, "teff")
    _, spectrum, _, _ = normalise(flux, sigma)
    weight = network.body.shortcut.weight[1] / network.front.scale * network.head.labels_scaling.width[1]
    slopes = estimate_slopes(network, flux, sigma, "teff")
    torch.testing.assert_close(
        slopes * normalise(flux, sigma)[3], weight.expand_as(flux), rtol=1e-4, atol=1e-3
    )
    expected = weight * (spectrum - network.front.centre)
    torch.testing.assert_close(attribution.values.float(), expected, rtol=1e-4, atol=1e-3)
    assert attribution.gap.abs().max() < 1e-3 * attribution.difference.abs().max()


# Normalised chunk by chunk, the mean spectrum is 0 / 0: the estimate jumps at the start of the path.
@pytest.mark.parametrize("model", [model for model in OPTIONS if model != "mlp-chunk"])
def test_contributions_add_up_to_the_change_of_the_estimate(model):
    network = make_network(model)
    flux, sigma = spectra()
    attribution = integrated_gradients(network, flux, sigma, "log_g")
    estimate = network.estimate(flux, sigma).mean[:, 0]
    _, _, noise, _ = normalise(flux, sigma)
    live = torch.ones_like(flux, dtype=torch.bool)
    inputs = network.front.from_normalised(live, network.front.baseline.expand_as(flux), noise)
    baseline = network.mean(network.body(inputs))[:, 0]
    torch.testing.assert_close(attribution.difference, estimate - baseline, rtol=1e-4, atol=1e-5)
    assert attribution.difference.abs().max() > 1e-3
    assert attribution.gap.abs().max() < gradients.TOLERANCE * 4 / 12**0.5


@pytest.mark.parametrize("model", OPTIONS)
def test_dead_pixels_contribute_nothing_and_their_values_do_not_matter(model, monkeypatch):
    monkeypatch.setattr(gradients, "MOST_STEPS", gradients.STEPS)
    network = make_network(model)
    flux, sigma = spectra()
    sigma[:, 20:60], flux[2, 70] = torch.inf, torch.nan
    # A whole chunk without a live pixel: its spread is zero, whose root has no slope.
    values = integrated_gradients(network, flux, sigma, "log_g").values
    assert torch.isfinite(values).all()
    assert (values[:, 20:60] == 0).all()
    assert values[2, 70] == 0
    assert (values[:, :20] != 0).any()
    flux[:, 30] = 1e9
    again = integrated_gradients(network, flux, sigma, "log_g").values
    torch.testing.assert_close(again, values, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("model", OPTIONS)
def test_slopes_are_what_a_small_change_of_the_flux_does(model):
    network = make_network(model)
    flux, sigma = spectra()
    sigma[:, 90:] = torch.inf
    slopes = estimate_slopes(network, flux, sigma, "log_g")
    assert (slopes[:, 90:] == 0).all()
    usable, spectrum, noise, level = normalise(flux, sigma)
    step = 3e-3 * torch.randn(spectrum.shape, generator=torch.Generator().manual_seed(5))

    def estimate(here):
        inputs = network.front.from_normalised(usable, here, noise)
        return network.mean(network.body(inputs))[:, 0]

    change = (estimate(spectrum + step) - estimate(spectrum - step)) / 2
    torch.testing.assert_close((slopes * level * step).sum(dim=1).double(), change, rtol=2e-2, atol=1e-4)


@pytest.mark.parametrize("model", ["vit", "cnn", "subspace"])
def test_spectra_of_a_batch_do_not_meet_and_their_unit_does_not_matter(model):
    network = make_network(model)
    flux, sigma = spectra()
    values = integrated_gradients(network, flux, sigma, "log_g").values
    alone = integrated_gradients(network, 8 * flux[3:4], 8 * sigma[3:4], "log_g").values
    torch.testing.assert_close(alone[0], values[3], rtol=1e-3, atol=1e-6)


def test_poor_sums_are_done_again_with_more_points(monkeypatch):
    network = make_network("vit")
    steps = []
    original = gradients._Path.attribute

    def attribute(path, count):
        steps.append((count, len(path.change)))
        return original(path, count)

    monkeypatch.setattr(gradients._Path, "attribute", attribute)
    monkeypatch.setattr(gradients, "STEPS", 1)
    monkeypatch.setattr(gradients, "MOST_STEPS", 4)
    monkeypatch.setattr(gradients, "TOLERANCE", 1e-9)
    integrated_gradients(network, *spectra(), "log_g")
    assert steps == [(1, 6), (2, 6), (4, 6)]


def test_the_network_is_left_without_gradients():
    network = make_network("vit")
    integrated_gradients(network, *spectra(), "log_g")
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    assert not network.front(*spectra()).values.requires_grad


def test_the_front_end_builds_no_graph_in_training():
    for model in ("vit", "subspace"):
        network = make_network(model).train().requires_grad_(True)
        assert not any(part.requires_grad for part in network.front(*spectra()))


def test_an_unknown_label_is_named():
    with pytest.raises(LabelError, match="unknown label 'm_h'; known labels are log_g, teff"):
        integrated_gradients(make_network("mlp"), *spectra(), "m_h")
