"""Precision over the plane of two labels, in slices of S/N: where the attainable is not attained.

Owns the choice of cells; what is attainable per spectrum is handed in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from specvit.evaluate.attainable import Attainable
from specvit.evaluate.resampled import ROUNDING, Resampled
from specvit.evaluate.slices import Slice
from specvit.runs import CellScores

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
        slices: the spectra in each cell, K·G·F slices in row-major order of (S/N, second, first).
    """

    axes: tuple[str, str]
    edges: tuple[Values, Values]
    snr_edges: Values
    slices: list[Slice]

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
        words = f"cell of {axes[0]}, {axes[1]} and S/N"
        parts = [Slice(f"cell {k}", "named", words, cell == k) for k in range(SLICES * side * side)]
        return cls(axes, (first, second), slices, parts)


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
) -> CellScores:
    """Return precision and efficiency of every estimator in every cell.

    Precision is attainable RMSE / RMSE. Efficiency is (1 - mean squared error / V) / (1 - mean attainable
    variance / V) with V of the prior, as the variance of the few true values in a cell would be noise; where
    the ceiling is low it is a ratio of two small numbers, and precision is the better measure.

    Args:
        cells: where; its spectra must have a finite attainable variance.
        truth: shape (N,).
        estimates: estimator -> estimated label, shape (N,).
        limit: what is attainable.
        variance: of the label under the prior.
        resamples, seed: of the bootstrap behind the intervals; cell k is resampled with seed + k.
    """
    stars = np.array([int(part.mask.sum()) for part in cells.slices])
    top = [limit.variance[part.mask].mean() if part.mask.any() else np.nan for part in cells.slices]

    def efficiency(means: Values) -> Values:
        # `np.where` computes both sides, so its divisor is made harmless too.
        attainable = variance - means[..., 1]
        some = attainable > ROUNDING * variance
        return np.where(some, (variance - means[..., 0]) / np.where(some, attainable, 1), np.nan)

    found = np.full((2, len(estimates), len(cells.slices), 3), np.nan)
    for k, part in enumerate(cells.slices):
        for e, estimate in enumerate(estimates.values()):
            rows = part.mask & np.isfinite(estimate)
            if rows.sum() < LEAST_STARS:
                continue
            resampled = Resampled(int(rows.sum()), resamples, seed + k)
            means = resampled.means(
                np.stack([np.square(estimate - truth)[rows], limit.variance[rows]], axis=1)
            )
            for q, statistic in enumerate((_precision, efficiency)):
                one = resampled.interval(statistic, *means)
                found[q, e, k] = one.value, one.low, one.high
    shape = (2, len(estimates), *cells.shape, 3)
    precision, efficient = found.reshape(shape)
    return CellScores(
        axes=np.array(cells.axes),
        first_edges=cells.edges[0],
        second_edges=cells.edges[1],
        snr_edges=cells.snr_edges,
        stars=stars.reshape(cells.shape),
        ceiling=1 - np.array(top).reshape(cells.shape) / variance,
        exact=np.array(limit.exact),
        least_stars=np.array(LEAST_STARS),
        estimators=np.array(list(estimates)),
        precision=precision,
        efficiency=efficient,
    )


def _precision(means: Values) -> Values:
    # An estimator that is shown the truth makes no error at all.
    with np.errstate(divide="ignore"):
        precision: Values = np.sqrt(means[..., 1] / means[..., 0])
    return precision


def _edges(values: Values, count: int, step: float) -> Values:
    """Return count + 1 equally spaced edges that hold all values, the outer ones rounded outwards."""
    low, high = step * math.floor(values.min() / step), step * math.ceil(values.max() / step)
    return np.linspace(low, high if high > low else low + step, count + 1)


def _place(values: Values, edges: Values) -> Values:
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
