"""Scores of estimates against the truth, pooled and in float64. Every score works along the last axis.

Working along the last axis lets the bootstrap score a thousand resamples in one call. Owns no resampling.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specvit.errors import DataError, ShapeError

#: Of N truths and estimates, or of many such sets at once.
Measure = Callable[..., NDArray[np.float64]]


def r2(truth: ArrayLike, estimate: ArrayLike) -> NDArray[np.float64]:
    """Return R² = 1 - Σ(y - ŷ)² / Σ(y - ȳ)², shape (...,); NaN where the truth is constant.

    Invariant when truth and estimate undergo the same affine map. Never average R² over batches: pool first.
    """
    y, z = _pair(truth, estimate)
    # About the mean of these truths: a bin or a resample has its own, and its R² is lower for it.
    total = np.square(y - y.mean(axis=-1, keepdims=True)).sum(axis=-1)
    unexplained = np.square(y - z).sum(axis=-1)
    # By the values themselves: the mean of three times 0.1 is not 0.1, so equal truths may have a total.
    total = np.where(y.max(axis=-1) > y.min(axis=-1), total, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total > 0, 1.0 - unexplained / total, np.nan)


def mae(truth: ArrayLike, estimate: ArrayLike) -> NDArray[np.float64]:
    """Return the mean absolute error, in label units."""
    y, z = _pair(truth, estimate)
    score: NDArray[np.float64] = np.abs(z - y).mean(axis=-1)
    return score


def rmse(truth: ArrayLike, estimate: ArrayLike) -> NDArray[np.float64]:
    """Return the root mean square error, in label units."""
    y, z = _pair(truth, estimate)
    score: NDArray[np.float64] = np.sqrt(np.square(z - y).mean(axis=-1))
    return score


def bias(truth: ArrayLike, estimate: ArrayLike) -> NDArray[np.float64]:
    """Return the mean of estimate - truth, in label units."""
    y, z = _pair(truth, estimate)
    score: NDArray[np.float64] = (z - y).mean(axis=-1)
    return score


def scatter(truth: ArrayLike, estimate: ArrayLike) -> NDArray[np.float64]:
    """Return the standard deviation of estimate - truth, so that rmse² = bias² + scatter²."""
    y, z = _pair(truth, estimate)
    score: NDArray[np.float64] = (z - y).std(axis=-1)
    return score


#: Scores by the name they have in tables.
SCORES: dict[str, Measure] = {
    "r2": r2,
    "mae": mae,
    "rmse": rmse,
    "bias": bias,
    "scatter": scatter,
}


def as_float64(values: ArrayLike, what: str) -> NDArray[np.float64]:
    """Return `values` (array or tensor) as float64; DataError naming `what` if any is not finite."""
    # By attribute, not by type: scoring does not load torch.
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise DataError(
            f"{what}: {bad} of {array.size} values are not finite; score only spectra with an estimate"
        )
    return array


def _pair(truth: ArrayLike, estimate: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, z = as_float64(truth, "truth"), as_float64(estimate, "estimate")
    if y.shape != z.shape or y.ndim == 0 or y.shape[-1] == 0:
        raise ShapeError(
            f"scores need as many estimates as truths, at least one; got {z.shape} and {y.shape}"
        )
    return y, z
