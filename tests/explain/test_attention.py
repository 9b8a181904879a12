"""Attention and rollout: closed forms, rows that sum to 1, and tokens on their pixels."""

import pytest
import torch

from small_networks import make_network, spectra
from specvit.errors import ConfigError
from specvit.explain import attention_profiles, has_attention, rollout
from specvit.explain.attention import token_pixels


def random_maps(blocks=3, tokens=5):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(2, tokens, tokens, generator=generator).softmax(dim=-1) for _ in range(blocks)]


def test_rollout_of_uniform_attention_is_uniform_but_for_the_residual():
    uniform = torch.full((1, 4, 4), 0.25)
    through = rollout([uniform, uniform])
    # U U = U, so ½(U + 1) twice is ¾ U + ¼.
    torch.testing.assert_close(through, 0.75 * uniform + 0.25 * torch.eye(4))
    torch.testing.assert_close(through.mean(dim=1), torch.full((1, 4), 0.25))


def test_rollout_is_the_product_of_the_blocks_last_one_first():
    first, second, third = random_maps()
    half = [0.5 * (attention + torch.eye(5)) for attention in (first, second, third)]
    torch.testing.assert_close(rollout([first, second, third]), half[2] @ half[1] @ half[0])
    torch.testing.assert_close(rollout([first]).sum(dim=-1), torch.ones(2, 5))


@pytest.mark.parametrize("model", ["vit", "vit-cls"])
def test_shares_of_attention_sum_to_one_over_pixels(model):
    network = make_network(model)
    blocks, through = attention_profiles(network, *spectra())
    assert blocks.shape == (6, 2, 96)
    assert (blocks >= 0).all()
    torch.testing.assert_close(blocks.sum(dim=-1), torch.ones(6, 2))
    torch.testing.assert_close(through.sum(dim=-1), torch.ones(6))


def test_the_cls_row_is_read_without_its_attention_to_itself():
    network = make_network("vit-cls")
    flux, sigma = spectra()
    vit = network.body.backbone
    row = vit.attention_maps(network.front(flux, sigma))[1].mean(dim=1)[:, 0, 1:]
    expected = row / row.sum(dim=1, keepdim=True) @ token_pixels(vit)
    torch.testing.assert_close(attention_profiles(network, flux, sigma).blocks[:, 1], expected)


def test_overlapping_and_coarse_tokens_lie_on_the_pixels_they_see():
    vit = make_network("vit-cls").body.backbone
    pixels = token_pixels(vit)
    fine, coarse = (tokeniser.count for tokeniser in vit.tokenisers)
    assert pixels.shape == (fine + coarse, 96)
    assert pixels[1].nonzero()[:, 0].tolist() == list(range(8, 20))
    assert pixels[fine + 2].nonzero()[:, 0].tolist() == list(range(64, 96))
    # The last fine token reaches past the spectrum: its share stays on real pixels.
    torch.testing.assert_close(pixels.sum(dim=1), torch.ones(fine + coarse))


def test_attention_of_a_spectrum_does_not_depend_on_the_batch():
    network = make_network("vit")
    flux, sigma = spectra()
    whole = attention_profiles(network, flux, sigma)
    alone = attention_profiles(network, flux[2:3], sigma[2:3])
    torch.testing.assert_close(alone.blocks[0], whole.blocks[2])
    torch.testing.assert_close(alone.rollout[0], whole.rollout[2])


@pytest.mark.parametrize("model", ["swin", "mlp", "subspace"])
def test_networks_without_attention_over_the_spectrum_say_so(model):
    network = make_network(model)
    assert not has_attention(network)
    with pytest.raises(ConfigError, match=f"'{model}' has no attention over the whole spectrum"):
        attention_profiles(network, *spectra())
