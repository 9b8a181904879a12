"""The layers of every network, by name: the last is what the head reads, and pooling is what it says."""

import itertools

import pytest
import torch

from specvit.errors import ConfigError
from specvit.estimators.architectures import network_config
from specvit.models import build_network
from specvit.models.states import FEATURES, INPUT, LEVEL, OUTPUT, Layered, Pooling, State
from specvit.spectra import LOW_T_BOX, WavelengthGrid

GRID = WavelengthGrid.linear(8400, 0.8, 512)
SPACE = LOW_T_BOX.select(["log_g", "teff"])
#: Kind of network -> options beside those of its smallest size.
KINDS = {
    "vit": {"patch": 32, "tokeniser": "c1d"},
    "vit-cls": {"patch": 32, "pooling": "cls", "coarse_patch": 128, "readout": 0},
    "swin": {"stages": 2, "patch": 8},
    "swin-plain": {"stages": 2, "readout": 0},
    "cnn": {},
    "mlp": {"head": "gaussian", "shortcut": True},
    "mlp-plain": {"form": "plain", "depth": 2},
    "subspace": {"components": 8, "patterns": 2},
}


def network(kind):
    torch.manual_seed(0)
    options = KINDS[kind]
    built = build_network(
        network_config(kind.partition("-")[0], "nano").with_options(options), GRID, SPACE
    ).eval()
    # Fresh networks are near the identity: every layer has to do something to be told from the next.
    with torch.no_grad():
        for parameter in built.body.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return built


def spectra(count=3):
    generator = torch.Generator().manual_seed(1)
    flux = 1 + 0.1 * torch.randn(count, GRID.size, generator=generator)
    sigma = 0.1 + 0.05 * torch.rand(count, GRID.size, generator=generator)
    sigma[0, 40:120] = torch.inf
    return flux, sigma


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_features_and_outputs_are_those_of_the_forward_pass(kind):
    built = network(kind)
    flux, sigma = spectra()
    assert isinstance(built, Layered)
    states = list(built.states(flux, sigma))
    inputs = built.front(flux, sigma)
    assert [state.name for state in states][:2] == [INPUT, LEVEL]
    features, output = states[-2:]
    torch.testing.assert_close(features.values, built.body.backbone(inputs))
    assert (features.name, output.name) == (FEATURES, OUTPUT)
    torch.testing.assert_close(output.values, built(flux, sigma).flatten(1))
    assert len({state.name for state in states}) == len(states)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_each_layer_differs_from_the_one_before(kind):
    states = [state.values for state in network(kind).states(*spectra())]
    for before, after in itertools.pairwise(states):
        assert before.shape != after.shape or not torch.allclose(before, after)


@torch.no_grad()
def test_the_tokens_of_a_state_are_the_finest_in_order_of_wavelength():
    built = network("vit-cls")
    flux, sigma = spectra(1)
    before = next(s for s in built.states(flux, sigma.clamp(max=1)) if s.name == "tokens")
    flux[0, 7 * 32 : 8 * 32] += 0.3
    after = next(s for s in built.states(flux, sigma.clamp(max=1)) if s.name == "tokens")
    changed = (before.values - after.values).abs().amax(dim=2)[0]
    assert before.values.shape[1] == 512 // 32
    assert int(changed.argmax()) == 7
    # The median of the spectrum, and with it the level that is added to every token, moved a little.
    assert float((before.cls - after.cls).abs().max()) < 0.1 * float(changed.max())


def test_pooling_is_what_it_says():
    tokens = torch.arange(24.0).reshape(1, 6, 4)
    state = State("a", tokens, cls=torch.full((1, 4), -1.0))
    assert torch.equal(Pooling.parse("cls")(state), state.cls)
    assert torch.equal(Pooling.parse("mean")(state), tokens.mean(dim=1))
    assert torch.equal(Pooling.parse("mean+max")(state), torch.cat([tokens.mean(1), tokens.amax(1)], 1))
    halves = torch.cat([tokens[:, :3].mean(1), tokens[:, 3:].mean(1)], 1)
    assert torch.equal(Pooling.parse("segments:2")(state), halves)
    assert torch.equal(Pooling.parse("segments:6")(state), tokens.flatten(1))
    assert torch.equal(Pooling.parse("tokens")(state), tokens)
    vector = State("b", tokens[:, 0])
    assert torch.equal(Pooling.parse("segments:8")(vector), vector.values)
    assert Pooling.parse("mean").name_for(vector) == "vector"


@pytest.mark.parametrize("text", ["median", "segments", "segments:0", "segments:x", "mean:3", ""])
def test_an_unknown_pooling_is_refused(text):
    with pytest.raises(ConfigError, match=r"pool: .*segments:8"):
        Pooling.parse(text)


def test_what_a_layer_lacks_is_named():
    state = State("block1", torch.zeros(1, 6, 4))
    with pytest.raises(ConfigError, match=r"block1.*no CLS"):
        Pooling.parse("cls")(state)
    with pytest.raises(ConfigError, match=r"block1.*6 tokens"):
        Pooling.parse("segments:7")(state)
