"""Which layers and poolings are wanted of a network, and what they are for a batch of spectra."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from specvit.errors import ConfigError
from specvit.models.states import Layered, Pooling, State

#: Stands for every layer.
ALL = "all"


class LayerFacts(NamedTuple):
    """One layer of a network: its name, tokens per spectrum (0 for one vector), features, whether there is a CLS token."""

    name: str
    tokens: int
    width: int
    cls: bool


@dataclass(frozen=True)
class Wanted:
    """Layers and poolings, in every combination.

    Args:
        layers: by name, or `ALL`.
        poolings: see `Pooling`.
    """

    layers: tuple[str, ...]
    poolings: tuple[Pooling, ...]

    @classmethod
    def parse(cls, layers: Sequence[str], poolings: Sequence[str]) -> Wanted:
        """Return what texts ask for; ConfigError for a pooling that is not known, or nothing at all."""
        found = tuple(dict.fromkeys(Pooling.parse(text) for text in poolings))
        names = tuple(dict.fromkeys(layers))
        if not names or not found:
            raise ConfigError("layers, pool: expected at least one of each")
        return cls(names, found)

    def check(self, known: Sequence[LayerFacts]) -> None:
        """Raise ConfigError for a layer the network does not have, or cannot be pooled so; names the nearest."""
        names = [layer.name for layer in known]
        for name in self.layers:
            if name != ALL and name not in names:
                near = difflib.get_close_matches(name, names, 1)
                told = f"did you mean {near[0]}? " if near else ""
                raise ConfigError(f"layers: '{name}' is not known; {told}choose {', '.join([ALL, *names])}")
        for layer in known:
            if layer.name in self.layers:
                for pooling in self.poolings:
                    self._check_pooling(layer, pooling)
        for pooling in self.poolings:
            asked = [one for one in known if one.tokens and (one.name in self.layers or ALL in self.layers)]
            # One that suits some layers leaves the others out; one that suits none was meant for another network.
            if asked and not any(self._suits(one, pooling) for one in asked):
                self._check_pooling(max(asked, key=lambda one: one.tokens), pooling)
        if not self.keys(known):
            raise ConfigError(
                f"pool: none of {', '.join(map(str, self.poolings))} suits a layer of this network"
            )

    def keys(self, known: Sequence[LayerFacts]) -> list[tuple[str, str]]:
        """Return (layer, pooling) of all that is wanted; a layer that is a vector comes once."""
        found = []
        for layer in known:
            if layer.name in self.layers or ALL in self.layers:
                blank = State(
                    layer.name, torch.empty((0, layer.tokens, layer.width) if layer.tokens else (0, 0))
                )
                found += [
                    (layer.name, one.name_for(blank)) for one in self.poolings if self._suits(layer, one)
                ]
        return list(dict.fromkeys(found))

    def _suits(self, layer: LayerFacts, pooling: Pooling) -> bool:
        """Whether a layer can be pooled so; of `ALL` layers those that cannot are left out."""
        if not layer.tokens:
            return True
        return (layer.cls or pooling.kind != "cls") and pooling.segments <= layer.tokens

    def _check_pooling(self, layer: LayerFacts, pooling: Pooling) -> None:
        if not self._suits(layer, pooling):
            zeros = torch.zeros(1, layer.tokens, layer.width)
            # The pooling itself says best why it cannot.
            pooling(State(layer.name, zeros))


def list_layers(network: Layered, flux: Tensor, sigma: Tensor) -> list[LayerFacts]:
    """Return the layers of a network, found by one or more spectra (B, L) of any content."""
    with torch.inference_mode():
        return [_facts(state) for state in network.states(flux, sigma)]


def pooled_states(
    network: Layered, flux: Tensor, sigma: Tensor, keys: Sequence[tuple[str, str]]
) -> Iterator[tuple[tuple[str, str], Tensor]]:
    """Yield what is wanted of spectra (B, L), by (layer, pooling), float32 without gradient; one layer is held at a time."""
    wanted: dict[str, list[str]] = {}
    for layer, pooling in keys:
        wanted.setdefault(layer, []).append(pooling)
    with torch.inference_mode():
        for state in network.states(flux, sigma):
            for pooling in wanted.get(state.name, ()):
                values = Pooling.parse(pooling)(state) if state.has_tokens else state.values
                yield (state.name, pooling), values.float()


def _facts(state: State) -> LayerFacts:
    tokens = state.values.shape[1] if state.has_tokens else 0
    return LayerFacts(state.name, tokens, state.values.shape[-1], state.cls is not None)
