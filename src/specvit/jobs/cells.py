"""Precision over the plane of two labels, in slices of S/N: where the attainable is not attained.

Owns the choice of cells; what is attainable per spectrum is handed in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from specvit.evaluate import bootstrap
from specvit.jobs.attainable import Attainable

Values = np.ndarray

#: Axes of the plane in order of preference; the target itself is none.
AXES = ("teff", "m_h", "log_g")
#: Slices of S/N, with equally many stars each.
SLICES = 3
#: A cell with fewer stars is left blank.
LEAST_STARS = 15
#: Stars per cell aimed at when the number of cells is chosen, and the limits of cells per axis.
STARS_PER_CELL, FEWEST, MOST = 25, 2, 6
#: Edges are rounded outwards to this many label units.
STEPS = {"teff": 50.0, "m_h": 0.05, "log_g": 0.1}


@dataclass(frozen=True)
class Cells:
    """Boxes in two labels and S/N: K slices of G x F cells.

    Args:
        axes: names of the two labels, the first one horizontal.
        edges: of the first label (F + 1,) and the second (G + 1,).
        snr_edges: shape (K + 1,).
        rows: the spectra in each cell, K·G·F index arrays in row-major order of (slice, second, first).
    """

    axes: tuple[str, str]
    edges: tuple[Values, Values]
    snr_edges: Values
    rows: list[Values]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, G, F)."""
        return len(self.snr_edges) - 1, len(self.edges[1]) - 1, len(self.edges[0]) - 1

    @classmethod
    def divide(cls, axes: tuple[str, str], plane: tuple[Values, Values], snr: Values, used: Values) -> Cells:
        """Divide the spectra marked by `used` (N,), so that a cell holds about `STARS_PER_CELL` of them."""
        side = int(np.clip(math.isqrt(int(used.sum()) // (SLICES * STARS_PER_CELL)), FEWEST, MOST))
        first, second = (_edges(v, side, STEPS[name]) for v, name in zip(plane, axes, strict=True))
        slices = np.quantile(snr[used], np.linspace(0, 1, SLICES + 1))
        at = _place(snr, slices), _place(plane[1], second), _place(plane[0], first)
        cell = np.where(used, np.ravel_multi_index(at, (SLICES, side, side)), -1)
        rows = [np.flatnonzero(cell == k) for k in range(SLICES * side * side)]
        return cls(axes, (first, second), slices, rows)


def plane_axes(names: Sequence[str], target: str) -> tuple[str, str] | None:
    """Return the two labels that span the plane for `target`; None if the library lacks them."""
    found = [name for name in AXES if name in names and name != target]
    return (found[0], found[1]) if len(found) > 1 else None


def cell_scores(
    cells: Cells,
    truth: Values,
    estimates: Mapping[str, Values],
    limit: Attainable,
    variance: float,
    resamples: int,
    seed: int,
) -> dict[str, Values]:
    """Return the arrays `cells` of `specvit.runs.results`.

    Precision is attainable RMSE / RMSE. Efficiency is (1 - mean squared error / V) / (1 - mean attainable
    variance / V) with V of the prior, as the variance of the few true values in a cell would be noise; where
    the ceiling is low it is a ratio of two small numbers, and precision is the better measure.

    Args:
        cells: where; its spectra must have a finite attainable variance.
        truth: shape (N,).
        estimates: model -> estimated target, shape (N,).
        limit: what is attainable.
        variance: of the target under the prior.
        resamples, seed: of the bootstrap behind the intervals.
    """
    allowed = limit.variance
    ceiling = np.array([1 - allowed[r].mean() / variance if len(r) else np.nan for r in cells.rows])
    arrays = {
        "axes": np.array(cells.axes),
        "first_edges": cells.edges[0],
        "second_edges": cells.edges[1],
        "snr_edges": cells.snr_edges,
        "stars": np.array([len(r) for r in cells.rows]).reshape(cells.shape),
        "ceiling": ceiling.reshape(cells.shape),
        "exact": np.array(limit.exact),
        "least_stars": np.array(LEAST_STARS),
    }

    def efficiency(square: Values, allowed: Values) -> Values:
        top = variance - allowed.mean(axis=-1)
        return np.where(top > 0, (variance - square.mean(axis=-1)) / np.where(top > 0, top, 1.0), np.nan)

    for kind, statistic in (("precision", _precision), ("efficiency", efficiency)):
        for name, estimate in estimates.items():
            found = np.full((len(cells.rows), 3), np.nan)
            for k, chosen in enumerate(cells.rows):
                rows = chosen[np.isfinite(estimate[chosen])]
                if len(rows) >= LEAST_STARS:
                    columns = np.square(estimate[rows] - truth[rows]), limit.variance[rows]
                    one = bootstrap(statistic, *columns, resamples=resamples, seed=seed + k)
                    found[k] = one.value, one.low, one.high
            for ending, column in zip(("", "_low", "_high"), found.T, strict=True):
                arrays[f"{kind}_{name}{ending}"] = column.reshape(cells.shape)
    return arrays


def _precision(square: Values, allowed: Values) -> Values:
    # An estimator that is shown the truth makes no error at all.
    with np.errstate(divide="ignore"):
        return np.sqrt(allowed.mean(axis=-1) / square.mean(axis=-1))


def _edges(values: Values, count: int, step: float) -> Values:
    """Return count + 1 equally spaced edges that hold all values, the outer ones rounded outwards."""
    low, high = step * math.floor(values.min() / step), step * math.ceil(values.max() / step)
    return np.linspace(low, high if high > low else low + step, count + 1)


def _place(values: Values, edges: Values) -> Values:
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
