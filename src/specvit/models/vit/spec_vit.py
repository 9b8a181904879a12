"""SpecViT: a vision transformer on one-dimensional spectra.

Owns the assembly: tokens, positions, blocks, pooling. The published model of the reference work is
`ViTConfig.reference()`; everything else here is an option with a study behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from specvit.errors import ConfigError
from specvit.models.conditioning import Inputs
from specvit.models.mlp import readout_layers
from specvit.models.options import check_bounds
from specvit.models.states import FEATURES, State
from specvit.models.view import GRAVITY_WINDOWS
from specvit.models.vit.blocks import EPSILON, Block, initialise_linear, shrink_residuals
from specvit.models.vit.positions import rotary_angles, sinusoidal, token_coordinates
from specvit.models.vit.tokens import Initial, Tokeniser, TokeniserForm
from specvit.numerics.dropout import Dropout


@dataclass(frozen=True)
class ViTConfig:
    """Architecture of a SpecViT.

    Args:
        patch, stride: pixels per token and between tokens; stride 0 means adjacent patches.
        coarse_patch: if > 0, further tokens of this many adjacent pixels join the fine ones.
        tokeniser: "c1d", "sw" or "local", see `tokens`.
        width, depth, heads: features per token, blocks, attention heads.
        ratio: hidden width of the feed-forward layer over `width`.
        position: "learned", "sinusoidal" or "rope" (both of ln wavelength), "learned+rope", or "none". "rope"
            alone knows differences of wavelength only.
        pooling: "cls" (a token of its own) or "mean".
        dropout: in tokens, attention and residuals.
        windows: let each head prefer tokens that touch `GRAVITY_WINDOWS`, by a learned bias.
        readout: residual layers between pooling and head, `readout_width` wide; 0 goes straight to the head.
        readout_width: see `readout`.
        level: add what is known of the noise level to every token.
        mask_token: replace tokens without a usable pixel by a learned one.
        initial: scale of tokens and positions at the start, see `tokens`.
    """

    patch: int = 32
    stride: int = 0
    coarse_patch: int = 0
    tokeniser: TokeniserForm = "c1d"
    width: int = 64
    depth: int = 3
    heads: int = 4
    ratio: float = 4.0
    position: Literal["learned", "sinusoidal", "rope", "learned+rope", "none"] = "learned"
    pooling: Literal["cls", "mean"] = "mean"
    dropout: float = 0.0
    windows: bool = False
    readout: int = 0
    readout_width: int = 256
    level: bool = True
    mask_token: bool = True
    initial: Initial = "shared"

    def __post_init__(self) -> None:
        """Check the options."""
        check_bounds(self)
        choices = {
            "position": ("learned", "sinusoidal", "rope", "learned+rope", "none"),
            "pooling": ("cls", "mean"),
            "initial": ("shared", "reference"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"{name}: '{getattr(self, name)}' is not known; choose {', '.join(allowed)}"
                )

    @classmethod
    def reference(cls) -> ViTConfig:
        """Return p16-h256-L6-a8 of the reference work: with one label and a point head 4,809,729 parameters.

        Published as 4,875,521: that includes a pooler of 65,792 parameters that nothing uses.
        """
        return cls(
            patch=16, width=256, depth=6, heads=8, pooling="cls", dropout=0.1,
            level=False, mask_token=False, initial="reference",
        )  # fmt: skip


class SpecViT(nn.Module):
    """Transformer over the tokens of a spectrum.

    Args:
        config: the architecture.
        shape: channels C, pixels N and level features M of the `Inputs`.
        phase: ln wavelength of each pixel in [-1, 1], shape (N,), see `wavelength_phase`.
        wavelength: pixel centres, shape (N,), Å vacuum; for `windows` only.
    """

    position: Tensor | None
    cosine: Tensor
    sine: Tensor
    in_window: Tensor

    def __init__(
        self, config: ViTConfig, shape: tuple[int, int, int], phase: Tensor, wavelength: Tensor
    ) -> None:
        super().__init__()
        self.config = config
        self.width = config.readout_width if config.readout else config.width
        channels, pixels, levels = shape
        sizes = [(config.patch, config.stride or config.patch)]
        sizes += [(config.coarse_patch, config.coarse_patch)] if config.coarse_patch else []
        tokenisers = [
            Tokeniser(channels, pixels, patch, stride, config.width, config.tokeniser, config.initial)
            for patch, stride in sizes
        ]
        self.tokenisers = nn.ModuleList(tokenisers)
        hidden = round(config.ratio * config.width)
        blocks = [Block(config.width, config.heads, hidden, config.dropout) for _ in range(config.depth)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(config.width, eps=EPSILON) if not config.readout else nn.Identity()
        wide, deep = config.readout_width, config.readout
        self.readout = readout_layers(config.width, wide, deep, config.dropout) if deep else nn.Identity()
        self.dropout = Dropout(config.dropout)
        self.level = nn.Linear(levels, config.width) if config.level else None
        initialise_linear(self.blocks)
        if config.initial == "shared":
            shrink_residuals(blocks)
        self._add_tokens(tokenisers, phase)
        self._add_windows(tokenisers, wavelength)

    def _add_tokens(self, tokenisers: list[Tokeniser], phase: Tensor) -> None:
        config = self.config
        centres = torch.cat([tokeniser.centres(phase) for tokeniser in tokenisers])
        # One unit for tokens of all sizes: the spacing of the finest.
        coordinates = token_coordinates(centres, tokenisers[0].count)
        count, prefix = len(coordinates), int(config.pooling == "cls")
        # The reference work drew positions from N(0, 1), see `tokens`.
        std = 1.0 if config.initial == "reference" else 0.02
        self.cls = nn.Parameter(std * torch.randn(config.width)) if prefix else None
        self.mask = nn.Parameter(torch.zeros(config.width)) if config.mask_token else None
        if "learned" in config.position:
            self.position = nn.Parameter(std * torch.randn(count + prefix, config.width))
        elif config.position == "sinusoidal":
            table = torch.cat([torch.zeros(prefix, config.width), sinusoidal(coordinates, config.width)])
            self.register_buffer("position", table, persistent=False)
        else:
            self.register_parameter("position", None)
        if "rope" in config.position:
            angles = rotary_angles(coordinates, config.width // config.heads)
            # A CLS token has no wavelength: angle zero leaves it as it is.
            angles = torch.cat([torch.zeros(prefix, angles.shape[1]).double(), angles])
            # Not saved: angles follow from the grid.
            self.register_buffer("cosine", angles.cos().float(), persistent=False)
            self.register_buffer("sine", angles.sin().float(), persistent=False)

    def _add_windows(self, tokenisers: list[Tokeniser], wavelength: Tensor) -> None:
        self.window_gain = nn.Parameter(torch.ones(self.config.heads)) if self.config.windows else None
        if self.window_gain is None:
            return
        inside = torch.zeros_like(wavelength, dtype=torch.bool)
        for centre, half_width in GRAVITY_WINDOWS.values():
            inside |= (wavelength - centre).abs() <= half_width
        if not inside.any():
            raise ConfigError("windows: this grid covers none of the gravity-sensitive windows; leave it off")
        # Where the weights are, which may be nowhere yet: a network is laid out before its file is read.
        inside = inside.to(self.window_gain.device)
        touched = torch.cat([~tokeniser.dead(inside[None])[0] for tokeniser in tokenisers])
        touched = torch.cat([torch.zeros(int(self.cls is not None), dtype=torch.bool), touched])
        self.register_buffer("in_window", touched.float(), persistent=False)

    def embed(self, inputs: Inputs) -> Tensor:
        """Return the tokens that enter the first block, shape (B, T, width)."""
        tokens: Tensor = torch.cat([tokeniser(inputs.values) for tokeniser in self.tokenisers], dim=1)
        if self.mask is not None and inputs.usable is not None:
            dead = torch.cat([t.dead(inputs.usable) for t in self._tokenisers()], dim=1)
            tokens = torch.where(dead[..., None], self.mask.to(tokens.dtype), tokens)
        if self.cls is not None:
            tokens = torch.cat([self.cls.to(tokens.dtype).expand(len(tokens), 1, -1), tokens], dim=1)
        if self.position is not None:
            tokens = tokens + self.position
        if self.level is not None:
            tokens = tokens + self.level(inputs.level)[:, None]
        tokens = self.dropout(tokens)
        return tokens

    def encode(self, inputs: Inputs) -> Tensor:
        """Return the finest tokens after the last block, shape (B, T, width), without CLS."""
        tokens, rotation, bias = self.embed(inputs), self._rotation(), self._bias()
        for block in cast(list[Block], list(self.blocks)):
            tokens = block(tokens, rotation, bias)
        first = int(self.cls is not None)
        encoded: Tensor = self.norm(tokens)[:, first : first + self._tokenisers()[0].count]
        return encoded

    def forward(self, inputs: Inputs) -> Tensor:
        """Return features, shape (B, width)."""
        tokens = self.embed(inputs)
        blocks, rotation, bias = cast(list[Block], list(self.blocks)), self._rotation(), self._bias()
        # Nothing reads what the last block makes of the other tokens if a CLS token is pooled.
        full = len(blocks) - int(self.cls is not None)
        for block in blocks[:full]:
            tokens = block(tokens, rotation, bias)
        for block in blocks[full:]:
            tokens = block.first(tokens, rotation, bias)
        tokens = self.norm(tokens)
        features: Tensor = self.readout(tokens[:, 0] if self.cls is not None else tokens.mean(dim=1))
        return features

    def states(self, inputs: Inputs) -> Iterator[State]:
        """Yield the finest tokens and the CLS token after every layer, and the features of the head."""
        tokens, rotation, bias = self.embed(inputs), self._rotation(), self._bias()
        yield self._state("tokens", tokens)
        for number, block in enumerate(cast(list[Block], list(self.blocks)), 1):
            tokens = block(tokens, rotation, bias)
            yield self._state(f"block{number}", tokens)
        tokens = self.norm(tokens)
        yield State(FEATURES, self.readout(tokens[:, 0] if self.cls is not None else tokens.mean(dim=1)))

    def _state(self, name: str, tokens: Tensor) -> State:
        first = int(self.cls is not None)
        finest = tokens[:, first : first + self._tokenisers()[0].count]
        return State(name, finest, tokens[:, 0] if first else None)

    def attention_maps(self, inputs: Inputs) -> list[Tensor]:
        """Return what each token attends to, per block, shape (B, heads, T, T); a CLS token comes first."""
        tokens, maps = self.embed(inputs), []
        rotation, bias = self._rotation(), self._bias()
        for block in cast(list[Block], list(self.blocks)):
            maps.append(block.attention.probabilities(block.attention_norm(tokens), rotation, bias))
            tokens = block(tokens, rotation, bias)
        return maps

    def _tokenisers(self) -> list[Tokeniser]:
        return cast(list[Tokeniser], list(self.tokenisers))

    def _rotation(self) -> tuple[Tensor, Tensor] | None:
        return (self.cosine, self.sine) if "rope" in self.config.position else None

    def _bias(self) -> Tensor | None:
        if self.window_gain is None:
            return None
        tokens = len(self.in_window)
        return (self.window_gain[:, None, None] * self.in_window).expand(-1, tokens, -1)[None]
