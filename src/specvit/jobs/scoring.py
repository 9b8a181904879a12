"""From the arrays of a run to its scores: `Summary` as the report reads it. Fits and predicts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from specvit.jobs.attainable import attainable, most_widely, shrunken
from specvit.jobs.ceilings import FREE_LABELS
from specvit.jobs.cells import LEAST_STARS, Cells, cell_scores, plane_axes
from specvit.jobs.estimators import title_of
from specvit.jobs.networks import slug
from specvit.jobs.scorer import Scorer, stated_intervals
from specvit.runs import CeilingResults, RunFolder, Summary

Values = np.ndarray


def summarise(
    run: RunFolder, config: dict[str, Any], names: Sequence[str], target: str, unit: str, variance: float
) -> Summary:
    """Return the scores of a run from what its stages have stored, and store those of label cells.

    Args:
        run: with `test`, `ceiling` and `predictions_NAME` arrays; gets `cells`.
        config: as plain values.
        names: the estimators to score, in the order of the report.
        target, unit: the label and its unit.
        variance: of the target under the prior.
    """
    test, ceiling = run.read_arrays("test"), run.read_arrays("ceiling")
    column = [str(name) for name in test["label_names"]].index(target)
    limit = attainable(ceiling, len(test["snr"]), variance)
    evaluate, simulate = config["evaluate"], config["simulate"]
    truth = test["labels"][:, column].astype(float)
    gaussian = shrunken(ceiling, len(test["snr"]), variance) if limit.exact else None
    edges = tuple(evaluate["snr_edges"])
    scorer = Scorer(truth, test["snr"], edges, evaluate["bootstrap"], simulate["seed"], limit, gaussian)
    models, estimates = {}, {}
    for name in names:
        key = slug(name)
        arrays = run.read_arrays(f"predictions_{key}")
        at = [str(label) for label in arrays["names"]].index(target)
        estimates[key] = arrays["mean"][:, at].astype(float)
        intervals = stated_intervals(arrays, at)
        models[key] = scorer.model(title_of(name), estimates[key], intervals, run.stages.get(key, {}))
    _store_cells(run, target, test, ceiling, scorer, estimates, variance)
    return Summary(
        target=target,
        unit=unit,
        counts={split: simulate[split] for split in ("train", "validation", "test")},
        bootstrap=evaluate["bootstrap"],
        seed=simulate["seed"],
        prior_variance=variance,
        snr_bins=scorer.table(),
        models=models,
        ceiling=_ceiling(scorer, ceiling, run.stages.get("bayes", {})),
    )


def _store_cells(
    run: RunFolder,
    target: str,
    test: dict[str, Values],
    ceiling: dict[str, Values],
    scorer: Scorer,
    estimates: dict[str, Values],
    variance: float,
) -> None:
    names = [str(name) for name in test["label_names"]]
    axes = plane_axes(names, target)
    if axes is None:
        return
    # Cells need many stars; the exact posterior is often computed for a few hundred only.
    limit = most_widely(ceiling, len(test["snr"]), variance, enough=27 * LEAST_STARS)
    plane = (test["labels"][:, names.index(axes[0])], test["labels"][:, names.index(axes[1])])
    cells = Cells.divide(axes, plane, test["snr"], limit.known)
    options = {"resamples": scorer.resamples, "seed": scorer.seed}
    run.write_arrays("cells", **cell_scores(cells, scorer.truth, estimates, limit, variance, **options))


def _ceiling(scorer: Scorer, arrays: dict[str, Values], sampling: dict[str, Any]) -> CeilingResults:
    def of_stars(values: Values) -> Values:
        column = np.full(len(scorer.truth), np.nan)
        column[arrays["rows"]] = values
        return column

    found = {}
    for free in FREE_LABELS:
        found[f"r2_max_{free}"] = scorer.spread(of_stars(arrays[f"r2_max_{free}"]))
        found[f"sigma_min_{free}"] = scorer.spread(of_stars(np.sqrt(arrays[f"crlb_{free}"])))
    exact = scorer.limit.exact
    if exact:
        found["posterior_std"] = scorer.spread(np.sqrt(scorer.limit.variance))
    bayes, bayes_bins = scorer.score(_ceiling_r2, scorer.limit.variance) if exact else (None, None)
    return CeilingResults(
        stars=int(scorer.limit.known.sum()),
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
        sampler_error=sampling.get("sampler_error"),
        converged=sampling.get("ceiling_converged"),
    )


def _ceiling_r2(truth: Values, allowed: Values) -> Values:
    """1 - mean attainable variance / variance of the truth of the same spectra, as a model's R² is taken.

    NaN where the truth is constant (a resample of very few spectra).
    """
    variance = truth.var(axis=-1)
    return np.where(variance > 0, 1 - allowed.mean(axis=-1) / np.where(variance > 0, variance, 1.0), np.nan)
