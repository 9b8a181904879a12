"""How much of the attainable a model attains: R² beside a ceiling on the same spectra. Owns no ceiling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specvit.errors import ShapeError
from specvit.evaluate.bins import SnrBins
from specvit.evaluate.metrics import as_float64, r2
from specvit.evaluate.resampling import LEVEL, RESAMPLES, Interval, bootstrap


@dataclass(frozen=True)
class Efficiency:
    """A model beside a ceiling on `count` spectra with S/N from `low` to `high`.

    Args:
        model: R² of the model.
        ceiling: mean over the spectra of the ceiling's R².
        eta: model / ceiling.
        headroom: ceiling - model.
    """

    low: float
    high: float
    count: int
    model: Interval
    ceiling: Interval
    eta: Interval
    headroom: Interval

    @property
    def above_ceiling(self) -> bool:
        """Whether the model exceeds the ceiling beyond its interval.

        Against the Bayes ceiling that means leakage or a bug; against a CRLB-based ceiling it only means that
        the model is biased, which that bound does not cover.
        """
        return self.headroom.high < 0.0


def efficiency(
    truth: ArrayLike,
    estimate: ArrayLike,
    ceiling: ArrayLike,
    snr: ArrayLike | None = None,
    bins: SnrBins | None = None,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> list[Efficiency]:
    """Return the efficiency per S/N bin, or over all spectra if no bins are given.

    Args:
        truth, estimate: N label values.
        ceiling: attainable R² of each spectrum, 1 - (attainable variance) / Var(truth), shape (N,); its mean
            over a set is the ceiling of a pooled R², which a median is not.
        snr, bins: both or neither.
        resamples, level, seed: see `bootstrap`; the rows are shared by all four quantities.
    """
    y, z, c = as_float64(truth, "truth"), as_float64(estimate, "estimate"), as_float64(ceiling, "ceiling")
    if not y.shape == z.shape == c.shape or (snr is None) != (bins is None):
        raise ShapeError(
            f"efficiency needs one truth, estimate and ceiling per spectrum, and snr with bins; "
            f"got {y.shape}, {z.shape}, {c.shape}"
        )
    if snr is None or bins is None:
        parts = [(float("-inf"), float("inf"), np.ones(y.size, bool))]
    else:
        at = bins.assign(snr)
        parts = [(bins.edges[k], bins.edges[k + 1], at == k) for k in range(len(bins))]
    options = {"resamples": resamples, "level": level}
    return [
        _one(low, high, y[rows], z[rows], c[rows], {**options, "seed": seed + k})
        for k, (low, high, rows) in enumerate(parts)
        if rows.sum() > 1
    ]


def _one(
    low: float,
    high: float,
    y: NDArray[np.float64],
    z: NDArray[np.float64],
    c: NDArray[np.float64],
    options: dict,
) -> Efficiency:
    def mean_ceiling(y: NDArray, z: NDArray, c: NDArray) -> NDArray:
        return c.mean(axis=-1)

    def ratio(y: NDArray, z: NDArray, c: NDArray) -> NDArray:
        top = c.mean(axis=-1)
        return np.where(top > 0, r2(y, z) / np.where(top > 0, top, 1.0), np.nan)

    return Efficiency(
        low,
        high,
        y.size,
        model=bootstrap(lambda y, z, c: r2(y, z), y, z, c, **options),
        # The same seed draws the same rows in all four, so that their intervals belong together.
        ceiling=bootstrap(mean_ceiling, y, z, c, **options),
        eta=bootstrap(ratio, y, z, c, **options),
        headroom=bootstrap(lambda y, z, c: c.mean(axis=-1) - r2(y, z), y, z, c, **options),
    )
