"""Bootstrap intervals over test spectra: seeded, vectorised, percentile. Owns resampling, no scores.

The interval answers "how would the number change with another test set of this size?"; it says nothing about
the scatter between training runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specvit.errors import ConfigError, ShapeError
from specvit.evaluate.metrics import Measure, as_float64

RESAMPLES = 1000
LEVEL = 0.95
#: Numbers held at once while resampling (8 bytes each, a few arrays).
CHUNK = 4_000_000


@dataclass(frozen=True)
class Interval:
    """An estimate with its bootstrap percentile interval at `level`."""

    value: float
    low: float
    high: float
    level: float = LEVEL

    def to_dict(self) -> dict[str, float]:
        """Return a JSON-ready description."""
        return {"value": self.value, "low": self.low, "high": self.high, "level": self.level}


def bootstrap(
    statistic: Callable[..., NDArray[np.float64]],
    *columns: ArrayLike,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """Return statistic(*columns) with its percentile interval over resampled rows.

    Args:
        statistic: maps arrays of shape (..., N) to (...,), working along the last axis.
        columns: arrays of N values; the same rows are drawn from all of them.
        resamples: number of bootstrap samples.
        level: probability content of the interval.
        seed: seed of the rows drawn; equal seeds and N give equal rows, whatever the statistic.

    Raises:
        ShapeError: if the columns are not one-dimensional and of one length.

    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 13 (percentile interval).
    """
    arrays = _columns(columns)
    rows = drawn_rows(arrays[0].size, resamples, seed)
    draws = np.concatenate([statistic(*(array[some] for array in arrays)) for some in rows])
    return interval_of(float(statistic(*arrays)), draws, level)


def paired_difference(
    score: Measure,
    truth: ArrayLike,
    estimate: ArrayLike,
    baseline: ArrayLike,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """Return score(estimate) - score(baseline) on the same spectra, with its interval.

    The resampled rows are shared, so what both models find hard cancels; the interval is much narrower than
    that of two independent scores.
    """
    return bootstrap(
        lambda y, a, b: score(y, a) - score(y, b),
        truth,
        estimate,
        baseline,
        resamples=resamples,
        level=level,
        seed=seed,
    )


def _columns(columns: tuple[ArrayLike, ...]) -> list[NDArray[np.float64]]:
    arrays = [as_float64(column, "bootstrap column") for column in columns]
    if not arrays or any(a.ndim != 1 or a.shape != arrays[0].shape or not a.size for a in arrays):
        raise ShapeError(f"bootstrap needs columns of one length; got {[a.shape for a in arrays]}")
    return arrays


def drawn_rows(count: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of all resamples of `count` spectra, some resamples at a time, shape (some, count)."""
    if resamples < 2:
        raise ConfigError(f"bootstrap: resamples must be at least 2; got {resamples}")
    generator = np.random.default_rng(seed)
    step = max(1, CHUNK // count)
    for start in range(0, resamples, step):
        # Uniform doubles, not integers: their stream does not depend on how many are asked for at once.
        yield (count * generator.random((min(step, resamples - start), count))).astype(np.int64)


def interval_of(value: float, draws: NDArray[np.float64], level: float = LEVEL) -> Interval:
    """Return a value with the percentile interval of its resamples; a resample without a value tells nothing."""
    tail = 50.0 * (1.0 - level)
    # A resample can be constant and have no R²; it carries no information about the spread.
    finite = draws[np.isfinite(draws)]
    if not finite.size:
        return Interval(value, float("nan"), float("nan"), level)
    low, high = np.percentile(finite, [tail, 100.0 - tail])
    return Interval(value, float(low), float(high), level)
