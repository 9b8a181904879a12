"""Which weights are kept: those with the best held-out score, raw or averaged. Owns the best so far."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from specvit.errors import ConfigError
from specvit.spectra import SpectraBatch
from specvit.training.objectives import Objective

VALIDATION_BATCH = 512


class Selection:
    """Scores candidate weights and keeps the best.

    Args:
        body: evaluated on its own device, in float32.
        objective: prepares and scores the spectra.
        validation: the spectra, on that device.

    Raises:
        DataError: if the objective cannot score them.
    """

    def __init__(self, body: nn.Module, objective: Objective, validation: SpectraBatch) -> None:
        objective.check(validation)
        self.body, self.objective = body, objective
        starts = range(0, len(validation), VALIDATION_BATCH)
        # Prepared once: the same spectra are scored every time.
        self.parts = [objective.prepare(validation[k : k + VALIDATION_BATCH], None) for k in starts]
        self.weights = [parameter.detach().clone() for parameter in body.parameters()]
        self.best, self.step, self.kind, self.stale = -math.inf, 0, "initial", 0

    def consider(self, step: int, candidates: dict[str, list[Tensor]]) -> dict[str, Any]:
        """Score the candidates of one step, keep the best if it beats all before; return the record.

        Args:
            step: optimiser steps taken.
            candidates: kind ("raw", "average") -> one tensor per parameter of the body, in order.

        Raises:
            ConfigError: if the objective monitors a score that it does not give.
        """
        scores = {kind: self._score(weights) for kind, weights in candidates.items()}
        deciding = {kind: self._deciding(found) for kind, found in scores.items()}
        kind = max(deciding, key=lambda name: deciding[name])
        self.stale += 1
        # NaN is above nothing, so a network that diverged is never kept.
        if deciding[kind] > self.best:
            self.best, self.step, self.kind, self.stale = deciding[kind], step, kind, 0
            self.weights = [weight.detach().clone() for weight in candidates[kind]]
        return {
            self.objective.score: scores[kind],
            "monitored": deciding,
            "best": self.best,
            "improved": self.stale == 0,
        }

    def restore(self) -> None:
        """Put the best weights into the body."""
        self._load(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to continue."""
        return {
            "weights": self.weights,
            "best": self.best,
            "step": self.step,
            "kind": self.kind,
            "stale": self.stale,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        for mine, saved in zip(self.weights, state["weights"], strict=True):
            mine.copy_(saved)
        self.best, self.step = state["best"], state["step"]
        self.kind, self.stale = state["kind"], state["stale"]

    def _deciding(self, scores: dict[str, float]) -> float:
        for name in self.objective.monitor:
            if name not in scores:
                raise ConfigError(
                    f"monitor: '{name}' is not among the scores {', '.join(scores)} of "
                    f"{type(self.objective).__name__}; monitor one of these"
                )
        return float(
            torch.tensor([scores[name] for name in self.objective.monitor], dtype=torch.float64).mean()
        )

    @torch.no_grad()
    def _score(self, weights: list[Tensor]) -> dict[str, float]:
        held = [parameter.detach().clone() for parameter in self.body.parameters()]
        self._load(weights)
        self.body.eval()
        scores = self.objective.scores((self.body(inputs), targets) for inputs, targets in self.parts)
        self.body.train()
        self._load(held)
        return scores

    @torch.no_grad()
    def _load(self, weights: list[Tensor]) -> None:
        for parameter, weight in zip(self.body.parameters(), weights, strict=True):
            # In place: optimiser and wrappers hold these very tensors.
            parameter.copy_(weight)
