"""Cheap dropout against PyTorch's formulas, and the last block's short cut against the whole block."""

import pytest
import torch

from specvit.models.vit.blocks import Attention, Block
from specvit.models.vit.positions import rotary_angles
from specvit.numerics.dropout import STEPS, Dropout, Masks, dropped_attention


def masks_drawn_next(share, shape, count):
    """Return the masks that the next dropout will draw, shape (count, *shape), and their scale."""
    with torch.random.fork_rng(devices=[]):
        masks = Masks(int(torch.randint(2**62, ())), share, shape)
    return torch.stack([masks.next().clone() for _ in range(count)]), masks.scale


def test_dropped_attention_is_softmax_with_a_mask():
    torch.manual_seed(3)
    qkv = torch.randn(2, 7, 3, 2, 4, requires_grad=True)
    weights = torch.randn(2, 7, 2, 4)
    mask, scale = masks_drawn_next(0.3, (2, 7, 7), 2)
    fast = dropped_attention(qkv, 0.3)
    (gradient,) = torch.autograd.grad((fast * weights).sum(), qkv)
    query, key, value = qkv.permute(2, 0, 3, 1, 4)
    probabilities = (query @ key.transpose(-1, -2) / 2).softmax(dim=-1)
    clear = ((probabilities * mask * scale) @ value).transpose(1, 2)
    (expected,) = torch.autograd.grad((clear * weights).sum(), qkv)
    assert 0 < mask.mean() < 1
    torch.testing.assert_close(fast, clear, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(gradient, expected, atol=2e-6, rtol=1e-5)


def test_dropout_multiplies_gradients_by_the_mask_of_the_values():
    values = torch.randn(3, 100_000, requires_grad=True)
    dropped = Dropout(0.25)(values)
    (gradient,) = torch.autograd.grad(dropped.sum(), values)
    torch.testing.assert_close(dropped, values * gradient)
    kept = gradient[gradient > 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 4 / 3))
    # Five sigma of a binomial: false alarm once in two million.
    assert abs(len(kept) / 300_000 - 0.75) < 5 * (0.25 * 0.75 / 300_000) ** 0.5


def test_masks_keep_the_stated_share_and_do_not_repeat():
    masks = Masks(1, 0.1, (512, 512))
    first, second = masks.next().clone(), masks.next().clone()
    error = 5 * (0.09 / first.numel()) ** 0.5
    assert abs(float(first.mean()) - 0.9) < error
    agree = float((first == second).float().mean())
    assert abs(agree - 0.82) < 5 * (0.82 * 0.18 / first.numel()) ** 0.5
    # Neighbours, which share a random word, are independent too.
    both = float((first[:, 1:] * first[:, :-1]).mean())
    assert abs(both - 0.81) < 2 * error
    assert masks.scale == pytest.approx(1 / 0.9, abs=1 / STEPS)


def test_the_seed_of_torch_fixes_the_masks():
    layer, values = Dropout(0.5), torch.ones(1000)
    torch.manual_seed(1)
    first, second = layer(values), layer(values)
    torch.manual_seed(1)
    assert torch.equal(layer(values), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("layer", [Dropout(0.0), Dropout(0.3).eval()])
def test_nothing_is_dropped_outside_training(layer):
    values = torch.randn(5)
    assert layer(values) is values


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_attention_in_training_drops_without_bias(dtype):
    torch.manual_seed(0)
    attention, tokens = Attention(16, 2, 0.2), torch.randn(1, 9, 16)
    expected = attention.eval()(tokens, None, None)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        drawn = torch.stack([attention.train()(tokens, None, None).float() for _ in range(400)])
    spread = drawn.std(dim=0)
    assert float(spread.min()) > 0
    tolerance = 5 * spread / 20 + (2e-2 if dtype == torch.bfloat16 else 1e-5)
    assert bool(((drawn.mean(dim=0) - expected).abs() < tolerance).all())


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_the_first_token_alone_is_the_first_of_all(rotary, biased):
    torch.manual_seed(0)
    block, tokens = Block(16, 2, 32, 0.1).eval(), torch.randn(3, 5, 16)
    angles = rotary_angles(torch.arange(5.0), 8)
    rotation = (angles.cos().float(), angles.sin().float()) if rotary else None
    bias = torch.randn(1, 2, 5, 5) if biased else None
    torch.testing.assert_close(block.first(tokens, rotation, bias), block(tokens, rotation, bias)[:, :1])
