"""Tokenisers: a spectrum cut into overlapping or adjacent patches, each mapped to one token.

"c1d" is a strided convolution, "sw" a sliding window with a linear map: the same functions, and with
`initial="shared"` the same initial scale. (The reference work's windows started 7 times smaller than its
convolutions, below positions drawn from N(0, 1): that, not the form, is why they did not learn.) "local"
gives every patch a linear map of its own: a line means something at its own wavelength only, and a map
shared by all patches has to learn that through positions and attention.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from specvit.errors import ConfigError

TokeniserForm = Literal["c1d", "sw", "local"]
Initial = Literal["shared", "reference"]


class LocalMap(nn.Module):
    """A linear map per patch: inputs (B, T, in) -> (B, T, out)."""

    def __init__(self, count: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, patches: Tensor) -> Tensor:
        """Return shape (B, T, out)."""
        return torch.bmm(patches.transpose(0, 1), self.weight).transpose(0, 1) + self.bias


class Tokeniser(nn.Module):
    """Patches of `patch` pixels every `stride` pixels, covering every pixel (zeros are appended if needed).

    Args:
        channels, pixels: shape of the input.
        patch, stride: pixels; 1 <= stride <= patch.
        width: features per token.
        form: "c1d", "sw" or "local", see the module.
        initial: "shared" gives tokens of unit variance for inputs of unit variance in every form;
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
        if form not in ("c1d", "sw", "local"):
            raise ConfigError(f"tokeniser: '{form}' is not known; choose c1d, sw or local")
        if not 1 <= stride <= patch <= pixels:
            raise ConfigError(
                f"tokeniser: expected 1 <= stride <= patch <= {pixels} pixels, got {stride} and {patch}"
            )
        self.patch, self.stride, self.form = patch, stride, form
        self.count = math.ceil((pixels - patch) / stride) + 1
        self.padding = (self.count - 1) * stride + patch - pixels
        self.pixels = pixels
        self.map: nn.Conv1d | nn.Linear | LocalMap
        if form == "c1d":
            self.map = nn.Conv1d(channels, width, patch, stride)
        elif form == "sw":
            self.map = nn.Linear(channels * patch, width)
        else:
            self.map = LocalMap(self.count, channels * patch, width)
        assert self.map.bias is not None
        if initial == "shared" or form == "local":
            nn.init.normal_(self.map.weight, std=(channels * patch) ** -0.5)
            nn.init.zeros_(self.map.bias)
        elif form == "sw":
            nn.init.trunc_normal_(self.map.weight, std=0.02)
            nn.init.zeros_(self.map.bias)

    def forward(self, values: Tensor) -> Tensor:
        """Return tokens, shape (B, T, width), for values (B, C, L)."""
        values = F.pad(values, (0, self.padding))
        if self.form == "c1d" and values.device.type == "cpu":
            channels: Tensor = self.map(values)
            return channels.transpose(1, 2)
        patches = values.unfold(2, self.patch, self.stride).transpose(1, 2).flatten(2)
        if self.form == "c1d":
            # On an accelerator a product is faster than a convolution of so few channels.
            return F.linear(patches, self.map.weight.flatten(1), self.map.bias)
        tokens: Tensor = self.map(patches)
        return tokens

    def dead(self, usable: Tensor) -> Tensor:
        """Return which tokens see no usable pixel, shape (B, T), for usable (B, L)."""
        # Appended pixels count as dead: they keep no token alive.
        padded = F.pad(usable, (0, self.padding), value=False)
        return ~padded.unfold(1, self.patch, self.stride).any(dim=-1)

    def centres(self, phase: Tensor) -> Tensor:
        """Return the mean of `phase` (L,) over the pixels of each token, shape (T,)."""
        index = torch.arange(self.count)[:, None] * self.stride + torch.arange(self.patch)
        inside = index < self.pixels
        # Appended pixels have no wavelength and do not count.
        values = phase[index.clamp(max=self.pixels - 1)] * inside
        return values.sum(dim=1) / inside.sum(dim=1)
