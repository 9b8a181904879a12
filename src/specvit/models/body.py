"""The trainable part of a network: backbone, head and linear shortcut, and a second one for bright stars.

What a network has to know of a star of S/N 300 is a thousand times as precise as of one of S/N 3, and few of the
stars it is for are bright: one body that serves both learns the one at the expense of the other. The S/N is known
beforehand, so which of two bodies answers need not be learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from specvit.models.conditioning import Inputs
from specvit.models.heads import Head
from specvit.models.states import State


class Read(NamedTuple):
    """What a body makes of B spectra: the features its head reads, (B, width), and its raw outputs, (B, P, outputs)."""

    features: Tensor
    raw: Tensor


class Body(nn.Module):
    """The trainable part: `Inputs` -> raw outputs of the head.

    `bright`, if there is one, answers in its place where its gate says so; what it states is decoded by this head.
    """

    def __init__(self, backbone: nn.Module, head: Head, shortcut: nn.Linear | None) -> None:
        super().__init__()
        self.backbone, self.head, self.shortcut = backbone, head, shortcut
        self.bright: BrightBody | None = None

    @property
    def parts(self) -> list[Body]:
        """This body, and the one for bright stars if there is one."""
        return [self] if self.bright is None else [self, self.bright.body]

    def forward(self, inputs: Inputs) -> Tensor:
        """Return raw outputs, shape (B, P, outputs), float32."""
        return self.read(inputs).raw

    def read(self, inputs: Inputs) -> Read:
        """Return the features of the inputs and the raw outputs."""
        return Read(*self.routed(inputs, Body._own))

    def _own(self, inputs: Inputs) -> tuple[Tensor, ...]:
        features = self.backbone(inputs)
        return features, self.outputs(features, inputs)

    def outputs(self, features: Tensor, inputs: Inputs) -> Tensor:
        """Return raw outputs for the features (B, width) that this body's own backbone made of inputs."""
        raw: Tensor = self.head(features, inputs.level)
        if self.shortcut is None:
            return raw
        # Channel 0 is the flux: `Conditioning` refuses any other order.
        linear = self.shortcut(inputs.values[:, 0]).float()
        return torch.cat([(raw[..., 0] + linear)[..., None], raw[..., 1:]], dim=-1)

    def states(self, inputs: Inputs) -> Iterator[State]:
        """Yield what the layers of the backbone make of inputs."""
        layers = [cast(Any, part.backbone).states(inputs) for part in self.parts]
        if self.bright is None:
            yield from layers[0]
            return
        rows = self.bright.gate(inputs.level)
        for faint, bright in zip(*layers, strict=True):
            cls = None if faint.cls is None else where_rows(rows, bright.cls, faint.cls)
            yield State(faint.name, where_rows(rows, bright.values, faint.values), cls)

    def routed(self, inputs: Inputs, ask: Callable[[Body, Inputs], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Return what `ask` makes of inputs with the body that answers for each spectrum; tensors of B rows.

        No body is asked about no spectra: one without any learns nothing, and its weights do not decay.
        """
        if self.bright is None:
            return ask(self, inputs)
        rows = self.bright.gate(inputs.level)
        bright = torch.nonzero(rows).squeeze(1)
        if not len(bright):
            return ask(self, inputs)
        if len(bright) == len(rows):
            return ask(self.bright.body, inputs)
        faint = torch.nonzero(~rows).squeeze(1)
        both = zip(
            ask(self, _taken(inputs, faint)), ask(self.bright.body, _taken(inputs, bright)), strict=True
        )
        order = torch.cat([faint, bright]).argsort()
        return tuple(torch.cat(parts).index_select(0, order) for parts in both)


class BrightBody(nn.Module):
    """A body for bright stars, and the gate that says which are."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.body, self.gate = body, Gate()

    @torch.no_grad()
    def begin(self, other: Body) -> Self:
        """Take over the weights of another body of the same kind."""
        # Its own state has no second body in it.
        state = {name: other.state_dict()[name] for name in self.body.state_dict()}
        self.body.load_state_dict(state)
        return self


class Gate(nn.Module):
    """Which spectra are bright, by the first of their level features: a straight line in ln S/N to good accuracy.

    It is not the S/N itself, which an `Inputs` does not know.
    """

    at: Tensor
    side: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Before it was fitted no star is bright.
        self.register_buffer("at", torch.tensor(torch.inf))
        self.register_buffer("side", torch.tensor(1.0))

    @torch.no_grad()
    def fit(self, level: Tensor, snr: Tensor, least: float) -> Self:
        """Set the gate to the S/N `least`.

        Args:
            level: level features of a sample, shape (N, M), of different S/N.
            snr: its S/N, shape (N,).
        """
        known = torch.isfinite(snr) & (snr > 0)
        first, log_snr = level[known, 0].double(), snr[known].double().log()
        spread = log_snr - log_snr.mean()
        slope = (spread * first).sum() / spread.square().sum()
        at = first.mean() + slope * (torch.tensor(least).double().log() - log_snr.mean())
        # A sample of one S/N, or of none that is known, does not say: then no star is bright.
        side = float(torch.sign(slope))
        self.side.fill_(side if side in (-1.0, 1.0) else 1.0)
        self.at.fill_(side * float(at) if side in (-1.0, 1.0) else torch.inf)
        return self

    def forward(self, level: Tensor) -> Tensor:
        """Return which spectra are bright, shape (B,), for level features (B, M)."""
        return self.side * level[:, 0] >= self.at


def where_rows(rows: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Return the rows of `yes` where `rows` (B,) says so, else of `no`, both (B, ...)."""
    return torch.where(rows.view(-1, *(1,) * (no.ndim - 1)), yes, no)


def _taken(inputs: Inputs, rows: Tensor) -> Inputs:
    """Return some rows of inputs."""
    usable = None if inputs.usable is None else inputs.usable.index_select(0, rows)
    return Inputs(inputs.values.index_select(0, rows), usable, inputs.level.index_select(0, rows))
