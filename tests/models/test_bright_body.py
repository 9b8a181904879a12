"""A second body for bright stars: it answers for them and for no others, wherever a network is asked."""

from dataclasses import replace

import pytest
import torch

from specvit.estimators import load_estimator
from specvit.estimators.architectures import network_config
from specvit.estimators.network_estimator import NetworkEstimator
from specvit.estimators.network_fitter import NetworkFitter
from specvit.explain.attention import attention_profiles
from specvit.models.body import Gate
from specvit.models.network import build_network
from specvit.models.origin import Origin
from specvit.models.states import OUTPUT
from specvit.simulate import Simulator, Widening, World
from specvit.spectra import median_snr
from specvit.training.continuing import start_bright
from specvit.training.fine_tuning import freeze, stages_of
from specvit.training.recipe import Recipe
from specvit.training.starts import fit_front

GATE = 50.0


@pytest.fixture(scope="module")
def wide():
    """Spectra of S/N 2 to 400."""
    return World(widening=Widening(share=1.0)).build().source("train", 5, 256, truth=True).draw(0, 256)


@pytest.fixture(scope="module", params=["subspace", "vit", "mlp", "cnn", "swin"])
def network(request, wide):
    """An untrained network with two bodies that do not agree."""
    simulator = Simulator.build()
    torch.manual_seed(0)
    config = replace(network_config(request.param), bright=GATE)
    found = build_network(config, simulator.grid, simulator.prior.label_space).eval()
    fit_front(found, wide)
    start_bright(found, wide)
    with torch.no_grad():
        for parameter in found.body.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return found


def alone(network, bright):
    """Return the raw outputs of one of the two bodies for all spectra."""
    return lambda inputs: network.body.parts[int(bright)]._own(inputs)[1]


def test_each_spectrum_gets_the_answer_of_its_body(network, wide):
    inputs = network.front(wide.flux, wide.sigma)
    rows = network.body.bright.gate(inputs.level)
    assert 40 < int(rows.sum()) < 216
    with torch.no_grad():
        found = network.body(inputs)
        for bright, mine in ((True, rows), (False, ~rows)):
            expected = alone(network, bright)(inputs)
            assert torch.allclose(found[mine], expected[mine], atol=1e-4)
            assert not torch.allclose(found[~mine], expected[~mine], atol=1e-2)
            # Also where all spectra are of one side.
            some = replace_rows(inputs, mine)
            assert torch.allclose(network.body(some), expected[mine], atol=1e-4)


def replace_rows(inputs, rows):
    return inputs._replace(
        values=inputs.values[rows],
        usable=None if inputs.usable is None else inputs.usable[rows],
        level=inputs.level[rows],
    )


def test_the_gate_is_at_the_signal_to_noise_it_says(network, wide):
    """A straight line in ln S/N: stars more than a tenth off in S/N are on the side where they belong."""
    snr = median_snr(wide.flux, wide.sigma)
    rows = network.body.bright.gate(network.front(wide.flux, wide.sigma).level)
    assert bool(rows[snr > 1.1 * GATE].all())
    assert not bool(rows[snr < GATE / 1.1].any())


def test_a_gate_that_was_told_nothing_calls_no_star_bright(wide):
    level = torch.randn(8, 1)
    for snr in (torch.full((8,), 5.0), torch.full((8,), torch.inf)):
        assert not bool(Gate().fit(level, snr, GATE)(level).any())
    assert not bool(Gate()(level).any())


def test_layers_are_those_of_the_body_that_answers(network, wide):
    inputs = network.front(wide.flux, wide.sigma)
    rows = network.body.bright.gate(inputs.level)
    with torch.no_grad():
        *layers, last = network.states_of(inputs)
        assert last.name == OUTPUT
        assert torch.allclose(last.values, network.body(inputs).flatten(1))
        for part, mine in ((network.body, ~rows), (network.body.bright.body, rows)):
            for found, expected in zip(layers[2:], part.backbone.states(inputs), strict=True):
                assert found.name == expected.name
                assert torch.equal(found.values[mine], expected.values[mine])


def test_attention_is_that_of_the_body_that_answers(wide):
    simulator = Simulator.build()
    config = replace(network_config("vit"), bright=GATE)
    network = build_network(config, simulator.grid, simulator.prior.label_space).eval()
    fit_front(network, wide)
    start_bright(network, wide)
    with torch.no_grad():
        for parameter in network.body.bright.body.backbone.blocks.parameters():
            parameter.mul_(8)
    few = wide[:32]
    rows = network.body.bright.gate(network.front(few.flux, few.sigma).level)
    both = attention_profiles(network, few.flux, few.sigma).blocks
    network.body.bright.gate.at.fill_(torch.inf)
    faint = attention_profiles(network, few.flux, few.sigma).blocks
    assert torch.allclose(both[~rows], faint[~rows], rtol=1e-4, atol=1e-8)
    assert not torch.allclose(both[rows], faint[rows], rtol=1e-2, atol=1e-8)


def test_it_is_saved_and_read_back(tmp_path, network, wide, simulator):
    source = simulator.source("train", 5, 64)
    saved = NetworkEstimator("two").adopt(network, Origin.of(source, source))
    saved.save(tmp_path / "two")
    found = load_estimator(tmp_path / "two")
    assert found.network.config.bright == GATE
    expected = saved.predict(wide.flux[:32], wide.sigma[:32])
    assert torch.equal(found.predict(wide.flux[:32], wide.sigma[:32]).mean, expected.mean)


def fitted(model, world, tmp_path, **recipe):
    config = replace(network_config(model), bright=GATE)
    recipe = Recipe(steps=8, batch=32, validations=2, precision="fp32", **recipe)
    simulator = world.build()
    train, validation = (simulator.source(split, 5, 512, truth=True) for split in ("train", "validation"))
    return NetworkFitter(config, recipe, folder=tmp_path)(train, validation)[0]


def test_a_training_without_bright_stars_leaves_their_body_as_it_began(tmp_path):
    """Not even its weights decay: what is not asked learns nothing."""
    network = fitted("subspace", World(), tmp_path, weight_decay=10.0)
    began = {name: value.clone() for name, value in network.body.bright.body.state_dict().items()}
    own = network.body.state_dict()
    layer = next(name for name in began if name.endswith("up.weight"))
    assert not torch.equal(own[layer], began[layer])
    bright = fitted("subspace", World(widening=Widening(1.0, (100, 300))), tmp_path / "b", weight_decay=10.0)
    # Both began alike, and now the other one has moved.
    assert torch.equal(bright.body.state_dict()[layer], began[layer])
    assert not torch.equal(bright.body.bright.body.state_dict()[layer], began[layer])


def test_both_are_frozen_alike():
    simulator = Simulator.build()
    config = replace(network_config("vit"), bright=GATE)
    network = build_network(config, simulator.grid, simulator.prior.label_space)
    freeze(network, "encoder")
    free = {name for name, value in network.body.named_parameters() if value.requires_grad}
    own = {name for name in free if not name.startswith("bright.")}
    assert own
    assert {f"bright.body.{name}" for name in own} == free - own
    assert len(stages_of(network.body)) == len(stages_of(network.body.parts[1]))
