"""What the layers of a network make of spectra, by name, and how a layer is brought to one vector per spectrum.

Every backbone lists its own layers (`states`); who writes latents or reads labels off them knows no architecture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from specvit.errors import ConfigError

#: How the tokens of a layer become one vector: of the CLS token, their mean, mean and maximum, means of K stretches of
#: the spectrum; or not at all.
POOLINGS = ("cls", "mean", "mean+max", "segments:K", "tokens")

#: What a layer that has one vector per spectrum is called by, whatever pooling was asked for.
VECTOR = "vector"

#: Names of the first and last states of every network: what the front end gives, the noise level it states, what the
#: head reads, and what it says.
INPUT, LEVEL, FEATURES, OUTPUT = "input", "level", "features", "output"


class State(NamedTuple):
    """What a layer makes of B spectra.

    name: of the layer.
    values: tokens in order of wavelength, shape (B, T, W), or one vector each, shape (B, W).
    cls: the CLS token of the same layer, shape (B, W), if there is one.
    """

    name: str
    values: Tensor
    cls: Tensor | None = None

    @property
    def has_tokens(self) -> bool:
        """Whether there are several vectors per spectrum."""
        return self.values.ndim == 3


@runtime_checkable
class Layered(Protocol):
    """What a network offers whose layers can be looked at; those of specvit do, and yours may."""

    def states(self, flux: Tensor, sigma: Tensor) -> Iterator[State]:
        """Yield the states of its layers for flux and sigma (B, L), in the order in which they are computed."""


@dataclass(frozen=True)
class Pooling:
    """A way from the tokens of a layer to one vector per spectrum.

    Args:
        kind: one of `POOLINGS`, without K.
        segments: K, stretches of equally many tokens; 0 for the other kinds.
    """

    kind: str
    segments: int = 0

    @classmethod
    def parse(cls, text: str) -> Pooling:
        """Return the pooling of a text such as "mean" or "segments:8"; ConfigError for any other."""
        kind, colon, count = text.partition(":")
        known = {name.partition(":")[0]: ":" in name for name in POOLINGS}
        counted = known.get(kind)
        if counted is None or counted != bool(colon) or (counted and not (count.isdecimal() and int(count))):
            raise ConfigError(
                f"pool: '{text}' is not known; choose {', '.join(POOLINGS)}, such as segments:8"
            )
        return cls(kind, int(count) if counted else 0)

    def __str__(self) -> str:
        return f"{self.kind}:{self.segments}" if self.segments else self.kind

    def name_for(self, state: State) -> str:
        """Return what the pooled state is called by: `VECTOR` where there is nothing to pool."""
        return str(self) if state.has_tokens else VECTOR

    def __call__(self, state: State) -> Tensor:
        """Return the pooled state, shape (B, F), or (B, T, W) for "tokens".

        Raises:
            ConfigError: without a CLS token, or with fewer tokens than segments; names the layer.
        """
        tokens = state.values
        if not state.has_tokens or self.kind == "tokens":
            return tokens
        if self.kind == "cls":
            if state.cls is None:
                raise ConfigError(f"pool: layer '{state.name}' has no CLS token; take mean")
            return state.cls
        if self.kind == "mean":
            return tokens.mean(dim=1)
        if self.kind == "mean+max":
            return torch.cat([tokens.mean(dim=1), tokens.amax(dim=1)], dim=1)
        if self.segments > tokens.shape[1]:
            raise ConfigError(
                f"pool: layer '{state.name}' has {tokens.shape[1]} tokens, not {self.segments} segments of them"
            )
        # In order of wavelength: all features of the first stretch, then those of the second.
        means = F.adaptive_avg_pool1d(tokens.transpose(1, 2), self.segments)
        return means.transpose(1, 2).flatten(1)
