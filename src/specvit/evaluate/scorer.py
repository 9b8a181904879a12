"""Scores of one estimator of one label in every slice of the test spectra, beside what is attainable there.

All slices, labels and estimators share one set of resampled rows per slice, so that differences are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from specvit.errors import ConfigError
from specvit.evaluate.attainable import Attainable
from specvit.evaluate.metrics import r2
from specvit.evaluate.resampled import ROUNDING, Resampled
from specvit.evaluate.resampling import Interval, bootstrap, paired_difference
from specvit.evaluate.slices import Slice
from specvit.runs import Estimates, Score, Spread

#: Shares of the absolute errors, and of stated central intervals, in percent.
RESIDUAL_SHARES = (50, 68)
COVERAGES = (68, 95)
#: Probabilities that differ by less are the same: 0.5 - 68 / 200 is not exactly 0.16.
SAME = 1e-6
NOTHING = Score(value=None)
Values = np.ndarray
Intervals = dict[int, tuple[Values, Values]]
Statistic = Callable[[Values], Values]


@dataclass(frozen=True)
class LabelScores:
    """Scores of one estimator of one label.

    Args:
        metrics: slice -> metric -> score.
        missing: spectra without an estimate.
        above_ceiling: R² over all spectra above the exact ceiling beyond its interval; None without that ceiling.
    """

    metrics: dict[str, dict[str, Score]]
    missing: int
    above_ceiling: bool | None


class Scorer:
    """Scores in slices of the test spectra.

    Args:
        slices: the first of them all spectra, no two of one name.
        resamples, seed: of the bootstrap; slice k is resampled with seed + k.

    Raises:
        ConfigError: for two slices of one name.
    """

    def __init__(self, slices: Sequence[Slice], resamples: int, seed: int) -> None:
        self.slices, self.resamples, self.seed = list(slices), resamples, seed
        names = [part.name for part in self.slices]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"evaluate.slices: two slices are called '{name}'; give yours another name")
        self._resampled: dict[tuple[int, bytes], Resampled] = {}

    def estimator(
        self,
        truth: Values,
        mean: Values,
        intervals: Intervals,
        limit: Attainable | None = None,
        gaussian: Attainable | None = None,
    ) -> LabelScores:
        """Return the scores of one label.

        Args:
            truth: shape (N,).
            mean: estimates, shape (N,); one that is not finite is missing.
            intervals: see `stated_intervals`.
            limit: what is attainable, if known.
            gaussian: with an exact `limit` the same from the CRLB, an approximation.
        """
        usable = np.isfinite(mean)
        columns = np.stack([truth, mean - truth], axis=1)
        metrics = {
            part.name: self._errors(k, columns, usable & part.mask) for k, part in enumerate(self.slices)
        }
        for share, (low, high) in intervals.items():
            inside = _inside(truth, low, high)
            for name, score in self.mean_of(inside, usable).items():
                metrics[name][f"coverage_{share}"] = score
        above = None
        if limit is not None:
            for k, part in enumerate(self.slices):
                rows = usable & limit.known & part.mask
                metrics[part.name] |= self._against(k, truth, mean, rows, limit, gaussian)
            above = self._is_above(truth, mean, usable & limit.known, limit, metrics[self.slices[0].name])
        return LabelScores(metrics, int((~usable).sum()), above)

    def mean_of(self, values: Values, usable: Values | bool = True) -> dict[str, Score]:
        """Return the mean of `values` (N,) in every slice, where they are usable and not NaN."""
        known = usable & ~np.isnan(values)
        return {
            part.name: self._score(k, values[:, None], known & part.mask, lambda means: means[..., 0])
            for k, part in enumerate(self.slices)
        }

    def ceiling_r2(self, truth: Values, limit: Attainable) -> dict[str, Score]:
        """Return 1 - mean attainable variance / variance of the truth, same spectra, as a model's R² is taken."""
        columns = np.stack([truth, np.square(truth), limit.variance], axis=1)
        return {
            part.name: self._score(
                k, _centred(columns, limit.known & part.mask), limit.known & part.mask, _r2
            )
            for k, part in enumerate(self.slices)
        }

    def spread(self, values: Values) -> dict[str, Spread]:
        """Return the distribution of a per-star quantity (N,) in every slice; NaN is unknown."""
        return {part.name: _spread(values[part.mask]) for part in self.slices}

    def _errors(self, k: int, columns: Values, rows: Values) -> dict[str, Score]:
        """Return all that follows from truth and error alone."""
        names = ("r2", "mae", "rmse", "bias", "scatter", *(f"residual_{share}" for share in RESIDUAL_SHARES))
        if rows.sum() < 2:
            return dict.fromkeys(names, NOTHING)
        truth, error = columns[rows].T
        # About their mean: the variance is then no small difference of large squares.
        y = truth - truth.mean()
        resampled = self._rows(k, rows)
        means = resampled.means(np.stack([y, y**2, error**2, error, np.abs(error)], axis=1))
        of_means: dict[str, Statistic] = {
            "r2": _r2,
            "mae": lambda m: m[..., 4],
            "rmse": lambda m: np.sqrt(m[..., 2]),
            "bias": lambda m: m[..., 3],
            # Rounding can leave a difference of equals below zero.
            "scatter": lambda m: np.sqrt(np.maximum(m[..., 2] - m[..., 3] ** 2, 0)),
        }
        found = {name: score_of(resampled.interval(of, *means)) for name, of in of_means.items()}
        for share, one in zip(RESIDUAL_SHARES, self._percentiles(k, np.abs(error)), strict=True):
            found[f"residual_{share}"] = one
        return found

    def _percentiles(self, k: int, size: Values) -> list[Score]:
        options = {"resamples": self.resamples, "seed": self.seed + k}
        return [
            score_of(bootstrap(lambda a, q=share: np.percentile(a, q, axis=-1), size, **options))
            for share in RESIDUAL_SHARES
        ]

    def _against(
        self,
        k: int,
        truth: Values,
        mean: Values,
        rows: Values,
        limit: Attainable,
        gaussian: Attainable | None,
    ) -> dict[str, Score]:
        """Return efficiency and its kin on the spectra whose limit is known."""
        names = ["efficiency", "headroom"]
        names += ["efficiency_crlb"] if gaussian is not None else []
        names += ["r2_expected", "efficiency_expected"] if limit.mean is not None else []
        y = truth[rows]
        if rows.sum() < 2 or y.min() == y.max():
            return dict.fromkeys(names, NOTHING)
        spread, y = y.var(), y - y.mean()
        columns = [y, y**2, np.square(mean - truth)[rows], limit.variance[rows]]
        columns.append(limit.variance[rows] if gaussian is None else gaussian.variance[rows])
        columns.append(np.zeros(len(y)) if limit.mean is None else np.square(mean - limit.mean)[rows])
        resampled = self._rows(k, rows)
        means = resampled.means(np.stack(columns, axis=1))

        def ceiling(m: Values, at: int) -> Values:
            attained: Values = 1 - m[..., at] / spread
            return attained

        of_means: dict[str, Statistic] = {
            "efficiency": lambda m: _ratio(_r2(m), ceiling(m, 3)),
            "headroom": lambda m: ceiling(m, 3) - _r2(m),
            "efficiency_crlb": lambda m: _ratio(_r2(m), ceiling(m, 4)),
            # Expected squared error, given the spectrum: posterior variance + (estimate - posterior mean)².
            # The luck of the true labels drawn for this test set is averaged out.
            "r2_expected": lambda m: 1 - _ratio(m[..., 3] + m[..., 5], _variance(m)),
            "efficiency_expected": lambda m: 1 - _ratio(m[..., 5], _variance(m) - m[..., 3]),
        }
        return {name: score_of(resampled.interval(of_means[name], *means)) for name in names}

    def _is_above(
        self, truth: Values, mean: Values, rows: Values, limit: Attainable, metrics: Mapping[str, Score]
    ) -> bool | None:
        """Return whether the estimates are better than the exact posterior allows; None without one.

        Beyond the interval of the headroom, and beyond that of the difference to the posterior mean on the
        same spectra: a test set may be a lucky one, but then it is so for the posterior mean too.
        """
        headroom = metrics["headroom"]
        if limit.mean is None or headroom.high is None:
            return None
        y, ours, best = (values[rows] for values in (truth, mean, limit.mean))
        gain = paired_difference(r2, y, ours, best, resamples=self.resamples, seed=self.seed)
        return headroom.high < 0 and gain.low > 0

    def _score(self, k: int, columns: Values, rows: Values, statistic: Statistic) -> Score:
        if rows.sum() < 2:
            return NOTHING
        resampled = self._rows(k, rows)
        return score_of(resampled.interval(statistic, *resampled.means(columns[rows])))

    def _rows(self, k: int, rows: Values) -> Resampled:
        """Return the resamples of some spectra of slice k: made once for all labels and estimators."""
        key = (k, np.packbits(rows).tobytes())
        if key not in self._resampled:
            self._resampled[key] = Resampled(int(rows.sum()), self.resamples, self.seed + k)
        return self._resampled[key]


def stated_intervals(estimates: Estimates, label: str) -> Intervals:
    """Return the central intervals an estimator states for a label: share in % -> (low, high), each (N,).

    From its quantiles where it gives those at both ends, else mean and Gaussian error; a share of which it states
    neither is left out.
    """
    at = [str(name) for name in estimates.names].index(label)
    mean, intervals = estimates.mean[:, at].astype(float), {}
    for share in COVERAGES:
        tail = 0.5 - share / 200.0
        low, high = (_quantile(estimates, at, p) for p in (tail, 1 - tail))
        if low is not None and high is not None:
            intervals[share] = (low, high)
        elif estimates.std is not None:
            reach = -ndtri(tail) * estimates.std[:, at]
            intervals[share] = (mean - reach, mean + reach)
    return intervals


def _quantile(estimates: Estimates, at: int, probability: float) -> Values | None:
    """Return a stated quantile of label `at`, shape (N,); None if it is not stated at that probability."""
    if estimates.quantiles is None or estimates.probabilities is None:
        return None
    known = np.flatnonzero(np.abs(estimates.probabilities - probability) < SAME)
    return estimates.quantiles[:, at, known[0]].astype(float) if known.size else None


def score_of(found: Interval) -> Score:
    """Return an interval as a score; what is not finite is None."""
    value, low, high = (v if np.isfinite(v) else None for v in (found.value, found.low, found.high))
    return Score(value=value, low=low, high=high)


def _centred(columns: Values, rows: Values) -> Values:
    """Return columns (truth, its square, ...) with the truth taken about its mean over `rows`."""
    if not rows.any():
        return columns
    y = columns[:, 0] - columns[rows, 0].mean()
    return np.concatenate([y[:, None], (y**2)[:, None], columns[:, 2:]], axis=1)


def _variance(means: Values) -> Values:
    """Return the variance of the truth from the means of itself and its square; 0 where all values are equal."""
    variance = means[..., 1] - means[..., 0] ** 2
    return np.where(variance > ROUNDING * means[..., 1], variance, 0.0)


def _r2(means: Values) -> Values:
    """Return 1 - mean square error / variance, from the means of truth, its square, and the squared error.

    NaN where the truth is constant, as in a resample of very few spectra.
    """
    return 1 - _ratio(means[..., 2], _variance(means))


def _ratio(top: Values, bottom: Values) -> Values:
    return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), np.nan)


def _inside(truth: Values, low: Values, high: Values) -> Values:
    """Return 1 where the truth lies in the interval, else 0; NaN where there is none."""
    known = ~np.isnan(low) & ~np.isnan(high)
    return np.where(known, (low <= truth) & (truth <= high), np.nan)


def _spread(values: Values) -> Spread:
    # A bound may be infinite, where a label is not constrained; only NaN is unknown.
    known = values[~np.isnan(values)]
    if not known.size:
        return Spread(median=None, p10=None, p90=None)
    with np.errstate(invalid="ignore"):
        found = [*np.percentile(known, [50, 10, 90]), known.mean()]
    median, p10, p90, mean = (float(value) if np.isfinite(value) else None for value in found)
    return Spread(median=median, p10=p10, p90=p90, mean=mean)
