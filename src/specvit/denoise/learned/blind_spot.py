"""A network that says of every pixel what its neighbours foretell, without ever seeing the pixel itself.

Two halves share their weights, one looks left and one, on the mirrored spectrum, right; a last shift by one pixel keeps
each from seeing the pixel it speaks of. Every normalisation is over the channels of one pixel: statistics over pixels
would hand the hidden one on. Source: Laine, Karras, Lehtinen & Aila 2019, NeurIPS.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from specvit.models.options import check_bounds


@dataclass(frozen=True)
class BlindSpotConfig:
    """Architecture of a blind-spot network.

    Args:
        channels: of every level.
        scales: levels of one half, each with half the positions of the last.
        reach: pixels of every kernel, all on one side.
    """

    channels: int = 16
    scales: int = 6
    reach: int = 7

    def __post_init__(self) -> None:
        """Check the options."""
        check_bounds(self)


class BlindSpotNet(nn.Module):
    """Planes (B, C, L), which are hidden at a pixel, and conditions (B, M) -> planes (B, O, L).

    Args:
        config: the architecture.
        pixels: L.
        planes: C.
        outputs: O.
        conditions: M, numbers that describe a whole spectrum and hold nothing of its flux.
    """

    def __init__(
        self, config: BlindSpotConfig, pixels: int, planes: int, outputs: int, conditions: int
    ) -> None:
        super().__init__()
        self.pixels = pixels
        whole = 2 ** (config.scales - 1)
        self.length = -(-pixels // whole) * whole
        width = config.channels
        self.entry = nn.Conv1d(planes, width, 1)
        self.down = nn.ModuleList(_Causal(width, width, config.reach) for _ in range(config.scales))
        self.up = nn.ModuleList(_Causal(2 * width, width, config.reach) for _ in range(config.scales - 1))
        self.told = nn.Linear(conditions, width)
        self.place = nn.Parameter(torch.zeros(4 * width, pixels))
        self.gain = nn.Parameter(torch.ones(2 * width, pixels))
        self.mix = nn.Conv1d(3 * width, 4 * width, 1)
        self.exit = nn.Conv1d(4 * width, outputs, 1)
        for parameter in self.exit.parameters():
            nn.init.zeros_(parameter)

    def forward(self, planes: Tensor, conditions: Tensor) -> Tensor:
        """Return the outputs, float32; those at pixel i do not depend on the planes at pixel i."""
        left = self._half(F.pad(planes, (0, self.length - self.pixels)))[:, :, : self.pixels]
        mirrored = F.pad(planes.flip(2), (0, self.length - self.pixels))
        right = self._half(mirrored)[:, :, : self.pixels].flip(2)
        told = self.told(conditions)[..., None].expand(-1, -1, self.pixels)
        sides = torch.cat([left, right], dim=1) * self.gain
        inner = F.silu(self.mix(torch.cat([sides, told], dim=1)) + self.place)
        found: Tensor = self.exit(inner)
        return found.float()

    def _half(self, planes: Tensor) -> Tensor:
        """Return features (B, width, length) of the pixels to the left of each."""
        features, kept = self.entry(planes), []
        for level, block in enumerate(self.down):
            features = block(features)
            if level + 1 < len(self.down):
                kept.append(features)
                # Shifted before it is pooled: a pool of two would else reach one pixel ahead.
                features = F.max_pool1d(_shifted(features), 2)
        for block in self.up:
            features = block(torch.cat([features.repeat_interleave(2, dim=2), kept.pop()], dim=1))
        return _shifted(features)


class _Causal(nn.Module):
    """A convolution that looks to the left only, residual where widths allow, and a norm per pixel."""

    def __init__(self, inputs: int, width: int, reach: int) -> None:
        super().__init__()
        self.reach = reach
        self.conv = nn.Conv1d(inputs, width, reach)
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> Tensor:
        found = self.conv(F.pad(features, (self.reach - 1, 0)))
        active: Tensor = F.silu(self.norm(found.transpose(1, 2)).transpose(1, 2))
        return features + active if features.shape == active.shape else active


def _shifted(features: Tensor) -> Tensor:
    """Return features moved by one position to the right; the first becomes zero."""
    return F.pad(features, (1, 0))[:, :, :-1]
