"""Swin-1D: windows, shifts and the pyramid."""

import pytest
import torch

from specvit.errors import ConfigError
from specvit.models.conditioning import Inputs
from specvit.models.swin import Merge, Swin, SwinConfig, WindowBlock


def influence(block, tokens, source):
    """Return which output tokens change when token `source` changes."""
    changed = tokens.clone()
    changed[:, source] *= -1
    return ((block(changed) - block(tokens)).abs().amax(dim=(0, 2)) > 1e-6).nonzero()[:, 0].tolist()


@pytest.fixture
def tokens():
    torch.manual_seed(0)
    return torch.randn(1, 12, 8)


def test_an_unshifted_block_stays_within_its_window(tokens):
    block = WindowBlock(8, 2, 4, 16, 0.0, shift=0).eval()
    assert influence(block, tokens, 5) == [4, 5, 6, 7]


def test_a_shifted_block_crosses_the_border_of_windows(tokens):
    block = WindowBlock(8, 2, 4, 16, 0.0, shift=2).eval()
    assert influence(block, tokens, 5) == [2, 3, 4, 5]


@pytest.mark.parametrize(("source", "reached"), [(0, [0, 1]), (11, [10, 11])])
def test_the_two_ends_of_a_spectrum_never_meet(tokens, source, reached):
    block = WindowBlock(8, 2, 4, 16, 0.0, shift=2).eval()
    assert influence(block, tokens, source) == reached


def test_relative_bias_depends_on_distance_only(tokens):
    block = WindowBlock(8, 2, 4, 16, 0.0, shift=0)
    with torch.no_grad():
        block.relative_bias.copy_(torch.arange(14.0).view(2, 7))
    bias = block.relative_bias[:, block.relative]
    for offset in range(-3, 4):
        assert len(bias.diagonal(offset, 1, 2).unique(dim=1)[0]) == 1
    assert float(bias.detach()[0, 0, 3]) == 0.0
    assert float(bias.detach()[0, 3, 0]) == 6.0


def test_merging_halves_the_tokens_and_doubles_the_width(tokens):
    assert Merge(8)(tokens).shape == (1, 6, 16)


@pytest.mark.parametrize("pixels", [64, 100, 513])
def test_any_length_is_filled_up_to_whole_windows(pixels):
    network = Swin(SwinConfig(patch=4, window=4, width=8, stages=3), (1, pixels, 1))
    usable = torch.ones(2, pixels, dtype=torch.bool)
    features = network(Inputs(torch.randn(2, 1, pixels), usable, torch.zeros(2, 1)))
    assert features.shape == (2, 32) == (2, network.width)


def test_a_readout_is_given_the_mean_tokens_of_every_stage():
    torch.manual_seed(3)
    config = SwinConfig(patch=4, window=4, width=8, stages=3, blocks=1, readout=1, readout_width=12)
    network = Swin(config, (1, 128, 1)).eval()
    usable = torch.ones(2, 128, dtype=torch.bool)
    inputs = Inputs(torch.randn(2, 1, 128), usable, torch.zeros(2, 1))
    assert network(inputs).shape == (2, 12) == (2, network.width)
    assert network.readout[0].in_features == 8 + 16 + 32
    tokens = network.tokeniser(inputs.values) + network.position + network.level(inputs.level)[:, None]
    first = network.stages[0](tokens)
    second = network.stages[2](network.stages[1](first))
    third = network.stages[4](network.stages[3](second))
    expected = network.readout(torch.cat([each.mean(dim=1) for each in (first, second, third)], dim=1))
    torch.testing.assert_close(network(inputs), expected)


def test_odd_windows_are_refused():
    with pytest.raises(ConfigError, match="even number"):
        SwinConfig(window=7)
