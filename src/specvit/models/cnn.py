"""One-dimensional convolutional network that keeps absolute wavelength.

Convolution alone answers "is there such a line", not "where", and global pooling makes that final: the
reference work's CNNs lost most of their score there. Here two position channels go in, and the features are
averaged in segments of the spectrum that stay apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from specvit.errors import ConfigError
from specvit.models.conditioning import Inputs
from specvit.models.options import check_bounds
from specvit.models.states import FEATURES, State


@dataclass(frozen=True)
class CNNConfig:
    """Architecture of a CNN.

    Args:
        width: feature channels of the first stage; doubled at each further stage.
        kernel: pixels of every kernel in the blocks; odd.
        stages: stages of one strided convolution and `blocks` residual blocks each.
        blocks: residual blocks per stage.
        dilation: growth of the dilation from block to block of a stage: 1, d, d², ...
        stride: subsampling at the entry of each stage.
        segments: parts of the spectrum whose features are kept apart at the end.
        dropout: before the head.
    """

    width: int = 32
    kernel: int = 9
    stages: int = 3
    blocks: int = 2
    dilation: int = 2
    stride: int = 4
    segments: int = 16
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Check the options."""
        check_bounds(self)
        if self.kernel % 2 == 0:
            raise ConfigError(f"kernel: expected an odd number of pixels, got {self.kernel}")
        if self.stride < 1:
            raise ConfigError(f"stride: a stage moves on by at least 1 pixel, got {self.stride}")


class ConvolutionBlock(nn.Module):
    """Pre-norm residual pair of dilated convolutions; the second starts at zero."""

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        # Statistics of one spectrum: those of a batch would make an estimate depend on its neighbours (Wu & He 2018).
        self.norm = nn.GroupNorm(1, width)
        self.first = nn.Conv1d(width, width, kernel, padding=padding, dilation=dilation)
        self.second = nn.Conv1d(width, width, kernel, padding=kernel // 2)
        # The block begins as the identity, so that depth costs nothing at the start (Zhang, Dauphin & Ma 2019).
        nn.init.zeros_(self.second.weight)
        if self.second.bias is not None:
            nn.init.zeros_(self.second.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape (B, width, N)."""
        change: Tensor = self.second(F.gelu(self.first(F.gelu(self.norm(features)))))
        return features + change


class CNN(nn.Module):
    """Stages of strided and residual dilated convolutions, segment means, one hidden layer.

    Args:
        config: the architecture.
        shape: channels C, positions N and level features M of the `Inputs`.
        phase: position of each pixel in [-1, 1], shape (N,), see `wavelength_phase`.
    """

    phase: Tensor

    def __init__(self, config: CNNConfig, shape: tuple[int, int, int], phase: Tensor) -> None:
        super().__init__()
        channels, _, levels = shape
        self.segments = config.segments
        places = torch.stack([phase, torch.sin(4 * torch.pi * phase)]).float()
        # Not saved: it follows from the grid, which is.
        self.register_buffer("phase", places, persistent=False)
        layers: list[nn.Module] = []
        entering, width = channels + len(places), config.width
        for stage in range(config.stages):
            width = config.width * 2**stage
            # A kernel as wide as two strides: neighbours overlap, no pixel is skipped.
            layers.append(nn.Conv1d(entering, width, 2 * config.stride, config.stride, config.stride // 2))
            dilations = [config.dilation**block for block in range(config.blocks)]
            layers += [ConvolutionBlock(width, config.kernel, dilation) for dilation in dilations]
            entering = width
        self.stages = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(width * config.segments)
        self.dropout = nn.Dropout(config.dropout)
        self.hidden = nn.Linear(width * config.segments + levels, 4 * config.width)
        self.width = 4 * config.width

    def forward(self, inputs: Inputs) -> Tensor:
        """Return features, shape (B, width)."""
        return self._features(self.stages(self._placed(inputs)), inputs)

    def states(self, inputs: Inputs) -> Iterator[State]:
        """Yield the maps after every layer, places in order of wavelength, and the features of the head."""
        maps, stage, block = self._placed(inputs), 0, 0
        for layer in self.stages:
            enters = isinstance(layer, nn.Conv1d)
            stage, block = (stage + 1, 0) if enters else (stage, block + 1)
            maps = layer(maps)
            yield State(f"stage{stage}" if enters else f"stage{stage}.block{block}", maps.transpose(1, 2))
        yield State(FEATURES, self._features(maps, inputs))

    def _placed(self, inputs: Inputs) -> Tensor:
        """Return the channels with those that say where a pixel lies."""
        places = self.phase.to(inputs.values.dtype).expand(len(inputs.values), -1, -1)
        return torch.cat([inputs.values, places], dim=1)

    def _features(self, maps: Tensor, inputs: Inputs) -> Tensor:
        means = self.norm(F.adaptive_avg_pool1d(maps, self.segments).flatten(1))
        return F.gelu(self.hidden(torch.cat([self.dropout(means), inputs.level.to(means.dtype)], dim=1)))
