"""Scores by the true value of a label: how far the prior pulls, which a score over all spectra hides.

An estimate of small mean squared error is a posterior mean. Over all stars with a given estimate it is unbiased; at
a given true value it is not.
"""

from __future__ import annotations

import itertools

import numpy as np

from specvit.evaluate.scorer import Intervals, stated_intervals
from specvit.runs import Estimates, TrueBin, TrueBins
from specvit.spectra import LabelSpace

Values = np.ndarray

#: Bins of equal width over the bounds of a label: half a dex of log g from 1 to 5.
BINS = 8


def scores_by_truth(
    estimates: Estimates, labels: Values, space: LabelSpace, bins: int = BINS
) -> dict[str, TrueBins]:
    """Return the scores of every label an estimator knows, in bins of its true value.

    Args:
        estimates: of N spectra.
        labels: true values, shape (N, P), in the order of `space`.
        space: whose bounds are divided; its labels that are not estimated are left out.
        bins: bins of equal width per label.

    Returns:
        label -> its bins from the lower bound on.
    """
    known = {name: at for at, name in enumerate(space.names) if estimates.knows(name)}
    return {
        name: true_bins(
            np.asarray(labels, dtype=np.float64)[:, at],
            estimates.of(name),
            np.linspace(space.low[at], space.high[at], bins + 1),
            stated_intervals(estimates, name),
        )
        for name, at in known.items()
    }


def true_bins(truth: Values, mean: Values, edges: Values, intervals: Intervals) -> TrueBins:
    """Return the scores of one label between increasing edges.

    Args:
        truth, mean: shape (N,); a spectrum whose estimate is not finite is in no bin.
        edges: shape (K + 1,), label unit.
        intervals: see `stated_intervals`; the coverage is that of 68 %.
    """
    # Labels are stored in float32, so one at a bound may lie a rounding outside of it.
    at = np.clip(np.searchsorted(edges, truth, side="right") - 1, 0, len(edges) - 2)
    usable = np.isfinite(mean)
    return tuple(
        _bin(low, high, usable & (at == k), truth, mean, intervals)
        for k, (low, high) in enumerate(itertools.pairwise(edges))
    )


def _bin(low: float, high: float, rows: Values, truth: Values, mean: Values, intervals: Intervals) -> TrueBin:
    error, count = (mean - truth)[rows], int(rows.sum())
    found: dict[str, float | None] = dict.fromkeys(("bias", "bias_error", "rms"))
    if count:
        found |= {"bias": float(error.mean()), "rms": float(np.sqrt(np.square(error).mean()))}
    if count > 1:
        found["bias_error"] = float(error.std(ddof=1) / np.sqrt(count))
    if 68 in intervals:
        ends = intervals[68]
        stated = rows & ~np.isnan(ends[0]) & ~np.isnan(ends[1])
        inside = stated & (ends[0] <= truth) & (truth <= ends[1])
        found |= _share(int(inside.sum()), int(stated.sum())) if stated.any() else {}
    return TrueBin(low=float(low), high=float(high), spectra=count, **found)


def _share(inside: int, count: int) -> dict[str, float | None]:
    """Return a share and its standard error, which is not zero where all or none are inside.

    Source: Agresti & Coull 1998, Am. Stat. 52, 119 (the error of a share with two successes and failures added).
    """
    centre = (inside + 2) / (count + 4)
    return {
        "coverage_68": inside / count,
        "coverage_68_error": float(np.sqrt(centre * (1 - centre) / (count + 4))),
    }
