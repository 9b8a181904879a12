"""Scores of one target on the test spectra, pooled and per S/N bin, beside what is attainable there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.special import ndtri

from specvit.evaluate import (
    SCORES,
    Efficiency,
    Interval,
    SnrBins,
    bootstrap,
    efficiency,
    paired_difference,
    r2,
)
from specvit.jobs.attainable import Attainable
from specvit.runs import ModelResults, Score, Spread
from specvit.runs import SnrBins as BinTable

METRICS = ("r2", "mae", "rmse", "bias")
#: Shares of the absolute errors, and of stated central intervals, in percent.
RESIDUAL_SHARES = (50, 68)
COVERAGES = (68, 95)
NOTHING = Score(value=None)
Values = np.ndarray


class Scorer:
    """Scores of one target on the test spectra, over all and per S/N bin, with one set of resampled rows.

    Args:
        truth: true target values, shape (N,).
        snr: shape (N,).
        edges: edges of the S/N bins.
        resamples, seed: of the bootstrap.
        limit: what is attainable on these spectra.
        gaussian: with an exact `limit`, the same from the CRLB (`shrunken`), an approximation.
    """

    def __init__(
        self,
        truth: Values,
        snr: Values,
        edges: tuple[float, ...],
        resamples: int,
        seed: int,
        limit: Attainable,
        gaussian: Attainable | None = None,
    ) -> None:
        self.truth, self.snr, self.limit, self.gaussian = truth, snr, limit, gaussian
        self.bins = SnrBins("run", edges)
        self.resamples, self.seed = resamples, seed
        assigned = self.bins.assign(snr)
        self.masks = [assigned == k for k in range(len(self.bins))]
        self.outside = int((assigned < 0).sum())

    def table(self) -> BinTable:
        """Return the bins with their counts and median S/N."""
        medians = [float(np.median(self.snr[mask])) if mask.any() else None for mask in self.masks]
        counts = [int(mask.sum()) for mask in self.masks]
        return BinTable(edges=list(self.bins.edges), counts=counts, median=medians, outside=self.outside)

    def score(self, statistic: Callable[..., Values], *columns: Values) -> tuple[Score, list[Score]]:
        """Return statistic(truth, *columns) over all and per bin; None where fewer than 2 are left."""

        def of(rows: Values, seed: int) -> Score:
            chosen = (column[rows] for column in (self.truth, *columns))
            return _score(bootstrap(statistic, *chosen, resamples=self.resamples, seed=seed))

        parts = self._rows(*columns)
        scores = [of(rows, self.seed + k) if rows.sum() > 1 else NOTHING for k, rows in enumerate(parts)]
        return scores[0], scores[1:]

    def model(
        self, title: str, mean: Values, intervals: dict[int, tuple[Values, Values]], stage: dict[str, Any]
    ) -> ModelResults:
        """Return everything said about one estimator.

        Args:
            title: what a reader calls it.
            mean: the estimates, shape (N,); one that is not finite is missing.
            intervals: see `stated_intervals`.
            stage: what the run recorded when it was fitted.
        """
        found = {metric: self.score(SCORES[metric], mean) for metric in METRICS}
        for share in RESIDUAL_SHARES:
            found[f"residual_{share}"] = self.score(partial(_residual, share=share), mean)
        for share, (low, high) in intervals.items():
            found[f"coverage_{share}"] = self.score(_share, _inside(self.truth, low, high))
        against, above = self._against_limit(mean)
        found |= against
        seconds = {
            key.removesuffix("_seconds"): v for key, v in stage.items() if key.endswith("_seconds") and v
        }
        return ModelResults(
            title=title,
            overall={metric: overall for metric, (overall, _) in found.items()},
            bins={metric: bins for metric, (_, bins) in found.items()},
            missing=int((~np.isfinite(mean)).sum()),
            above_ceiling=above,
            seconds=seconds,
            cost=stage.get("cost", {}),
            facts=stage.get("choice", {}),
        )

    def spread(self, values: Values) -> tuple[Spread, list[Spread]]:
        """Return the distribution of a per-star quantity over all spectra and per bin."""
        return _spread(values), [_spread(values[mask]) for mask in self.masks]

    def _against_limit(self, mean: Values) -> tuple[dict[str, tuple[Score, list[Score]]], bool | None]:
        """Return efficiency and headroom on the spectra whose limit is known, and `above_ceiling`."""
        parts = self._rows(mean, self.limit.variance)
        found = self._efficiencies(mean, self.limit, parts)
        scores = {metric: _parts_of(found, metric) for metric in ("efficiency", "headroom")}
        if self.gaussian is not None:
            # On the stars of the exact limit, so that the two efficiencies can be compared.
            scores["efficiency_crlb"] = _parts_of(
                self._efficiencies(mean, self.gaussian, parts), "efficiency"
            )
        if self.limit.mean is not None:
            columns = (mean, self.limit.mean, self.limit.variance)
            scores["efficiency_expected"] = self.score(_expected_efficiency, *columns)
        return scores, self._is_above(mean, parts[0], found[0])

    def _efficiencies(self, mean: Values, limit: Attainable, parts: list[Values]) -> list[Efficiency | None]:
        return [self._efficiency(mean, limit, rows, self.seed + k) for k, rows in enumerate(parts)]

    def _efficiency(self, mean: Values, limit: Attainable, rows: Values, seed: int) -> Efficiency | None:
        truth = self.truth[rows]
        if len(truth) < 2 or not truth.var() > 0:
            return None
        ceiling = 1 - limit.variance[rows] / truth.var()
        return efficiency(truth, mean[rows], ceiling, resamples=self.resamples, seed=seed)[0]

    def _is_above(self, mean: Values, rows: Values, found: Efficiency | None) -> bool | None:
        """Return whether the estimates are better than the exact posterior allows; None without one.

        Beyond the interval of the headroom, and beyond that of the difference to the posterior mean on the
        same spectra: a test set may be a lucky one, but then it is so for the posterior mean too.
        """
        best = self.limit.mean
        if best is None or found is None:
            return None
        options: dict[str, Any] = {"resamples": self.resamples, "seed": self.seed}
        gain = paired_difference(r2, self.truth[rows], mean[rows], best[rows], **options)
        return found.above_ceiling and gain.low > 0

    def _rows(self, *columns: Values) -> list[Values]:
        """Return masks of the spectra with a value in every column: all of them, then those of each bin."""
        usable = np.all([np.isfinite(column) for column in columns], axis=0)
        return [usable, *(mask & usable for mask in self.masks)]


def _expected_efficiency(truth: Values, mean: Values, best: Values, variance: Values) -> Values:
    """Return 1 - mean (estimate - posterior mean)² / (variance of the truth - mean posterior variance).

    What the efficiency is expected to be given the spectra: the mean squared error of any estimate is the
    posterior's variance plus its squared distance to the posterior mean. Where the truth of these stars
    happened to lie, which moves R² of all estimators alike, does not enter.
    """
    top = truth.var(axis=-1) - variance.mean(axis=-1)
    loss = np.square(mean - best).mean(axis=-1)
    return np.where(top > 0, 1 - loss / np.where(top > 0, top, 1.0), np.nan)


def _residual(truth: Values, mean: Values, share: int) -> Values:
    return np.percentile(np.abs(truth - mean), share, axis=-1)


def stated_intervals(arrays: dict[str, Values], at: int) -> dict[int, tuple[Values, Values]]:
    """Return the central intervals an estimator states for a label: share in % -> (low, high), each (N,).

    From its quantiles where it gives them, else mean and Gaussian error; empty if it states no errors.

    Args:
        arrays: `predictions_MODEL` of `specvit.runs.results`.
        at: column of the label.
    """
    intervals = {}
    for share in COVERAGES:
        tail = 0.5 - share / 200.0
        if "quantiles" in arrays:
            low, high = (int(np.abs(arrays["probabilities"] - p).argmin()) for p in (tail, 1 - tail))
            quantiles = arrays["quantiles"][:, at].astype(float)
            intervals[share] = (quantiles[:, low], quantiles[:, high])
        elif "std" in arrays:
            mean, reach = arrays["mean"][:, at].astype(float), -ndtri(tail) * arrays["std"][:, at]
            intervals[share] = (mean - reach, mean + reach)
    return intervals


def _inside(truth: Values, low: Values, high: Values) -> Values:
    """Return 1 where the truth lies in the interval, else 0; NaN where there is none."""
    known = ~np.isnan(low) & ~np.isnan(high)
    return np.where(known, (low <= truth) & (truth <= high), np.nan)


def _share(truth: Values, inside: Values) -> Values:
    return inside.mean(axis=-1)


def _parts_of(found: list[Efficiency | None], metric: str) -> tuple[Score, list[Score]]:
    """Return the efficiency or the headroom over all spectra and per bin."""
    name = {"efficiency": "eta"}.get(metric, metric)
    overall, *bins = (NOTHING if one is None else _score(getattr(one, name)) for one in found)
    return overall, bins


def _score(found: Interval) -> Score:
    value, low, high = (v if np.isfinite(v) else None for v in (found.value, found.low, found.high))
    return Score(value=value, low=low, high=high)


def _spread(values: Values) -> Spread:
    # A bound may be infinite, where a label is not constrained; only NaN is unknown.
    known = values[~np.isnan(values)]
    if not known.size:
        return Spread(median=None, p10=None, p90=None)
    with np.errstate(invalid="ignore"):
        found = [*np.percentile(known, [50, 10, 90]), known.mean()]
    median, p10, p90, mean = (float(value) if np.isfinite(value) else None for value in found)
    return Spread(median=median, p10=p10, p90=p90, mean=mean)
