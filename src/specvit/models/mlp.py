"""Multilayer perceptrons over all pixels (or over subspace features): plain and residual.

Owns the two bodies; the linear shortcut that turns one into "MLP on Ridge" belongs to `network`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from specvit.errors import ConfigError
from specvit.models.conditioning import Inputs
from specvit.models.options import check_bounds
from specvit.models.states import FEATURES, State


@dataclass(frozen=True)
class MLPConfig:
    """Architecture of an MLP.

    Args:
        width: units per layer.
        depth: hidden layers ("plain") or two-layer residual blocks ("residual").
        form: "plain" (linear, GELU, dropout) or "residual" (pre-norm blocks around an identity).
        dropout: share of hidden units dropped in training.
    """

    width: int = 512
    depth: int = 3
    form: Literal["plain", "residual"] = "plain"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Check the options."""
        check_bounds(self)
        if self.form not in ("plain", "residual"):
            raise ConfigError(f"form: '{self.form}' is not known; choose plain or residual")
        if self.depth < 1:
            raise ConfigError(f"depth: an MLP has at least 1 hidden layer, got {self.depth}")


class ResidualBlock(nn.Module):
    """x + W₂ SiLU(W₁ norm(x)); the second map starts at zero, so that a new network is shallow."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, width)
        self.down = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape (B, width)."""
        change: Tensor = self.down(self.dropout(nn.functional.silu(self.up(self.norm(features)))))
        return features + change


def readout_layers(features: int, width: int, depth: int, dropout: float) -> nn.Sequential:
    """Return `depth` residual blocks of `width` on pooled features (B, features), for between pooling and head.

    What they are given should be pooled without a norm: it would divide what adds up over the spectrum by what
    does not.
    """
    blocks = [ResidualBlock(width, dropout) for _ in range(depth)]
    return nn.Sequential(nn.Linear(features, width), *blocks, nn.LayerNorm(width))


class MLP(nn.Module):
    """All channels, pixels and level features in one vector, then the layers of the config.

    Args:
        config: the architecture.
        shape: channels C, positions N and level features M of the `Inputs`.
    """

    def __init__(self, config: MLPConfig, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, positions, levels = shape
        self.width = config.width
        entry = nn.Linear(channels * positions + levels, config.width)
        layers: list[nn.Module] = [entry]
        if config.form == "residual":
            layers += [ResidualBlock(config.width, config.dropout) for _ in range(config.depth)]
            layers.append(nn.LayerNorm(config.width))
        else:
            for depth in range(config.depth):
                layers += (
                    [nn.LayerNorm(config.width)] if depth == 0 else [nn.Linear(config.width, config.width)]
                )
                layers += [nn.GELU(), nn.Dropout(config.dropout)]
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Inputs) -> Tensor:
        """Return features, shape (B, width)."""
        features: Tensor = self.layers(self._joined(inputs))
        return features

    def states(self, inputs: Inputs) -> Iterator[State]:
        """Yield what every block gives, and the features of the head."""
        features, number = self._joined(inputs), 0
        for at, layer in enumerate(self.layers):
            features = layer(features)
            if at == 0:
                yield State("entry", features)
            # What the last layer of a plain one gives are the features.
            elif isinstance(layer, ResidualBlock | nn.Dropout) and at < len(self.layers) - 1:
                number += 1
                yield State(f"block{number}", features)
        yield State(FEATURES, features)

    def _joined(self, inputs: Inputs) -> Tensor:
        return torch.cat([inputs.values.flatten(1), inputs.level], dim=1)
