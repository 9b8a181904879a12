"""Curves over S/N: scores at the place of their bin, and running quantiles over stars."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from specvit.report.contents import RunContents
from specvit.runs import Score

#: Smoothing of running quantiles over S/N: standard deviation in ln(S/N).
KERNEL_WIDTH = 0.12


def running_quantiles(
    x: np.ndarray, y: np.ndarray, levels: Sequence[float], width: float = KERNEL_WIDTH, points: int = 80
) -> tuple[np.ndarray, np.ndarray]:
    """Return quantiles of `y` as smooth functions of `x`: every point weighs stars by a Gaussian in ln x.

    Args:
        x: positive, shape (stars,).
        y: shape (stars,).
        levels: quantiles wanted, each in [0, 1].
        width: standard deviation of the Gaussian, in ln x.
        points: points along x, equally spaced in ln x between the extremes.

    Returns:
        The points, shape (points,), and the quantiles, shape (levels, points).
    """
    order = np.argsort(y, kind="stable")
    log_x, y = np.log(x[order]), y[order]
    at = np.linspace(log_x.min(), log_x.max(), points)
    weight = np.exp(-0.5 * ((log_x - at[:, None]) / width) ** 2)
    # Share of the weight below the middle of each star; the quantile is where it crosses the level.
    share = (np.cumsum(weight, axis=1) - 0.5 * weight) / weight.sum(axis=1, keepdims=True)
    return np.exp(at), np.array([np.interp(levels, row, y) for row in share]).T


def bin_points(run: RunContents, scores: list[Score]) -> tuple[np.ndarray, ...]:
    """Return S/N, value, low and high of the bins that have a score."""
    snr = [run.summary.slices[name].median_snr for name in run.summary.bins]
    rows = [
        (at, s.value, s.value if s.low is None else s.low, s.value if s.high is None else s.high)
        for at, s in zip(snr, scores, strict=True)
        if at is not None and s.value is not None
    ]
    return tuple(np.array(rows, dtype=float).reshape(-1, 4).T)
