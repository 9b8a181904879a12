"""Swin-1D: attention in shifted windows on a pyramid of tokens.

The reference work designed this model (patch 8, windows of 8 tokens, 2-4 stages) and never ran it.
Source: Liu et al. 2021, ICCV (Swin Transformer), here in one dimension.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from specvit.errors import ConfigError
from specvit.models.conditioning import Inputs
from specvit.models.mlp import readout_layers
from specvit.models.options import check_bounds
from specvit.models.states import FEATURES, State
from specvit.models.vit.blocks import Block, initialise_linear, shrink_residuals
from specvit.models.vit.tokens import Tokeniser, TokeniserForm


@dataclass(frozen=True)
class SwinConfig:
    """Architecture of a Swin-1D.

    Args:
        patch: pixels per token of the first stage.
        window: tokens per attention window; even, because every second block is shifted by half of it.
        width: features of the first stage; doubled where two tokens merge into one.
        heads: heads of the first stage; doubled with the width.
        stages: stages of `blocks` blocks each; tokens are halved between them.
        blocks: blocks per stage.
        ratio: hidden width of the feed-forward layer over the width.
        dropout: in tokens, attention and residuals.
        tokeniser: "c1d", "sw" or "local", see `vit.tokens`.
        readout: residual layers between pooling and head, `readout_width` wide, on the tokens of all stages;
            0 hands the last stage's straight to the head.
        readout_width: see `readout`.
    """

    patch: int = 8
    window: int = 8
    width: int = 64
    heads: int = 2
    stages: int = 3
    blocks: int = 2
    ratio: float = 4.0
    dropout: float = 0.0
    tokeniser: TokeniserForm = "c1d"
    readout: int = 0
    readout_width: int = 256

    def __post_init__(self) -> None:
        """Check the options."""
        check_bounds(self)
        if self.window < 2 or self.window % 2:
            raise ConfigError(f"window: expected an even number of tokens, got {self.window}")


class WindowBlock(nn.Module):
    """A transformer block on windows of tokens, with a learned bias per head and relative position."""

    relative: Tensor

    def __init__(self, width: int, heads: int, window: int, hidden: int, dropout: float, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.block = Block(width, heads, hidden, dropout)
        self.relative_bias = nn.Parameter(torch.zeros(heads, 2 * window - 1))
        index = torch.arange(window)
        self.register_buffer("relative", index[:, None] - index + window - 1, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens of the same shape (B, T, width); T must be a multiple of the window."""
        batch, count, width = tokens.shape
        windows = count // self.window
        bias = self.relative_bias[:, self.relative][None]
        if self.shift:
            tokens = tokens.roll(-self.shift, dims=1)
            bias = (bias + self._wrapped(windows, bias)[:, None]).repeat(batch, 1, 1, 1)
        mixed = self.block(tokens.reshape(batch * windows, self.window, width), None, bias)
        tokens = mixed.reshape(batch, count, width)
        return tokens.roll(self.shift, dims=1) if self.shift else tokens

    def _wrapped(self, windows: int, like: Tensor) -> Tensor:
        """Return -inf where the last window would join the two ends of the spectrum, (windows, w, w)."""
        end = torch.arange(self.window, device=like.device) >= self.window - self.shift
        mask = like.new_zeros(windows, self.window, self.window)
        # The roll is cyclic, a spectrum is not.
        mask[-1].masked_fill_(end[:, None] != end, -torch.inf)
        return mask


class Merge(nn.Module):
    """Two neighbouring tokens into one of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * width)
        self.map = nn.Linear(2 * width, 2 * width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return shape (B, T / 2, 2 width) for tokens (B, T, width)."""
        batch, count, width = tokens.shape
        merged: Tensor = self.map(self.norm(tokens.reshape(batch, count // 2, 2 * width)))
        return merged


class Swin(nn.Module):
    """Tokens with learned absolute positions, stages of window blocks, mean over tokens.

    Args:
        config: the architecture.
        shape: channels C, pixels N and level features M of the `Inputs`.
    """

    def __init__(self, config: SwinConfig, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, pixels, levels = shape
        # Every stage needs whole windows, so the spectrum is filled up with dead pixels.
        unit = config.patch * config.window * 2 ** (config.stages - 1)
        self.padding = -pixels % unit
        self.tokeniser = Tokeniser(
            channels, pixels + self.padding, config.patch, config.patch, config.width, config.tokeniser
        )
        self.mask = nn.Parameter(torch.zeros(config.width))
        self.position = nn.Parameter(0.02 * torch.randn(self.tokeniser.count, config.width))
        self.level = nn.Linear(levels, config.width)
        stages: list[nn.Module] = []
        width, heads, pooled = config.width, config.heads, config.width
        for stage in range(config.stages):
            if stage:
                stages.append(Merge(width))
                width, heads = 2 * width, 2 * heads
                pooled += width
            hidden = round(config.ratio * width)
            for block in range(config.blocks):
                # Unshifted windows alone would never exchange anything (Liu et al. 2021).
                shift = (block % 2) * config.window // 2
                stages.append(WindowBlock(width, heads, config.window, hidden, config.dropout, shift))
        self.stages = nn.Sequential(*stages)
        initialise_linear(self.stages)
        shrink_residuals([stage.block for stage in stages if isinstance(stage, WindowBlock)])
        deep, wide = config.readout, config.readout_width
        self.width = wide if deep else width
        self.norm = nn.Identity() if deep else nn.LayerNorm(width)
        self.readout = readout_layers(pooled, wide, deep, config.dropout) if deep else None

    def embed(self, inputs: Inputs) -> Tensor:
        """Return the tokens that enter the first stage, shape (B, T, width)."""
        tokens = self.tokeniser(F.pad(inputs.values, (0, self.padding)))
        if inputs.usable is not None:
            dead = self.tokeniser.dead(F.pad(inputs.usable, (0, self.padding), value=False))
            tokens = torch.where(dead[..., None], self.mask.to(tokens.dtype), tokens)
        embedded: Tensor = tokens + self.position + self.level(inputs.level)[:, None]
        return embedded

    def states(self, inputs: Inputs) -> Iterator[State]:
        """Yield the tokens after every block and merge, and the features of the head."""
        tokens, pooled, stage, block = self.embed(inputs), [], 1, 0
        yield State("tokens", tokens)
        for layer in self.stages:
            merges = isinstance(layer, Merge)
            if merges:
                pooled.append(tokens.mean(dim=1))
                stage, block = stage + 1, 0
            tokens = layer(tokens)
            block += int(not merges)
            yield State(f"merge{stage - 1}" if merges else f"stage{stage}.block{block}", tokens)
        last = tokens.mean(dim=1) if self.readout is not None else self.norm(tokens).mean(dim=1)
        yield State(FEATURES, last if self.readout is None else self.readout(torch.cat([*pooled, last], 1)))

    def forward(self, inputs: Inputs) -> Tensor:
        """Return features, shape (B, width)."""
        tokens = self.embed(inputs)
        if self.readout is None:
            features: Tensor = self.norm(self.stages(tokens)).mean(dim=1)
            return features
        pooled = []
        for stage in self.stages:
            if isinstance(stage, Merge):
                pooled.append(tokens.mean(dim=1))
            tokens = stage(tokens)
        features = self.readout(torch.cat([*pooled, tokens.mean(dim=1)], dim=1))
        return features
