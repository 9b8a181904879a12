"""From the arrays of a run to its scores: `Summary` as the report reads it. Fits and predicts nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from specvit.evaluate import SCORES, Interval, SnrBins, bootstrap
from specvit.runs import CeilingResults, ModelResults, RunFolder, Score, Spread, Summary
from specvit.runs import SnrBins as BinTable
from specvit.studies.ceilings import FREE_LABELS
from specvit.studies.estimators import TITLES

METRICS = ("r2", "mae", "rmse", "bias")
Values = np.ndarray


class Scorer:
    """Scores of one target on the test spectra, over all and per S/N bin, with one set of resampled rows.

    Args:
        truth: true target values, shape (N,).
        snr: shape (N,).
        edges: edges of the S/N bins.
        resamples, seed: of the bootstrap.
        attainable: smallest attainable variance of the target per spectrum, shape (N,), NaN where it was not
            computed.
    """

    def __init__(
        self,
        truth: Values,
        snr: Values,
        edges: tuple[float, ...],
        resamples: int,
        seed: int,
        attainable: Values,
    ) -> None:
        self.truth, self.snr, self.attainable = truth, snr, attainable
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

        def of(mask: Values, seed: int) -> Score:
            usable = mask & np.all([np.isfinite(column) for column in columns], axis=0)
            if usable.sum() < 2:
                return Score(value=None)
            found = bootstrap(
                statistic,
                self.truth[usable],
                *(c[usable] for c in columns),
                resamples=self.resamples,
                seed=seed,
            )
            return _score(found)

        everything = np.ones(len(self.truth), dtype=bool)
        return of(everything, self.seed), [of(mask, self.seed + 1 + k) for k, mask in enumerate(self.masks)]

    def model(self, name: str, mean: Values, std: Values | None, stage: dict[str, Any]) -> ModelResults:
        """Return everything said about one estimator."""
        found = {metric: self.score(SCORES[metric], mean) for metric in METRICS}
        if std is not None:
            found["coverage"] = self.score(_within_one_sigma, mean, std)
        found["efficiency"] = self.score(_efficiency, mean, self.attainable)
        seconds = {key.removesuffix("_seconds"): stage[key] for key in stage if key.endswith("_seconds")}
        return ModelResults(
            title=TITLES[name],
            overall={metric: overall for metric, (overall, _) in found.items()},
            bins={metric: bins for metric, (_, bins) in found.items()},
            seconds=seconds,
            facts=stage.get("choice", {}),
        )

    def spread(self, values: Values) -> tuple[Spread, list[Spread]]:
        """Return the distribution of a per-star quantity over all spectra and per bin."""
        return _spread(values), [_spread(values[mask]) for mask in self.masks]


def summarise(
    run: RunFolder, config: dict[str, Any], names: Sequence[str], target: str, unit: str, variance: float
) -> Summary:
    """Return the scores of a run from what its stages have stored.

    Args:
        run: with `test`, `ceiling` and `predictions_NAME` arrays.
        config: as plain values.
        names: the estimators to score, in the order of the report.
        target, unit: the label and its unit.
        variance: of the target under the prior.
    """
    test, ceiling = run.read_arrays("test"), run.read_arrays("ceiling")
    column = [str(name) for name in test["label_names"]].index(target)
    attainable = _attainable(ceiling, len(test["snr"]), variance)
    evaluate, simulate = config["evaluate"], config["simulate"]
    truth = test["labels"][:, column].astype(float)
    scorer = Scorer(
        truth, test["snr"], tuple(evaluate["snr_edges"]), evaluate["bootstrap"], simulate["seed"], attainable
    )
    models = {}
    for name in names:
        arrays = run.read_arrays(f"predictions_{name}")
        at = [str(label) for label in arrays["names"]].index(target)
        std = arrays["std"][:, at] if "std" in arrays else None
        models[name] = scorer.model(name, arrays["mean"][:, at], std, run.stages.get(name, {}))
    return Summary(
        target=target,
        unit=unit,
        counts={split: simulate[split] for split in ("train", "validation", "test")},
        bootstrap=evaluate["bootstrap"],
        seed=simulate["seed"],
        prior_variance=variance,
        snr_bins=scorer.table(),
        models=models,
        ceiling=_ceiling(scorer, ceiling),
    )


def _attainable(ceiling: dict[str, Values], count: int, variance: float) -> Values:
    """Return the attainable variance per test spectrum: the exact posterior's, else V·CRLB / (V + CRLB)."""
    attainable = np.full(count, np.nan)
    if "bayes_var" in ceiling:
        rows = ceiling["rows"][: len(ceiling["bayes_var"])]
        attainable[rows] = ceiling["bayes_var"]
    else:
        attainable[ceiling["rows"]] = 1 / (1 / variance + 1 / ceiling["crlb_5"])
    return attainable


def _ceiling(scorer: Scorer, arrays: dict[str, Values]) -> CeilingResults:
    found = {}
    for free in FREE_LABELS:
        values = np.full(len(scorer.truth), np.nan)
        values[arrays["rows"]] = arrays[f"r2_max_{free}"]
        found[f"r2_max_{free}"] = scorer.spread(values)
    exact = "bayes_var" in arrays
    bayes, bayes_bins = scorer.score(_ceiling_r2, scorer.attainable) if exact else (None, None)
    return CeilingResults(
        stars=int(np.isfinite(scorer.attainable).sum()),
        definition=(
            "the exact Bayes ceiling, 1 - mean posterior variance / variance of the truth, same spectra"
            if exact
            else "1 - mean of V·CRLB / (V + CRLB) / variance of the truth (5 free labels), same spectra: "
            "the Bayes ceiling if prior and likelihood were Gaussian"
        ),
        labels={free: list(names) for free, names in FREE_LABELS.items()},
        overall={key: overall for key, (overall, _) in found.items()},
        bins={key: bins for key, (_, bins) in found.items()},
        bayes=bayes,
        bayes_bins=bayes_bins,
    )


def _ceiling_r2(truth: Values, attainable: Values) -> Values:
    """1 - mean attainable variance / variance of the truth of the same spectra, as a model's R² is taken.

    NaN where the truth is constant (a resample of very few spectra).
    """
    variance = truth.var(axis=-1)
    return np.where(
        variance > 0, 1 - attainable.mean(axis=-1) / np.where(variance > 0, variance, 1.0), np.nan
    )


def _efficiency(truth: Values, mean: Values, attainable: Values) -> Values:
    """R² of the model over the ceiling's on the same spectra; NaN where the ceiling is not positive."""
    top = _ceiling_r2(truth, attainable)
    return np.where(top > 0, SCORES["r2"](truth, mean) / np.where(top > 0, top, 1.0), np.nan)


def _within_one_sigma(truth: Values, mean: Values, std: Values) -> Values:
    return (np.abs(truth - mean) <= std).mean(axis=-1)


def _score(found: Interval) -> Score:
    return Score(value=found.value, low=found.low, high=found.high)


def _spread(values: Values) -> Spread:
    known = values[np.isfinite(values)]
    if not known.size:
        return Spread(median=None, p10=None, p90=None)
    p10, median, p90 = np.percentile(known, [10, 50, 90])
    return Spread(median=float(median), p10=float(p10), p90=float(p90), mean=float(known.mean()))
