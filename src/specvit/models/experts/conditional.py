"""One Ridge on [x, m x, m], m a label: the continuous alternative to bins in that label.

m is estimated by a Ridge of its own; in training by one that was fitted on the other half of the spectra, so that it errs
as it will on new ones. With the true label instead it is what knowing the label would be worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from specvit.documents.tensors import Tensors
from specvit.models.experts.linear_experts import HeldOut, LinearExperts, RidgeFitter
from specvit.models.experts.row_experts import FitRows

#: The two bins of a model without a partition: all stars, and none.
BINS = 2


class ConditionalExperts:
    """A Ridge on [x, m x, m] for all stars, beside the plain one.

    Args:
        plain: of all labels on x.
        product: of all labels on [x, m x, m].
        at: number of the label m.
        centre, spread: of m.
    """

    def __init__(
        self, plain: LinearExperts, product: LinearExperts, at: int, centre: float, spread: float
    ) -> None:
        self.plain, self.product, self.at, self.centre, self.spread = plain, product, at, centre, spread
        self.facts: dict[str, Any] = {"plain": plain.facts["all"], "product": product.facts["all"]}
        self.missing: dict[int, str] = {}

    @property
    def parameters(self) -> int:
        """Number of fitted numbers."""
        return self.plain.parameters + self.product.parameters

    def __call__(self, values: Tensor) -> Tensor:
        """Return the estimates (B, 3, P): conditional, conditional, plain."""
        return self.knowing(values, self.plain(values)[:, -1, self.at])

    def knowing(self, values: Tensor, label: Tensor) -> Tensor:
        """Return the same with m given, shape (B,)."""
        product = self.product(with_products(values, (label - self.centre) / self.spread))[:, -1]
        return torch.stack([product, product, self.plain(values)[:, -1]], dim=1)

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the arrays by the names they are stored under."""
        plain = {f"plain.{name}": values[-1:] for name, values in self.plain.to_tensors().items()}
        product = {f"product.{name}": values[-1:] for name, values in self.product.to_tensors().items()}
        return {**plain, **product, "scale": torch.tensor([self.centre, self.spread], dtype=torch.float64)}

    def texts(self) -> dict[str, str]:
        """Return no files: arrays are all there is."""
        return {}

    @classmethod
    def read(cls, tensors: Tensors, inputs: int, at: int) -> ConditionalExperts:
        """Return stored experts; DataError for what does not fit."""
        parts = {}
        for name, size in (("plain", inputs), ("product", 2 * inputs + 1)):
            part = tensors.part(f"{name}.")
            part.sizes |= {"M": 1, "D": size}
            parts[name] = LinearExperts.read(part)
            part.finish()
            parts[name].facts["all"] = []
        centre, spread = tensors.take("scale", (2,), torch.float64).tolist()
        if not spread > 0:
            raise tensors.problem("the spread in 'scale' is not positive")
        return cls(parts["plain"], parts["product"], at, centre, spread)


def fit_conditional(alphas: Sequence[float], standardise: bool, at: int, knows: bool) -> FitRows:
    """Return what fits a Ridge on [x, m x, m]; `knows` takes the true m of training and held-out spectra."""

    def fit(
        values: Tensor, labels: Tensor, bins: Tensor, wanted: list[int], held: HeldOut
    ) -> ConditionalExperts:
        def ridge(rows: slice, of: Tensor, check: Tensor) -> LinearExperts:
            fitter = RidgeFitter(BINS, alphas, standardise, outside_is_all=True)
            for some in torch.arange(len(of))[rows].split(4096):
                fitter.add(of[some], labels[some], bins[some])
            return fitter.fitted(HeldOut(check, held.labels, held.bins))

        plain = ridge(slice(None), values, held.values)
        label, held_label = labels[:, at], held.labels[:, at]
        centre, spread = float(label.mean()), float(label.std())
        if not knows:
            half = len(values) // 2
            first, second = (
                ridge(slice(half), values, held.values),
                ridge(slice(half, None), values, held.values),
            )
            label = torch.cat([second(values[:half])[:, -1, at], first(values[half:])[:, -1, at]])
            held_label = plain(held.values)[:, -1, at]
        product = ridge(
            slice(None),
            with_products(values, (label - centre) / spread),
            with_products(held.values, (held_label - centre) / spread),
        )
        return ConditionalExperts(plain, product, at, centre, spread)

    return fit


def with_products(values: Tensor, label: Tensor) -> Tensor:
    """Return [x, m x, m], shape (B, 2 D + 1), float64, for x (B, D) and m (B,)."""
    values, label = values.double(), label.double()[:, None]
    return torch.cat([values, label * values, label], dim=1)
