"""Estimates brought to the scale of stars of known parameters: offset and slope per label, and where they hold.

An option: what the fit found is kept beside it. It takes known = estimate + offset + slope · (estimate - pivot) from
stars whose estimates had no part in the model error, so it also undoes, on average, how a fit draws labels to the middle;
for a sample with another spread of labels than the stars it was made of it is the wrong correction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from specvit.stellar.parameters import StellarParameters

#: Stars without any slope that count beside those given.
NO_SLOPE = 5.0
#: Deviations, in robust σ, from which on a star counts less (Huber 1964, Ann. Math. Statist. 35, 73), and rounds.
HUBER, ROUNDS = 1.345, 30
#: Fewest stars an offset is known from.
FEWEST = 8


@dataclass(frozen=True)
class LabelCalibration:
    """Offset and slope of one label.

    Args:
        offset: known minus estimated value at the pivot.
        slope: change of that per unit of the estimate.
        pivot: an estimate in the middle.
        low, high: range of the estimates it was made of; elsewhere it says nothing.
        error: 1 σ that is missing in the statistical errors of calibrated stars, each calibrated by all the others.
        stars: how many.
    """

    offset: float
    slope: float
    pivot: float
    low: float
    high: float
    error: float
    stars: int

    def of(self, estimate: np.ndarray | float) -> np.ndarray:
        """Return calibrated values of estimates (N,), NaN outside the range the stars cover."""
        estimate = np.asarray(estimate, dtype=np.float64)
        found = estimate + self.offset + self.slope * (estimate - self.pivot)
        return np.where((estimate >= self.low) & (estimate <= self.high), found, np.nan)


def line_of(estimate: np.ndarray, off: np.ndarray) -> tuple[float, float, float]:
    """Return offset, slope and pivot of known minus estimated values `off` (N,) over estimates (N,), outliers counting less."""
    pivot = float(np.median(estimate))
    design = np.stack([np.ones_like(estimate), estimate - pivot], axis=1)
    # A slope is believed as far as the stars say more than a few without one would.
    steady = np.diag([0.0, NO_SLOPE * float(np.mean(design[:, 1] ** 2)) + 1e-12])
    weight = np.ones_like(off)
    for _ in range(ROUNDS):
        normal = design.T @ (weight[:, None] * design) + steady
        solution = np.linalg.solve(normal, design.T @ (weight * off))
        left = np.abs(off - design @ solution)
        scale = max(float(np.median(left)) / 0.6745, 1e-9)
        weight = np.minimum(1.0, HUBER * scale / np.maximum(left, 1e-12))
    return float(solution[0]), float(solution[1]), pivot


def left_out_values(estimate: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return each estimate (N,) calibrated by all the other stars, shape (N,)."""
    found = np.empty_like(estimate)
    for k in range(len(estimate)):
        others = np.arange(len(estimate)) != k
        offset, slope, pivot = line_of(estimate[others], (known - estimate)[others])
        found[k] = estimate[k] + offset + slope * (estimate[k] - pivot)
    return found


def calibrated(star: StellarParameters, calibrations: Mapping[str, LabelCalibration]) -> StellarParameters:
    """Return a star with its labels on the known scale beside those that were found."""
    found = {
        label: (
            float(one.of(star.labels[label])),
            float(np.hypot(star.errors[label] * abs(1 + one.slope), one.error)),
        )
        for label, one in calibrations.items()
        if label in star.labels
    }
    return replace(star, calibrated=found)
