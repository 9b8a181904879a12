"""Bootstrap of many statistics over the same spectra: the rows are drawn once and turned into weights.

A statistic that is a function of means of columns needs no gathering of rows: one product of the weights of all
resamples with all columns gives every mean. `resampling` owns the general case; both draw the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from specvit.evaluate.resampling import CHUNK, LEVEL, Interval, drawn_rows, interval_of

Values = np.ndarray
#: A difference of means below this share of them is rounding: the variance of equal values is zero.
ROUNDING = 1e-12
#: Maps the means of C columns, shape (..., C), to a number each, shape (...).
OfMeans = Callable[[Values], Values]


class Resampled:
    """Resamples of N spectra, for statistics of the means of columns.

    Args:
        count: N.
        resamples, seed: see `bootstrap`, whose rows these are.
        level: probability content of the intervals.
    """

    def __init__(self, count: int, resamples: int, seed: int, level: float = LEVEL) -> None:
        self.count, self.resamples, self.seed, self.level = count, resamples, seed, level
        # float32 holds these whole numbers exactly, at half the memory.
        self._weights: Values | None = None
        if count * resamples <= 4 * CHUNK:
            self._weights = np.concatenate(list(self._counts()))

    def means(self, columns: Values) -> tuple[Values, Values]:
        """Return the means of columns (N, C), shape (C,), and of every resample, shape (resamples, C)."""
        parts: Iterable[Values] = [self._weights] if self._weights is not None else self._counts()
        drawn = np.concatenate([part.astype(np.float64) @ columns for part in parts]) / self.count
        return columns.mean(axis=0), drawn

    def interval(self, statistic: OfMeans, value: Values, drawn: Values) -> Interval:
        """Return the statistic of means, with the interval of that of the resampled means."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return interval_of(float(statistic(value)), np.asarray(statistic(drawn)), self.level)

    def _counts(self) -> Iterator[Values]:
        """Yield how often each row is drawn, shape (some resamples, N)."""
        for rows in drawn_rows(self.count, self.resamples, self.seed):
            at = rows + self.count * np.arange(len(rows))[:, None]
            counts = np.bincount(at.ravel(), minlength=rows.size)
            yield counts.reshape(rows.shape).astype(np.float32)
