"""Stated distributions under another prior: every bin times how much more probable the new prior makes it.

A network learns p(label | spectrum) under the prior of its training. For another one, by Bayes' theorem,
p_new(label | spectrum) is that times p_new(label) / p_train(label), over its integral. With a density that is constant
inside the bins of an ordinal head this is a product with one number per bin; a new bound that cuts a bin leaves the
part inside. Exact for a label if priors differ in that label alone: what a prior on log g says of [M/H], through the
correlation of the two in a posterior, is not in distributions of one label each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from specvit.errors import DomainError
from specvit.simulate.priors import Prior, interval_probabilities
from specvit.spectra import LabelSpace

#: Relative differences that are rounding: of float32 edges, and of what is counted between them.
TRIVIAL = 1e-5


class Reweighting(nn.Module):
    """The bins of a new prior, and what their probabilities are multiplied by; until set, those of the training.

    Args:
        edges: of the bins of the training, label units, shape (P, K + 1), increasing.
    """

    edges: Tensor
    ratio: Tensor

    def __init__(self, edges: Tensor) -> None:
        super().__init__()
        self.whole = edges.detach().double()
        self.register_buffer("edges", self.whole.clone())
        self.register_buffer("ratio", torch.ones_like(self.whole[:, 1:]))

    @torch.no_grad()
    def set(self, names: Sequence[str], prior: Prior) -> Self:
        """Set bins and ratios for a new prior of the P labels `names`; that of the training was uniform in the bins.

        Raises:
            LabelError: if the prior does not know a label.
            DomainError: if it reaches outside the bins; names the label.
        """
        # Not `self.edges` below: a second call replaces the first.
        whole = dict(zip(names, self.whole.cpu().numpy(), strict=True))
        inside = {name: _cut(name, edges, prior.label_space) for name, edges in whole.items()}
        probability = interval_probabilities(prior, inside)
        ratio = _stacked({n: probability[n] * np.ptp(whole[n]) / np.diff(whole[n]) for n in names})
        # A label of the same prior stays as it was, to the last digit.
        same = ((ratio - 1).abs() < TRIVIAL).all(dim=1, keepdim=True)
        self.edges.copy_(_stacked(inside))
        self.ratio.copy_(torch.where(same, 1.0, ratio))
        return self

    @property
    def box(self) -> tuple[list[float], list[float]]:
        """The bounds of the new prior, low and high, in label units."""
        return self.edges[:, 0].tolist(), self.edges[:, -1].tolist()

    @property
    def is_trivial(self) -> bool:
        """Whether the new prior is that of the training."""
        return bool((self.ratio == 1).all())

    def forward(self, raw: Tensor) -> Tensor:
        """Return the probability of every bin, shape (B, P, K), for logits (B, P, K)."""
        # As logits: no product of a small probability and a ratio can be lost.
        probability: Tensor = (raw + self.ratio.log()).softmax(dim=-1)
        return probability

    @property
    def problem(self) -> str | None:
        """What is wrong with values that were read from a file; None if nothing is."""
        width, whole = self.edges.diff(dim=1), self.whole
        if not bool(
            ((self.edges >= whole[:, :1]) & (self.edges <= whole[:, -1:])).all() and (width >= 0).all()
        ):
            return "edges do not rise within the bounds of the labels"
        possible = torch.isfinite(self.ratio) & (self.ratio >= 0) & ((width > 0) | (self.ratio == 0))
        if not bool(possible.all() and (self.ratio > 0).any(dim=1).all()):
            return "ratio is not finite, is negative, or is zero everywhere"
        return None


def _cut(name: str, edges: np.ndarray, space: LabelSpace) -> np.ndarray:
    """Return the edges of the parts of the bins inside the box of a prior; parts outside have no width."""
    at = space.index(name)
    # Edges are kept in float32, as labels are: what is beyond them by its rounding is on them.
    slack = TRIVIAL * np.ptp(edges)
    low, high = (
        end if abs(bound - end) < slack else bound
        for bound, end in ((space.low[at], edges[0]), (space.high[at], edges[-1]))
    )
    if low < edges[0] or high > edges[-1]:
        raise DomainError(
            f"prior: {name} from {low:g} to {high:g} reaches outside {edges[0]:g} to {edges[-1]:g}, the training "
            "of this network; choose bounds inside, or train one"
        )
    inside: np.ndarray = np.clip(edges, low, high)
    return inside


def _stacked(rows: Mapping[str, np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(list(rows.values())))
