"""SpecViT: published size, equivalent tokenisers, positions and attention."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specvit.errors import ConfigError
from specvit.estimators import network_config
from specvit.models.conditioning import Inputs, wavelength_phase
from specvit.models.network import build_network
from specvit.models.vit import SpecViT, ViTConfig
from specvit.models.vit.blocks import Attention, Block, FixedBlock
from specvit.models.vit.positions import rotary_angles, rotate, sinusoidal, token_coordinates
from specvit.models.vit.tokens import Tokeniser
from specvit.numerics import products
from specvit.spectra import LOW_T_BOX, WavelengthGrid

PFS = WavelengthGrid.linear(7100.214, 0.42725, 4096)


def vit(config, pixels=128):
    grid = WavelengthGrid.linear(8400, 2.0, pixels)
    wavelength = torch.from_numpy(grid.wavelength.copy())
    return SpecViT(config, (1, pixels, 1), wavelength_phase(grid.wavelength), wavelength)


def inputs(pixels=128, count=3):
    torch.manual_seed(5)
    usable = torch.ones(count, pixels, dtype=torch.bool)
    return Inputs(torch.randn(count, 1, pixels), usable, torch.randn(count, 1))


def test_reference_has_the_published_parameters_but_the_unused_pooler():
    published, pooler = 4_875_521, 256 * 256 + 256
    network = build_network(network_config("vit", "reference"), PFS, LOW_T_BOX.select(["log_g"]))
    assert network.parameter_count == published - pooler == 4_809_729


def test_parameters_of_the_reference_layer_by_layer():
    network = build_network(network_config("vit", "reference"), PFS, LOW_T_BOX.select(["log_g"]))
    backbone = network.body.backbone
    count = lambda module: sum(p.numel() for p in module.parameters())  # noqa: E731
    assert count(backbone.tokenisers) == 4_352
    assert backbone.position.numel() == 65_792
    assert backbone.cls.numel() == 256
    assert [count(block) for block in backbone.blocks] == [789_760] * 6
    assert count(backbone.norm) == 512
    assert count(network.head) == 257


@pytest.mark.parametrize("stride", [16, 8, 5])
def test_tokenisers_are_the_same_function_for_the_same_weights(stride):
    torch.manual_seed(0)
    convolution = Tokeniser(2, 100, 16, stride, 24, "c1d")
    window = Tokeniser(2, 100, 16, stride, 24, "sw")
    with torch.no_grad():
        window.map.weight.copy_(convolution.map.weight.flatten(1))
        window.map.bias.copy_(convolution.map.bias)
    values = torch.randn(3, 2, 100)
    torch.testing.assert_close(window(values), convolution(values), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", ["c1d", "sw"])
def test_both_tokenisers_start_at_unit_scale(form):
    torch.manual_seed(0)
    tokens = Tokeniser(1, 4096, 16, 16, 256, form)(torch.randn(8, 1, 4096))
    assert 0.9 < float(tokens.detach().std()) < 1.1


def test_reference_windows_start_below_reference_convolutions():
    """The scale mismatch that kept the reference work's sliding windows from learning."""
    torch.manual_seed(0)
    values = torch.randn(8, 1, 4096)
    scale = {
        form: float(Tokeniser(1, 4096, 16, 16, 256, form, "reference")(values).detach().std())
        for form in ("c1d", "sw")
    }
    assert 6 < scale["c1d"] / scale["sw"] < 8.5


@settings(max_examples=50, deadline=None)
@given(st.integers(10, 300), st.integers(1, 64), st.integers(1, 64))
def test_tokens_cover_every_pixel(pixels, patch, stride):
    patch, stride = min(patch, pixels), min(stride, patch, pixels)
    tokeniser = Tokeniser(1, pixels, patch, stride, 4)
    for pixel in (0, pixels // 2, pixels - 1):
        only = torch.zeros(1, pixels, dtype=torch.bool)
        only[0, pixel] = True
        assert not tokeniser.dead(only).all()
    assert tokeniser.dead(torch.ones(1, pixels, dtype=torch.bool)).sum() == 0


def test_token_centres_are_means_over_their_pixels():
    phase = torch.linspace(-1, 1, 50).double() ** 3
    centres = Tokeniser(1, 50, 8, 8, 4).centres(phase)
    expected = [phase[k : k + 8].mean() for k in range(0, 50, 8)]
    np.testing.assert_allclose(centres.numpy(), np.array(expected))


@settings(max_examples=30, deadline=None)
@given(st.floats(-200, 200), st.integers(0, 2**31))
def test_rotary_products_depend_on_differences_of_position_only(shift, seed):
    generator = torch.Generator().manual_seed(seed)
    query, key = torch.randn(2, 9, 16, generator=generator, dtype=torch.float64)
    coordinates = torch.rand(9, generator=generator, dtype=torch.float64) * 100

    def products(at):
        angles = rotary_angles(at, 16)
        q, k = (rotate(x, angles.cos(), angles.sin()) for x in (query, key))
        return q @ k.T

    torch.testing.assert_close(products(coordinates + shift), products(coordinates), rtol=1e-9, atol=1e-9)


def test_rotation_keeps_lengths():
    torch.manual_seed(0)
    x = torch.randn(2, 9, 16)
    angles = rotary_angles(torch.arange(9.0), 16)
    turned = rotate(x, angles.cos(), angles.sin())
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert (turned - x).abs().max() > 0.1


def test_a_radial_velocity_is_one_shift_of_all_token_coordinates():
    edges = np.geomspace(7000, 9000, 65)
    phase = torch.from_numpy(2 * np.log(edges / edges[0]) / np.log(edges[-1] / edges[0]) - 1)
    shifted = torch.from_numpy(2 * np.log(edges * 1.001 / edges[0]) / np.log(edges[-1] / edges[0]) - 1)
    moved = token_coordinates(shifted, 64) - token_coordinates(phase, 64)
    torch.testing.assert_close(moved, moved[:1].expand(65))


def test_sinusoidal_positions_against_the_formula():
    table = sinusoidal(torch.tensor([0.0, 2.5]), 6)
    w = 10_000.0 ** (-np.arange(3) / 3)
    np.testing.assert_allclose(table[1], np.concatenate([np.sin(2.5 * w), np.cos(2.5 * w)]), rtol=1e-6)


def test_attention_is_softmax_of_scaled_products():
    torch.manual_seed(0)
    attention, tokens, bias = Attention(24, 3, 0.0), torch.randn(2, 10, 24), torch.randn(1, 3, 10, 10)
    weights = attention.probabilities(tokens, None, bias)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 3, 10))
    value = attention.qkv(tokens)[..., 48:].unflatten(-1, (3, 8)).transpose(1, 2)
    expected = attention.out((weights @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(tokens, None, bias), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("processor", ["as found", "any"])
@pytest.mark.parametrize(("rotated", "biased"), [(False, False), (True, False), (False, True), (True, True)])
def test_a_fixed_block_is_the_same_function(processor, rotated, biased, monkeypatch):
    if processor == "any":
        monkeypatch.setattr(products, "has_fast_products", lambda: False)
    torch.manual_seed(8)
    block = Block(24, 3, 96, 0.1).eval().requires_grad_(False)
    tokens = torch.randn(5, 7, 24)
    angles = rotary_angles(torch.arange(7.0), 8)
    rotation = (angles.cos().float(), angles.sin().float()) if rotated else None
    bias = torch.randn(1, 3, 7, 7) if biased else None
    fixed, kept = FixedBlock(block, 35), tokens.clone()
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(fixed(tokens, rotation, bias), block(tokens, rotation, bias), **close)
    torch.testing.assert_close(fixed.first(tokens, rotation, bias), block.first(tokens, rotation, bias))
    assert torch.equal(tokens, kept)


def test_block_equals_torch_encoder_layer():
    torch.manual_seed(0)
    mine = Block(24, 3, 48, 0.0).eval()
    other = torch.nn.TransformerEncoderLayer(
        24, 3, 48, 0.0, "gelu", layer_norm_eps=1e-12, batch_first=True, norm_first=True
    ).eval()
    pairs = {
        "self_attn.in_proj_weight": mine.attention.qkv.weight,
        "self_attn.in_proj_bias": mine.attention.qkv.bias,
        "self_attn.out_proj.weight": mine.attention.out.weight,
        "self_attn.out_proj.bias": mine.attention.out.bias,
        "linear1.weight": mine.up.weight,
        "linear1.bias": mine.up.bias,
        "linear2.weight": mine.down.weight,
        "linear2.bias": mine.down.bias,
    }
    other.load_state_dict({**other.state_dict(), **{k: v.detach() for k, v in pairs.items()}})
    tokens = torch.randn(2, 7, 24)
    torch.testing.assert_close(mine(tokens), other(tokens), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("position", ["learned", "sinusoidal", "rope", "learned+rope", "none"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_only_positions_tell_where_a_feature_is(position, pooling):
    torch.manual_seed(0)
    config = ViTConfig(patch=8, width=16, depth=2, heads=2, position=position, pooling=pooling)
    network, given = vit(config).eval(), inputs()
    with torch.no_grad():
        if network.position is not None and "learned" in position:
            network.position.normal_()
        for block in network.blocks:
            block.attention.qkv.weight.mul_(30)
        swapped = given._replace(values=torch.cat([given.values[..., 64:], given.values[..., :64]], dim=-1))
        change = (network(given) - network(swapped)).abs().max()
    assert change < 1e-5 if position == "none" else change > 1e-4


def test_windows_draw_attention_to_gravity_sensitive_tokens():
    torch.manual_seed(0)
    config = ViTConfig(patch=8, width=16, depth=1, heads=2, windows=True, pooling="cls")
    network, given = vit(config).eval(), inputs()
    touched = network.in_window.bool()
    assert 0 < touched.sum() < len(touched) - 1
    assert not touched[0]
    with torch.no_grad():
        biased = network.attention_maps(given)[0][..., touched].sum(dim=-1)
        network.window_gain.zero_()
        plain = network.attention_maps(given)[0][..., touched].sum(dim=-1)
    assert (biased > plain).all()


def test_windows_off_the_grid_are_refused():
    grid = np.linspace(5000, 5100, 128)
    with pytest.raises(ConfigError, match="covers none"):
        SpecViT(ViTConfig(patch=8, windows=True), (1, 128, 1), wavelength_phase(grid), torch.from_numpy(grid))


def test_a_dead_token_is_the_mask_token():
    torch.manual_seed(0)
    network, given = vit(ViTConfig(patch=8, width=16, depth=1, heads=2)), inputs()
    usable = given.usable.clone()
    usable[:, 16:24] = False
    with torch.no_grad():
        network.mask.fill_(3.0)
        tokens = network.embed(given._replace(usable=usable))
        expected = 3.0 + network.position[2] + network.level(given.level)
    torch.testing.assert_close(tokens[:, 2], expected)


def test_coarse_tokens_join_the_fine_ones():
    network = vit(ViTConfig(patch=8, coarse_patch=50, width=16, depth=1, heads=2, position="rope"))
    assert network.embed(inputs()).shape == (3, 16 + 3, 16)
    # A coarse token sits where the fine tokens it spans sit.
    fine, coarse = network.tokenisers
    phase = torch.linspace(-1, 1, 128).double()
    at = [token_coordinates(t.centres(phase), fine.count) for t in (fine, coarse)]
    assert abs(float(at[1][0] - at[0][:6].mean())) < 0.6


@pytest.mark.parametrize(
    "options", [{"position": "x"}, {"pooling": "max"}, {"tokeniser": "fft"}, {"stride": 9}, {"heads": 3}]
)
def test_bad_architectures_are_refused(options):
    with pytest.raises(ConfigError):
        vit(ViTConfig(**{"patch": 8, "width": 16, "depth": 1, "heads": 2, **options}))
