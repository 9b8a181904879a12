"""The pre-norm transformer block, on PyTorch's fused attention. Knows tokens, not spectra."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from specvit.errors import ConfigError
from specvit.models.vit.positions import rotate
from specvit.numerics.dropout import Dropout, dropped_attention, is_cheap_for
from specvit.numerics.products import fixed_linear

#: Added to variances in layer norms, as in the reference model.
EPSILON = 1e-12


class Attention(nn.Module):
    """Multi-head self-attention with biases, optionally rotary, with an optional bias per key."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(f"attention: width {width} is not a multiple of heads {heads}")
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor, rotation: tuple[Tensor, Tensor] | None, bias: Tensor | None) -> Tensor:
        """Return tokens of the same shape (B, T, width).

        Args:
            tokens: shape (B, T, width).
            rotation: cosine and sine of the rotary angles, each (T, D/2), or None.
            bias: added to the attention logits, broadcastable to (B, heads, T, T), or None.
        """
        dropout = self.dropout if self.training else 0.0
        # PyTorch leaves its fused attention when attention is dropped, and draws a number for each element.
        if rotation is None and bias is None and is_cheap_for(tokens, dropout):
            qkv = self.qkv(tokens).unflatten(-1, (3, self.heads, -1))
            attended: Tensor = self.out(dropped_attention(qkv, dropout).flatten(2))
            return attended
        attended = self.out(self.mixed(*self.split(self.qkv(tokens), rotation), bias, dropout))
        return attended

    def first(self, tokens: Tensor, rotation: tuple[Tensor, Tensor] | None, bias: Tensor | None) -> Tensor:
        """Return the first token of what `forward` returns, shape (B, 1, width), without computing the others.

        Args:
            tokens, rotation, bias: see `forward`.
        """
        width = tokens.shape[-1]
        weight, offset = self.qkv.weight, self.qkv.bias
        query = F.linear(tokens[:, :1], weight[:width], offset[:width])
        others = F.linear(tokens, weight[width:], offset[width:]).unflatten(-1, (2, self.heads, -1))
        key, value = others.permute(2, 0, 3, 1, 4)
        query = query.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        if rotation is not None:
            query, key = rotate(query, *(angle[:1] for angle in rotation)), rotate(key, *rotation)
        bias = bias[..., :1, :] if bias is not None else None
        dropout = self.dropout if self.training else 0.0
        attended: Tensor = self.out(self.mixed(query, key, value, bias, dropout))
        return attended

    def mixed(
        self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, share: float = 0.0
    ) -> Tensor:
        """Return the mixed values of all heads, shape (B, queries, width), with a share of dropout."""
        # Under autocast the queries are bf16, and the fused attention takes no mask of another type.
        bias = bias.to(query.dtype) if bias is not None else None
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=share)
        return mixed.transpose(1, 2).flatten(2)

    def probabilities(
        self, tokens: Tensor, rotation: tuple[Tensor, Tensor] | None, bias: Tensor | None
    ) -> Tensor:
        """Return what each token (row) attends to, shape (B, heads, T, T); rows sum to 1."""
        query, key, _ = self.split(self.qkv(tokens), rotation)
        # The scale that the fused attention takes by itself.
        logits: Tensor = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        return (logits if bias is None else logits + bias).softmax(dim=-1)

    def split(self, qkv: Tensor, rotation: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, each (B, heads, T, D), of what `qkv` gives (B, T, 3 width)."""
        query, key, value = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if rotation is not None:
            query, key = rotate(query, *rotation), rotate(key, *rotation)
        return query, key, value


class Block(nn.Module):
    """x + attention(norm(x)), then x + FFN(norm(x)), GELU.

    Source: Vaswani et al. 2017, NeurIPS; norms before the layers as in Xiong et al. 2020, ICML.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps=EPSILON)
        self.attention = Attention(width, heads, dropout)
        self.ffn_norm = nn.LayerNorm(width, eps=EPSILON)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.dropout = Dropout(dropout)

    def forward(
        self, tokens: Tensor, rotation: tuple[Tensor, Tensor] | None = None, bias: Tensor | None = None
    ) -> Tensor:
        """Return tokens of the same shape (B, T, width); arguments as for `Attention`."""
        return self._rest(tokens, self.attention(self.attention_norm(tokens), rotation, bias))

    def first(
        self, tokens: Tensor, rotation: tuple[Tensor, Tensor] | None = None, bias: Tensor | None = None
    ) -> Tensor:
        """Return the first token of what `forward` returns, shape (B, 1, width): a sixth of the work."""
        return self._rest(tokens[:, :1], self.attention.first(self.attention_norm(tokens), rotation, bias))

    def _rest(self, tokens: Tensor, attended: Tensor) -> Tensor:
        tokens = tokens + self.dropout(attended)
        change: Tensor = self.dropout(self.down(F.gelu(self.up(self.ffn_norm(tokens)))))
        return tokens + change


class FixedBlock(nn.Module):
    """A trained `Block` for estimates on a CPU: the same function, float32, without gradient.

    Weights are laid out once, and biases, GELU and the residual sums are part of the products.

    Args:
        block: the trained one.
        rows: tokens of all spectra that will be given at once; other numbers work.
    """

    def __init__(self, block: Block, rows: int) -> None:
        super().__init__()
        self.block, attention = block, block.attention
        self.qkv, self.out = fixed_linear(attention.qkv, rows), fixed_linear(attention.out, rows)
        self.up, self.down = fixed_linear(block.up, rows, "gelu"), fixed_linear(block.down, rows)

    def forward(
        self, tokens: Tensor, rotation: tuple[Tensor, Tensor] | None = None, bias: Tensor | None = None
    ) -> Tensor:
        """Return what the block returns."""
        attention = self.block.attention
        heads = attention.split(self.qkv(self.block.attention_norm(tokens)), rotation)
        tokens = self.out.added_to(tokens, attention.mixed(*heads, bias))
        return self.down.added_to(tokens, self.up(self.block.ffn_norm(tokens)))

    def first(
        self, tokens: Tensor, rotation: tuple[Tensor, Tensor] | None = None, bias: Tensor | None = None
    ) -> Tensor:
        """Return what the block's `first` returns."""
        return self.block.first(tokens, rotation, bias)


def initialise_linear(module: nn.Module) -> None:
    """Draw the weights of every linear layer in `module` from a truncated normal; set biases to zero."""
    for layer in module.modules():
        # Width of Devlin et al. 2019 and of most transformers since.
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def shrink_residuals(blocks: Iterable[Block]) -> None:
    """Scale what each block adds by 1 / √(2 depth): the sum starts at order one (Radford et al. 2019)."""
    blocks = list(blocks)
    depth = len(blocks)
    with torch.no_grad():
        for block in blocks:
            block.attention.out.weight.mul_((2 * depth) ** -0.5)
            block.down.weight.mul_((2 * depth) ** -0.5)
