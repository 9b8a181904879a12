"""A U-Net for spectra whose lines stay where they are: planes of pixels in, planes of pixels out.

Why not `diffusers.UNet1DModel`: it is made for audio. It is told the noise level by planes beside the input or by one
added embedding, its kernels are the same at all pixels, and it cannot be told which pixel it looks at; in the rest
frame a line always lies at the same pixels, and layers that are shared by all pixels have to find out where they are.
Here the first and the last layer may be maps of their own for each patch, all levels have a gain and an offset per
position, and the conditions scale every block. `benchmarks/denoise_networks.py` trains both.
Source: Ronneberger, Fischer & Brox 2015, MICCAI (U-Net); Perez et al. 2018, AAAI (conditions as gain and offset).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from specvit.errors import ConfigError
from specvit.models.options import check_bounds
from specvit.models.vit.tokens import LocalMap


@dataclass(frozen=True)
class UNetConfig:
    """Architecture of a U-Net.

    Args:
        width: channels at the finest level.
        growth: channels of each level over `width`, from the finest; each level has half the positions of the last.
        blocks: residual blocks per level, on the way down and on the way up.
        kernel: positions of every kernel in the blocks; odd.
        patch: pixels that make one position of the finest level.
        local: each patch has a first and a last map of its own; else one convolution serves all.
        attention: every position of the coarsest level sees all others.
    """

    width: int = 32
    growth: tuple[int, ...] = (1, 2, 2)
    blocks: int = 1
    kernel: int = 5
    patch: int = 16
    local: bool = True
    attention: bool = True

    def __post_init__(self) -> None:
        """Check the options."""
        check_bounds(self)
        if min(len(self.growth), *self.growth) < 1 or max(self.growth) > 1000:
            raise ConfigError(f"growth: expected factors of 1 to 1,000, got {self.growth}")
        if self.kernel % 2 == 0:
            raise ConfigError(f"kernel: expected an odd number of positions, got {self.kernel}")

    def positions(self, pixels: int) -> int:
        """Return the positions of the finest level: enough for all pixels, and divisible for all levels."""
        whole = 1 << (len(self.growth) - 1)
        return -(-pixels // (self.patch * whole)) * whole


class UNet(nn.Module):
    """Planes (B, C, L) and conditions (B, M) -> planes (B, O, L); gives zeros before it is trained.

    Args:
        config: the architecture.
        pixels: L.
        planes: C.
        outputs: O.
        conditions: M, numbers of order one that describe a whole spectrum.
    """

    def __init__(self, config: UNetConfig, pixels: int, planes: int, outputs: int, conditions: int) -> None:
        super().__init__()
        self.config, self.pixels, self.outputs = config, pixels, outputs
        count, widths = config.positions(pixels), [config.width * factor for factor in config.growth]
        self.length, hidden = count * config.patch, 4 * config.width
        self.told = nn.Sequential(
            nn.Linear(conditions, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()
        )
        self.entry = _map(config, count, planes * config.patch, widths[0])
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.coarser, self.finer = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            sizes = (width, count >> level, hidden, config.kernel)
            self.down.append(_Level(*sizes, config.blocks, places=True))
            self.up.append(_Level(*sizes, config.blocks, places=False))
            if level + 1 < len(widths):
                self.coarser.append(nn.Conv1d(width, widths[level + 1], 2, 2))
                self.finer.append(nn.Conv1d(widths[level + 1] + width, width, 1))
        self.attention = _Attention(widths[-1]) if config.attention else nn.Identity()
        self.norm = nn.GroupNorm(1, widths[0])
        self.exit = _map(config, count, widths[0], outputs * config.patch)
        # What is trained is a correction: it begins at none.
        for parameter in self.exit.parameters():
            nn.init.zeros_(parameter)

    def forward(self, planes: Tensor, conditions: Tensor) -> Tensor:
        """Return the outputs, float32."""
        told: Tensor = self.told(conditions)
        padded = F.pad(planes, (0, self.length - self.pixels))
        patches = padded.unflatten(2, (-1, self.config.patch)).transpose(1, 2).flatten(2)
        features: Tensor = self.entry(patches).transpose(1, 2)
        kept = []
        for level, blocks in enumerate(self.down):
            features = blocks(features, told)
            if level + 1 < len(self.down):
                kept.append(features)
                features = self.coarser[level](features)
        features = self.up[-1](self.attention(features), told)
        for level in reversed(range(len(kept))):
            fine = features.repeat_interleave(2, dim=2)
            features = self.up[level](self.finer[level](torch.cat([fine, kept[level]], dim=1)), told)
        found: Tensor = self.exit(F.silu(self.norm(features)).transpose(1, 2))
        whole: Tensor = found.unflatten(2, (self.outputs, -1)).transpose(1, 2).flatten(2)
        return whole[:, :, : self.pixels].float()


def _map(config: UNetConfig, count: int, inputs: int, outputs: int) -> nn.Module:
    """Return a linear map of each position's features (B, T, inputs): its own, or one for all."""
    if not config.local:
        return nn.Linear(inputs, outputs)
    found = LocalMap(count, inputs, outputs)
    nn.init.normal_(found.weight, std=inputs**-0.5)
    nn.init.zeros_(found.bias)
    return found


class _Level(nn.Module):
    """Residual blocks of one level, after a gain and an offset for every position if `places`."""

    def __init__(
        self, width: int, count: int, conditions: int, kernel: int, blocks: int, places: bool
    ) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width, count)) if places else None
        self.offset = nn.Parameter(torch.zeros(width, count)) if places else None
        self.blocks = nn.ModuleList(_Block(width, conditions, kernel) for _ in range(blocks))

    def forward(self, features: Tensor, told: Tensor) -> Tensor:
        if self.gain is not None and self.offset is not None:
            features = torch.addcmul(self.offset, self.gain, features)
        for block in self.blocks:
            features = block(features, told)
        return features


class _Block(nn.Module):
    """Pre-norm residual pair of convolutions; conditions scale and shift between them; begins as the identity."""

    def __init__(self, width: int, conditions: int, kernel: int) -> None:
        super().__init__()
        # Statistics of one spectrum: those of a batch would make an answer depend on its neighbours.
        self.norms = nn.ModuleList(nn.GroupNorm(1, width) for _ in range(2))
        self.first = nn.Conv1d(width, width, kernel, padding=kernel // 2)
        self.film = nn.Linear(conditions, 2 * width)
        self.second = nn.Conv1d(width, width, kernel, padding=kernel // 2)
        nn.init.zeros_(self.second.weight)
        if self.second.bias is not None:
            nn.init.zeros_(self.second.bias)

    def forward(self, features: Tensor, told: Tensor) -> Tensor:
        gain, offset = self.film(told)[..., None].chunk(2, dim=1)
        inner = self.norms[1](self.first(F.silu(self.norms[0](features))))
        change: Tensor = self.second(F.silu(torch.addcmul(offset, 1 + gain, inner)))
        return features + change


class _Attention(nn.Module):
    """Residual attention of one head among all positions; begins as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.asked = nn.Conv1d(width, 3 * width, 1)
        self.out = nn.Conv1d(width, width, 1)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor) -> Tensor:
        query, key, value = self.asked(self.norm(features)).transpose(1, 2).chunk(3, dim=2)
        change: Tensor = self.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2))
        return features + change
