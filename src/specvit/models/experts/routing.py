"""From what a gate says to the weight of every component: the routings, and which of them an observer can use."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Routing = Literal["soft", "hard", "top", "fallback", "pseudo", "global", "oracle"]
ROUTINGS: tuple[Routing, ...] = get_args(Routing)

#: These take the bin from a label: estimated by the model of all spectra, or the true one.
BY_LABEL = ("pseudo", "oracle")


def routed(
    weights: Tensor, routing: Routing, top: int, confidence: float, bins: Tensor | None = None
) -> Tensor:
    """Return the weights of K bins, the stars outside and the model of all spectra, shape (B, K + 2).

    soft: as the gate says. hard: all to the likeliest. top: to the `top` likeliest. fallback: as soft, and to the model
    of all spectra where no weight reaches `confidence`. pseudo, oracle: to the bin of a label. global: to the model of
    all spectra.

    Args:
        weights: of the gate, shape (B, K + 1), each row with sum 1.
        routing: see above.
        top, confidence: see above.
        bins: shape (B,), for routings by label; -1 is outside.
    """
    count, components = weights.shape
    none = weights.new_zeros(count, 1)
    if routing in BY_LABEL:
        assert bins is not None
        at = torch.where(bins < 0, components - 1, bins)
        weights = torch.nn.functional.one_hot(at, components).to(weights)
    elif routing == "hard":
        weights = torch.nn.functional.one_hot(weights.argmax(dim=1), components).to(weights)
    elif routing == "top":
        least = weights.topk(min(top, components), dim=1).values[:, -1:]
        weights = torch.where(weights >= least, weights, 0.0)
        weights = weights / weights.sum(dim=1, keepdim=True)
    elif routing in ("fallback", "global"):
        sure = weights.amax(dim=1, keepdim=True) >= (confidence if routing == "fallback" else 2.0)
        return torch.cat([torch.where(sure, weights, 0.0), (~sure).to(weights)], dim=1)
    return torch.cat([weights, none], dim=1)
