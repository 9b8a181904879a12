"""Tokenisers: a spectrum cut into overlapping or adjacent patches, each mapped to one token.

"c1d" is a strided convolution, "sw" a sliding window with a linear map: the same functions, and with
`initial="shared"` the same initial scale. (The reference work's windows started 7 times smaller than its
convolutions, below positions drawn from N(0, 1): that, not the form, is why they did not learn.)
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from specvit.errors import ConfigError

TokeniserForm = Literal["c1d", "sw"]
Initial = Literal["shared", "reference"]


class Tokeniser(nn.Module):
    """Patches of `patch` pixels every `stride` pixels, covering every pixel (zeros are appended if needed).

    Args:
        channels, pixels: shape of the input.
        patch, stride: pixels; 1 <= stride <= patch.
        width: features per token.
        form: "c1d" or "sw", see the module.
        initial: "shared" gives tokens of unit variance for inputs of unit variance in both forms;
            "reference" what the reference work had (uniform ±1/√fan-in for c1d, normal 0.02 for sw).
    """

    def __init__(
        self,
        channels: int,
        pixels: int,
        patch: int,
        stride: int,
        width: int,
        form: TokeniserForm = "c1d",
        initial: Initial = "shared",
    ) -> None:
        super().__init__()
        if form not in ("c1d", "sw"):
            raise ConfigError(f"tokeniser: '{form}' is not known; choose c1d or sw")
        if not 1 <= stride <= patch <= pixels:
            raise ConfigError(
                f"tokeniser: expected 1 <= stride <= patch <= {pixels} pixels, got {stride} and {patch}"
            )
        self.patch, self.stride, self.form = patch, stride, form
        self.count = math.ceil((pixels - patch) / stride) + 1
        self.padding = (self.count - 1) * stride + patch - pixels
        self.pixels = pixels
        self.map = (
            nn.Conv1d(channels, width, patch, stride) if form == "c1d" else nn.Linear(channels * patch, width)
        )
        assert self.map.bias is not None
        if initial == "shared":
            nn.init.normal_(self.map.weight, std=(channels * patch) ** -0.5)
            nn.init.zeros_(self.map.bias)
        elif form == "sw":
            nn.init.trunc_normal_(self.map.weight, std=0.02)
            nn.init.zeros_(self.map.bias)

    def forward(self, values: Tensor) -> Tensor:
        """Return tokens, shape (B, T, width), for values (B, C, L)."""
        values = F.pad(values, (0, self.padding))
        if self.form == "c1d":
            return self.map(values).transpose(1, 2)
        return self.map(values.unfold(2, self.patch, self.stride).transpose(1, 2).flatten(2))

    def dead(self, usable: Tensor) -> Tensor:
        """Return which tokens see no usable pixel, shape (B, T), for usable (B, L)."""
        padded = F.pad(usable, (0, self.padding), value=False)
        return ~padded.unfold(1, self.patch, self.stride).any(dim=-1)

    def centres(self, phase: Tensor) -> Tensor:
        """Return the mean of `phase` (L,) over the pixels of each token, shape (T,)."""
        index = torch.arange(self.count)[:, None] * self.stride + torch.arange(self.patch)
        inside = index < self.pixels
        values = phase[index.clamp(max=self.pixels - 1)] * inside
        return values.sum(dim=1) / inside.sum(dim=1)
