"""Exponential moving average of weights, with warm-up and without memory of the random start.

A fixed decay of 0.9999 over 15 600 steps leaves 21 % of the initial, random weights in the average: that is
how the reference work's denoisers were lost. Here the decay grows with the step and the start has weight
zero.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """Average with decay d_t = min(decay, (1 + t) / (10 + t)), corrected so that its weights sum to one.

    After step t the average is Σ_i w_i θ_i with w_i ∝ (1 - d_i) Π_{j > i} d_j and Σ w_i = 1, over the weights
    θ_i after steps 1..t only.

    Args:
        module: whose parameters are averaged; its buffers are fixed and not averaged.
        decay: the largest decay.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.step, self._start_weight = decay, 0, 1.0
        self.values = [parameter.detach().clone() for parameter in module.parameters()]

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the weights after one more step."""
        self.step += 1
        # Warm-up of TensorFlow's ExponentialMovingAverage.
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        self._start_weight *= decay
        # The correction of Kingma & Ba 2015, for a decay that changes.
        share = (1 - decay) / (1 - self._start_weight)
        # One call for all weights: on an accelerator a loop would wait for each launch.
        torch._foreach_lerp_(self.values, [p.detach() for p in module.parameters()], share)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to continue exactly."""
        return {"step": self.step, "start_weight": self._start_weight, "values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.step, self._start_weight = state["step"], state["start_weight"]
        values: list[Tensor] = state["values"]
        for mine, saved in zip(self.values, values, strict=True):
            mine.copy_(saved)
