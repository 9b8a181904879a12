"""Do the stated errors hold? Coverage of central intervals, pulls and PIT. Scores no estimates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from specvit.errors import DataError, ShapeError
from specvit.evaluate.metrics import as_float64

#: Acceptance of the reference work: a nominal 68 % interval should hold 60-75 % of the truths.
NOMINAL = (0.68, 0.95)


@dataclass(frozen=True)
class Coverage:
    """How often Gaussian intervals mean ± k·std hold the truth.

    Args:
        within: nominal probability -> share of truths inside.
        error: nominal probability -> binomial standard error of that share.
        pull_mean, pull_std: mean and standard deviation of (truth - mean) / std; 0 and 1 if calibrated.
    """

    within: dict[float, float]
    error: dict[float, float]
    pull_mean: float
    pull_std: float


def coverage(
    truth: ArrayLike, mean: ArrayLike, std: ArrayLike, nominal: tuple[float, ...] = NOMINAL
) -> Coverage:
    """Return the coverage of Gaussian errors `std` (N,) about `mean` (N,)."""
    pull = _pull(truth, mean, std)
    within, error = {}, {}
    for probability in nominal:
        # The central interval: half of what is outside lies on either side.
        inside = np.abs(pull) <= ndtri(0.5 + probability / 2.0)
        within[probability] = float(inside.mean())
        error[probability] = float(np.sqrt(probability * (1.0 - probability) / pull.size))
    return Coverage(within, error, float(pull.mean()), float(pull.std()))


def pit(truth: ArrayLike, mean: ArrayLike, std: ArrayLike) -> NDArray[np.float64]:
    """Return the probability integral transform Φ((truth - mean) / std), (N,); uniform if calibrated."""
    return ndtr(_pull(truth, mean, std))


def _pull(truth: ArrayLike, mean: ArrayLike, std: ArrayLike) -> NDArray[np.float64]:
    y, z, s = as_float64(truth, "truth"), as_float64(mean, "mean"), as_float64(std, "std")
    if not y.shape == z.shape == s.shape or y.ndim != 1 or not y.size:
        raise ShapeError(f"coverage needs three columns of one length; got {y.shape}, {z.shape}, {s.shape}")
    if (s <= 0).any():
        raise DataError(f"std: {int((s <= 0).sum())} of {s.size} errors are not positive")
    return (y - z) / s
