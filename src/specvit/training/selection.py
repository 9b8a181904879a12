"""Which weights are kept: those with the best validation R², raw or averaged. Owns the best so far."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from specvit.errors import DataError
from specvit.models.network import SpectrumNetwork
from specvit.spectra import LabelSpace, SpectraBatch

VALIDATION_BATCH = 512


def pooled_r2(estimate: Tensor, truth: Tensor) -> Tensor:
    """Return R² per label over all spectra at once, shape (P,), for estimates and truth of shape (N, P)."""
    total = (truth - truth.mean(dim=0)).square().sum(dim=0)
    return 1 - (estimate - truth).square().sum(dim=0) / total


class Selection:
    """Scores candidate weights and keeps the best.

    Args:
        network: evaluated on its own device, in float32.
        validation: the spectra, on that device.
        space: the labels of `validation`.
        monitor: the label that decides; the mean over labels if the network does not estimate it.

    Raises:
        DataError: if a validation label is unknown or constant.
    """

    def __init__(
        self, network: SpectrumNetwork, validation: SpectraBatch, space: LabelSpace, monitor: str
    ) -> None:
        self.network = network
        self.names = network.label_space.names
        self.decides = [self.names.index(monitor)] if monitor in self.names else list(range(len(self.names)))
        self.truth = validation.labels[:, [space.index(name) for name in self.names]].double()
        if not bool(torch.isfinite(self.truth).all()) or not bool((self.truth.std(dim=0) > 0).all()):
            raise DataError(
                "validation set: expected spectra with known, differing values of all estimated labels"
            )
        parts = zip(
            validation.flux.split(VALIDATION_BATCH), validation.sigma.split(VALIDATION_BATCH), strict=True
        )
        self.inputs = [network.front(flux, sigma) for flux, sigma in parts]
        self.weights = [parameter.detach().clone() for parameter in network.body.parameters()]
        self.r2, self.step, self.kind, self.stale = -math.inf, 0, "initial", 0

    def consider(self, step: int, candidates: dict[str, list[Tensor]]) -> dict[str, Any]:
        """Score the candidates of one step, keep the best if it beats all before; return the record.

        Args:
            step: optimiser steps taken.
            candidates: kind ("raw", "average") -> one tensor per parameter of the body, in order.
        """
        scores = {kind: self._score(weights) for kind, weights in candidates.items()}
        deciding = {kind: float(r2[self.decides].mean()) for kind, r2 in scores.items()}
        kind = max(deciding, key=lambda name: deciding[name])
        self.stale += 1
        if deciding[kind] > self.r2:
            self.r2, self.step, self.kind, self.stale = deciding[kind], step, kind, 0
            self.weights = [weight.detach().clone() for weight in candidates[kind]]
        return {
            "r2": dict(zip(self.names, scores[kind].tolist(), strict=True)),
            "monitored": deciding,
            "best": self.r2,
            "improved": self.stale == 0,
        }

    def restore(self) -> None:
        """Put the best weights into the network."""
        self._load(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to continue."""
        return {
            "weights": self.weights,
            "r2": self.r2,
            "step": self.step,
            "kind": self.kind,
            "stale": self.stale,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        for mine, saved in zip(self.weights, state["weights"], strict=True):
            mine.copy_(saved)
        self.r2, self.step, self.kind, self.stale = state["r2"], state["step"], state["kind"], state["stale"]

    @torch.no_grad()
    def _score(self, weights: list[Tensor]) -> Tensor:
        held = [parameter.detach().clone() for parameter in self.network.body.parameters()]
        self._load(weights)
        self.network.eval()
        means = [self.network.mean(self.network.body(inputs)) for inputs in self.inputs]
        self.network.train()
        self._load(held)
        return pooled_r2(torch.cat(means), self.truth).cpu()

    @torch.no_grad()
    def _load(self, weights: list[Tensor]) -> None:
        for parameter, weight in zip(self.network.body.parameters(), weights, strict=True):
            parameter.copy_(weight)
