"""The main figure: R² of every model against S/N, under the information ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from specvit.report.contents import RunContents
from specvit.report.placing import spread_apart
from specvit.report.style import BAYES, CEILING_BAND, INK, MUTED, colour_of, house_style
from specvit.report.words import label_name
from specvit.runs import Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Smoothing of the ceiling's running quantiles: standard deviation in ln(S/N).
KERNEL_WIDTH = 0.12


class _Label(NamedTuple):
    y: float
    text: str
    colour: str


def r2_versus_snr(run: RunContents) -> Figure:
    """Return the figure of R² against S/N: models with bootstrap bands, ceiling with its 10-90 % band.

    Models are drawn at the median S/N of each bin; the Cramér-Rao ceiling as running quantiles over stars.
    """
    from matplotlib.figure import Figure

    with house_style():
        figure = Figure(figsize=(6.8, 4.5), layout="constrained")
        axes = figure.add_subplot()
        labels = [*_draw_ceiling(axes, run), *_draw_models(axes, run)]
        _dress(axes, run)
        _label_ends(axes, labels)
    return figure


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


def _draw_ceiling(axes: Axes, run: RunContents) -> list[_Label]:
    if run.ceiling is None or run.summary.ceiling is None:
        return []
    labels = []
    snr = run.ceiling["snr"]
    x, (low, middle, high) = running_quantiles(snr, run.ceiling["r2_max_5"], (0.1, 0.5, 0.9))
    axes.fill_between(x, low, high, color=CEILING_BAND, linewidth=0)
    axes.plot(x, middle, color=INK, linewidth=1.8)
    labels.append(_Label(middle[-1], "Cramér–Rao ceiling\nmedian star; band: 10–90 %", INK))
    _, (three,) = running_quantiles(snr, run.ceiling["r2_max_3"], (0.5,))
    axes.plot(x, three, color=MUTED, linewidth=1.0, linestyle=(0, (4, 2.5)))
    # Where the curve is steep there is room on its left.
    at = int(np.argmin(np.abs(three - 0.65)))
    axes.annotate(
        "3 free labels",
        (x[at], three[at]),
        xytext=(-7, 4),
        textcoords="offset points",
        color=MUTED,
        fontsize=7.5,
        ha="right",
    )
    bayes = run.summary.ceiling.bayes_bins
    if bayes:
        x, value, low, high = _line(run, bayes)
        axes.fill_between(x, low, high, color=BAYES, alpha=0.13, linewidth=0)
        axes.plot(x, value, color=BAYES, linewidth=1.6, linestyle=(0, (1, 1.6)))
        labels.append(_Label(value[-1], "Bayes ceiling", BAYES))
    return labels


def _draw_models(axes: Axes, run: RunContents) -> list[_Label]:
    labels = []
    for name, model in run.summary.models.items():
        colour = colour_of(name, list(run.summary.models))
        x, value, low, high = _line(run, model.bins["r2"])
        axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(
            x,
            value,
            color=colour,
            marker="o",
            markersize=5,
            markeredgecolor="white",
            markeredgewidth=0.8,
        )
        if len(x):
            labels.append(_Label(value[-1], model.title, colour))
    return labels


def _line(run: RunContents, scores: list[Score]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return S/N, value, low and high of the bins that have a score."""
    snr = run.summary.snr_bins.median
    rows = [
        (at, s.value, s.value if s.low is None else s.low, s.value if s.high is None else s.high)
        for at, s in zip(snr, scores, strict=True)
        if at is not None and s.value is not None
    ]
    x, value, low, high = np.array(rows, dtype=float).reshape(-1, 4).T
    return x, value, low, high


def _dress(axes: Axes, run: RunContents) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    low, high = np.quantile(run.test["snr"], (0.002, 0.99))
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [t for t in (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300) if low <= t <= high]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [str(t) for t in ticks])
    scores = [score for model in run.summary.models.values() for score in model.bins["r2"]]
    lowest = min((s.value for s in scores if s.value is not None), default=0.0)
    axes.set_ylim(min(0.0, np.floor(10 * lowest) / 10), 1.0)
    axes.yaxis.grid(True)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("signal-to-noise ratio per pixel (median over pixels)")
    axes.set_title(f"R² of {label_name(run.summary.target)}")


def _label_ends(axes: Axes, labels: list[_Label]) -> None:
    """Write each label beside the end of its line, moved apart where they would overlap."""
    bottom, top = axes.get_ylim()
    gap = 0.062 * (top - bottom)
    placed = sorted(labels, key=lambda label: label.y)
    heights = [gap * (1 + 0.75 * label.text.count("\n")) for label in placed]
    at = spread_apart([label.y for label in placed], heights, bottom, top)
    for label, y in zip(placed, at, strict=True):
        title, _, detail = label.text.partition("\n")
        axes.annotate(
            title,
            (1.0, y),
            xycoords=("axes fraction", "data"),
            xytext=(8, 5 if detail else 0),
            textcoords="offset points",
            color=label.colour,
            fontsize=9,
            fontweight="bold",
            va="center",
            annotation_clip=False,
        )
        if detail:
            axes.annotate(
                detail,
                (1.0, y),
                xycoords=("axes fraction", "data"),
                xytext=(8, -6),
                textcoords="offset points",
                color=MUTED,
                fontsize=7.5,
                va="center",
                annotation_clip=False,
            )
