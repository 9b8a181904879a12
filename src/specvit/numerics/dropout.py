"""Dropout that is cheap on a CPU: same distribution as PyTorch's, masks at an eighth of the cost.

PyTorch draws an element of a mask in 7 ns there (measured on one Xeon core), and attention with dropout
leaves its fused kernel: at 257 tokens the two cost more than all matrix products of a block. Here a mask is
compared out of 16 random bits per element (0.9 ns) and made again in the backward pass instead of being kept,
and attention goes through one spectrum at a time, so that its probabilities stay in the cache and none are
stored. On other devices, and in compiled graphs, PyTorch's own functions are used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

#: Shares are rounded to multiples of one over this: 0.1 becomes 0.100006.
STEPS = 2**16

#: Elements masked at a time: a mask of them and what it multiplies fit a core's cache.
CHUNK = 2**17


class Dropout(nn.Module):
    """Set a `share` of the elements to zero in training, and scale the others so that the mean stays."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the same shape."""
        if not self.training or not self.share:
            return values
        if not is_cheap_for(values, self.share):
            return F.dropout(values, self.share)
        dropped: Tensor = _Dropped.apply(values, self.share)  # type: ignore[no-untyped-call]  # by torch
        return dropped


def is_cheap_for(values: Tensor, share: float) -> bool:
    """Return whether this module's dropout is to be used: on a CPU, in eager mode."""
    return values.device.type == "cpu" and not torch.compiler.is_compiling() and 0 < share < 1


def dropped_attention(qkv: Tensor, share: float) -> Tensor:
    """Return softmax(Q Kᵀ / √D) V with a `share` of the softmax dropped, shape (B, T, H, D), on the CPU.

    Args:
        qkv: queries, keys and values, shape (B, T, 3, H, D).
        share: of the probabilities set to zero; the others are scaled by 1 / (1 - share).
    """
    # Autocast would hand over bfloat16, which is slower here and not meant for softmax.
    attended: Tensor = _DroppedAttention.apply(  # type: ignore[no-untyped-call]  # by torch
        qkv.float(), share
    )
    return attended.to(qkv.dtype)


class Masks:
    """An endless sequence of masks (float32, 1 keep, 0 drop), the same for the same seed.

    Args:
        seed: of the sequence.
        share: of zeros.
        shape: of each mask. A mask is overwritten by the next.
    """

    def __init__(self, seed: int, share: float, shape: tuple[int, ...]) -> None:
        # The fastest of NumPy's bit generators.
        self._generator = np.random.Generator(np.random.SFC64(seed))
        dropped = round(share * STEPS)
        self.threshold, self.scale = dropped - STEPS // 2, STEPS / (STEPS - dropped)
        self.mask = torch.empty(shape)

    def next(self) -> Tensor:
        """Return the next mask."""
        count = self.mask.numel()
        words = self._generator.integers(0, 2**64, -(-count // 4), dtype=np.uint64)
        bits = torch.from_numpy(words.view(np.int16))[:count].view(self.mask.shape)
        return torch.ge(bits, self.threshold, out=self.mask)


def _fresh_seed() -> int:
    """Return a seed from PyTorch's generator, so that `torch.manual_seed` fixes the masks."""
    return int(torch.randint(2**62, ()))


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, share: float) -> Tensor:
        ctx.seed, ctx.share = _fresh_seed(), share
        return _masked(values, ctx.seed, share)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _masked(gradient, ctx.seed, ctx.share), None


def _masked(values: Tensor, seed: int, share: float) -> Tensor:
    """Return values times the masks of a seed, scaled."""
    masks = Masks(seed, share, (min(CHUNK, values.numel()),))
    kept = torch.empty_like(values, memory_format=torch.contiguous_format)
    parts = zip(values.reshape(-1).split(CHUNK), kept.view(-1).split(CHUNK), strict=True)
    for part, result in parts:
        torch.mul(part, masks.next()[: len(part)].mul_(masks.scale), out=result)
    return kept


class _DroppedAttention(torch.autograd.Function):
    """`dropped_attention`; the backward pass computes the probabilities once more.

    With P the softmax, M the mask, s = 1 / (1 - share), O = s (M P) V and a gradient G of O:
    dV = s (M P)ᵀ G, dP = s M (G Vᵀ), and as rows of P sum to one, dS = P dP - P rowsum(G O).
    """

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, share: float) -> Tensor:
        spectra, tokens, _, heads, width = qkv.shape
        ctx.seed, ctx.share = _fresh_seed(), share
        masks = Masks(ctx.seed, share, (heads, tokens, tokens))
        scores, probabilities = torch.empty_like(masks.mask), torch.empty_like(masks.mask)
        mixed = qkv.new_empty(spectra, tokens, heads, width)
        for one, result in zip(qkv, mixed, strict=True):
            query, key, value = one.permute(1, 2, 0, 3)
            _softmax(query, key, scores, probabilities)
            probabilities.mul_(masks.next())
            torch.bmm(probabilities, value, out=result.transpose(0, 1))
        mixed.mul_(masks.scale)
        ctx.save_for_backward(qkv, mixed)
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        qkv, mixed = ctx.saved_tensors
        _, tokens, _, heads, width = qkv.shape
        # The same seed, so the same masks as in the forward pass: 64 bits kept instead of B H T² numbers.
        masks = Masks(ctx.seed, ctx.share, (heads, tokens, tokens))
        slopes, probabilities, kept = (torch.empty_like(masks.mask) for _ in range(3))
        gradients = torch.empty_like(qkv, memory_format=torch.contiguous_format)
        along = (gradient * mixed).sum(dim=-1).transpose(1, 2)[..., None] * width**-0.5
        gradient = gradient * masks.scale
        for one, given, row, result in zip(qkv, gradient, along, gradients, strict=True):
            query, key, value = one.permute(1, 2, 0, 3)
            to_query, to_key, to_value = result.permute(1, 2, 0, 3)
            given = given.transpose(0, 1)
            _softmax(query, key, slopes, probabilities)
            torch.mul(probabilities, masks.next(), out=kept)
            torch.bmm(kept.transpose(1, 2), given, out=to_value)
            # d scores / √D, so that the two products below need no factor.
            _scaled_product(given, value, slopes)
            slopes.mul_(kept).addcmul_(probabilities, row, value=-1)
            torch.bmm(slopes, key, out=to_query)
            torch.bmm(slopes.transpose(1, 2), query, out=to_key)
        return gradients, None


def _softmax(query: Tensor, key: Tensor, scores: Tensor, probabilities: Tensor) -> None:
    """Write softmax(Q Kᵀ / √D) into `probabilities`, using `scores`."""
    _scaled_product(query, key, scores)
    torch.softmax(scores, dim=-1, out=probabilities)


def _scaled_product(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Write L Rᵀ / √D into `out`, for (H, T, D) each."""
    torch.baddbmm(out, left, right.transpose(1, 2), beta=0, alpha=left.shape[-1] ** -0.5, out=out)
