"""A training that starts from a trained network: nothing learned is lost, and what does not fit is refused."""

from dataclasses import replace

import pytest
import torch

from specvit.errors import ConfigError
from specvit.estimators.architectures import network_config
from specvit.estimators.network_fitter import network_to_start_from
from specvit.models.network import build_network
from specvit.simulate import Simulator, Widening, World
from specvit.training import continuing
from specvit.training.continuing import check_same_kind, grown, start_from_network
from specvit.training.starts import fit_front


@pytest.fixture(scope="module")
def spectra():
    """Spectra of the survey, and a sample with a wider range of noise, whose levels are scaled otherwise."""
    plain = Simulator.build().source("train", 5, 256, truth=True).draw(0, 256)
    wide = World(widening=Widening()).build().source("train", 5, 256).draw(0, 256)
    return plain, wide


@pytest.mark.parametrize("model", ["subspace", "vit", "mlp", "cnn", "swin"])
@pytest.mark.parametrize(("split", "peak"), [(1, False), (4, False), (2, True)])
def test_the_first_answers_are_those_of_the_first_network(simulator, spectra, model, split, peak):
    plain, wide = spectra
    torch.manual_seed(0)
    config = network_config(model)
    first = build_network(config, simulator.grid, simulator.prior.label_space).eval()
    fit_front(first, plain)
    # As after a training: no weight is at the zero or one it started from.
    with torch.no_grad():
        for parameter in first.body.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    grown = replace(config, bins=split * config.bins, peak=peak)
    network = build_network(grown, simulator.grid, first.label_space).eval()
    check_same_kind(network, first, simulator.grid, simulator.grid)
    start_from_network(network, first, wide)
    assert not torch.allclose(network.front.level_scale, first.front.level_scale, rtol=0.1)
    few = plain[:16]
    with torch.no_grad():
        ours, theirs = (n.mean(n(few.flux, few.sigma)) for n in (network, first))
    width = first.head.labels_scaling.width.double()
    # A peak that is new is nearly flat, as one that is flat would learn nothing.
    assert float(((ours - theirs) / width).abs().max()) < (5e-3 if peak else 1e-4)
    assert float((theirs / width).std()) > 1e-2


@pytest.mark.parametrize(("far", "kept"), [(continuing.FAR, True), (1e9, False)])
def test_levels_far_beyond_the_first_training_stay_what_they_were(simulator, spectra, monkeypatch, far, kept):
    """Pixels that a spectrograph leaves dead: carried on along a line, the network would begin with nonsense."""
    monkeypatch.setattr(continuing, "FAR", far)
    plain, _ = spectra
    torch.manual_seed(0)
    config = network_config("subspace")
    first = build_network(config, simulator.grid, simulator.prior.label_space).eval()
    fit_front(first, plain)
    with torch.no_grad():
        for parameter in first.body.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    sigma = plain.sigma.clone()
    sigma[:, :1200] = torch.inf
    dead = replace(plain, sigma=sigma)
    network = build_network(config, simulator.grid, first.label_space).eval()
    start_from_network(network, first, dead)
    with torch.no_grad():
        ours, theirs = (n.mean(n(dead.flux, dead.sigma)) for n in (network, first))
    width = first.head.labels_scaling.width.double()
    off = float(((ours - theirs) / width).square().mean().sqrt())
    assert (off < 0.1 * float((theirs / width).std())) == kept


def test_another_kind_is_refused(simulator):
    space = simulator.prior.label_space
    first = build_network(network_config("mlp"), simulator.grid, space)
    for config in (
        network_config("cnn"),
        network_config("mlp", "small"),
        replace(network_config("mlp"), bins=96),
    ):
        with pytest.raises(ConfigError, match="start"):
            check_same_kind(
                build_network(config, simulator.grid, space), first, simulator.grid, simulator.grid
            )
    fewer = build_network(network_config("mlp"), simulator.grid, space.select(("log_g",)))
    with pytest.raises(ConfigError, match="log_g"):
        check_same_kind(fewer, first, simulator.grid, simulator.grid)


def test_a_peak_that_was_learnt_is_not_dropped(simulator):
    space, config = simulator.prior.label_space, network_config("mlp")
    first = build_network(replace(config, peak=True), simulator.grid, space)
    with pytest.raises(ConfigError, match="peak"):
        check_same_kind(build_network(config, simulator.grid, space), first, simulator.grid, simulator.grid)


def test_a_peak_goes_on_as_it_was(simulator, spectra):
    plain, wide = spectra
    torch.manual_seed(0)
    config = replace(network_config("subspace"), peak=True)
    first, network = (
        build_network(config, simulator.grid, simulator.prior.label_space).eval() for _ in range(2)
    )
    fit_front(first, plain)
    start_from_network(network, first, wide)
    few = plain[:16]
    with torch.no_grad():
        ours, theirs = (n.mean(n(few.flux, few.sigma)) for n in (network, first))
    width = first.head.labels_scaling.width.double()
    assert float(((ours - theirs) / width).abs().max()) < 1e-4


def test_the_other_front_end_does_not_matter(simulator):
    """What a description says of a front end it has not is no difference."""
    space, config = simulator.prior.label_space, network_config("mlp")
    other = replace(config, front=replace(config.front, components=7))
    check_same_kind(
        build_network(config, simulator.grid, space),
        build_network(other, simulator.grid, space),
        simulator.grid,
        simulator.grid,
    )


def test_what_the_first_network_has_is_kept():
    """Nobody who starts from a network has to look up what it has: its bins, its peak."""
    plain = network_config("vit")
    first = replace(plain, bins=512, peak=True)
    assert grown(plain, first) == first
    assert grown(replace(plain, bins=1024), first) == replace(first, bins=1024)


def test_a_refusal_names_what_differs_and_nothing_else(simulator):
    space = simulator.prior.label_space
    first = build_network(network_config("vit"), simulator.grid, space)
    other = build_network(network_config("vit").with_options({"depth": 2}), simulator.grid, space)
    with pytest.raises(ConfigError) as caught:
        check_same_kind(other, first, simulator.grid, simulator.grid)
    text = str(caught.value)
    assert f"has depth = {first.config.backbone.depth}, this training depth = 2;" in text


def test_a_start_is_a_word_or_a_saved_network():
    assert network_to_start_from("components") is None
    found = network_to_start_from("subspace")
    assert found is not None
    assert found.name == "subspace"
    with pytest.raises(ConfigError, match=r"start.*nothere"):
        network_to_start_from("nothere")
