"""The convolutional network knows where a line is."""

import pytest
import torch

from specvit.errors import ConfigError
from specvit.models.cnn import CNN, CNNConfig, ConvolutionBlock
from specvit.models.conditioning import Inputs


def features_of_line(network, at, pixels=256):
    values = torch.zeros(1, 1, pixels)
    values[..., at : at + 5] = -3.0
    return network(Inputs(values, torch.ones(1, pixels, dtype=torch.bool), torch.zeros(1, 1)))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return CNN(CNNConfig(8, 3, 2, 1, segments=8), (1, 256, 1), torch.linspace(-1, 1, 256)).eval()


def test_the_same_line_elsewhere_is_another_feature(network):
    """Moved by a multiple of all strides within one segment, so that only the position channels differ."""
    a, b = features_of_line(network, 100), features_of_line(network, 196)
    assert (a - b).norm() > 0.1 * (a - features_of_line(network, 0)).norm()
    network.phase.zero_()
    within = features_of_line(network, 100) - features_of_line(network, 100 + 16)
    network.phase.copy_(torch.stack([torch.linspace(-1, 1, 256)] * 2))
    assert (features_of_line(network, 100) - features_of_line(network, 116) - within).abs().max() > 1e-3


def test_a_residual_block_starts_as_the_identity():
    features = torch.randn(2, 8, 30)
    torch.testing.assert_close(ConvolutionBlock(8, 5, 4)(features), features)


@pytest.mark.parametrize("dilation", [1, 3])
def test_dilation_sets_how_far_a_stage_sees(dilation):
    """Three blocks of two convolutions: the dilated ones reach 1 + d + d², the others 1 each."""
    torch.manual_seed(0)
    blocks = [ConvolutionBlock(4, 3, d).double() for d in (1, dilation, dilation**2)]
    for block in blocks:
        torch.nn.init.normal_(block.second.weight)
        block.norm = torch.nn.Identity()
    reach = 3 + 1 + dilation + dilation**2
    features = torch.randn(1, 4, 81, dtype=torch.float64, requires_grad=True)
    torch.nn.Sequential(*blocks)(features)[..., 40].sum().backward()
    seen = torch.nonzero(features.grad.abs().sum(dim=1)[0])[:, 0]
    assert (int(seen.min()), int(seen.max())) == (40 - reach, 40 + reach)
    stages = CNN(CNNConfig(4, 3, 1, 3, dilation, segments=8), (1, 256, 1), torch.linspace(-1, 1, 256)).stages
    assert [layer.first.dilation[0] for layer in stages[1:]] == [1, dilation, dilation**2]


def test_even_kernels_are_refused():
    with pytest.raises(ConfigError, match="odd number"):
        CNNConfig(kernel=8)
