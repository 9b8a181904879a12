"""Stellar labels: names, units, bounds. Owns domain checks; drawing labels is the business of `simulate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from specvit.errors import DomainError, LabelError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LabelSpace:
    """An ordered box of labels.

    Args:
        names: label names, the order of the last axis of every label array.
        units: one unit per label.
        low, high: closed bounds, in the label's unit.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.units) == len(self.low) == len(self.high):
            raise LabelError("a LabelSpace needs one unit, one low and one high per name")
        for name, low, high in zip(self.names, self.low, self.high, strict=True):
            if not low < high:
                raise LabelError(f"{name}: low {low} is not below high {high}")

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """Return the position of label `name`; LabelError lists the known names."""
        try:
            return self.names.index(name)
        except ValueError:
            raise LabelError(f"unknown label '{name}'; known labels are {', '.join(self.names)}") from None

    def select(self, names: Sequence[str]) -> LabelSpace:
        """Return the sub-box of `names`, in that order."""
        at = [self.index(name) for name in names]
        return LabelSpace(
            tuple(self.names[i] for i in at),
            tuple(self.units[i] for i in at),
            tuple(self.low[i] for i in at),
            tuple(self.high[i] for i in at),
        )

    def replace(self, **bounds: tuple[float, float]) -> LabelSpace:
        """Return the box with the given (low, high) replaced, e.g. `replace(log_g=(1, 3))`."""
        low, high = list(self.low), list(self.high)
        for name, (new_low, new_high) in bounds.items():
            i = self.index(name)
            low[i], high[i] = float(new_low), float(new_high)
        return LabelSpace(self.names, self.units, tuple(low), tuple(high))

    def check(self, labels: Tensor | np.ndarray, what: str = "labels") -> None:
        """Raise if `labels` (..., P) do not lie in the box.

        Raises:
            LabelError: if the last axis is not P long or a value is not finite.
            DomainError: if a value is out of bounds; names the label, the value and the bounds.
        """
        if labels.shape[-1] != len(self):
            raise LabelError(
                f"{what}: expected {len(self)} labels ({', '.join(self.names)}), got {labels.shape[-1]}"
            )
        flat = labels.detach().cpu().numpy() if hasattr(labels, "detach") else np.asarray(labels)
        flat = flat.reshape(-1, len(self)).astype(np.float64)
        # Float32 labels drawn exactly on a bound may sit a rounding error outside it.
        slack = 1e-6 * (np.array(self.high) - np.array(self.low))
        for i, name in enumerate(self.names):
            values = flat[:, i]
            if not np.isfinite(values).all():
                raise LabelError(f"{what}: {name} is not finite in row {int(np.argmin(np.isfinite(values)))}")
            outside = (values < self.low[i] - slack[i]) | (values > self.high[i] + slack[i])
            if outside.any():
                raise DomainError(
                    f"{what}: {name} = {values[np.argmax(outside)]:g} {self.units[i]} lies outside "
                    f"{self.low[i]:g} to {self.high[i]:g}; choose labels inside, or another library"
                )

    def to_dict(self) -> dict[str, list[Any]]:
        """Return a JSON-ready description; `documents.records.read_record` reads it back, checked."""
        return {
            "names": list(self.names),
            "units": list(self.units),
            "low": list(self.low),
            "high": list(self.high),
        }


STELLAR_UNITS = {"teff": "K", "log_g": "dex", "m_h": "dex", "alpha_m": "dex", "c_m": "dex"}

#: The low-temperature box of the reference work: 10 x 9 x 14 x 4 x 6 nodes of the BOSZ grid (Bohlin et al. 2017,
#: AJ 153, 234). [M/H] spans the whole grid, as the simulated labels do, not the narrower range some pages quote.
LOW_T_BOX = LabelSpace(
    names=tuple(STELLAR_UNITS),
    units=tuple(STELLAR_UNITS.values()),
    low=(3750.0, 1.0, -2.5, -0.25, -0.75),
    high=(6000.0, 5.0, 0.75, 0.50, 0.50),
)
