"""Predicted against true values of the target, one panel per model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from specvit.report.contents import RunContents
from specvit.report.palette import INK, MUTED, look_of
from specvit.report.style import house_style
from specvit.report.words import count, label_name, number, value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.colors import ListedColormap, LogNorm
    from matplotlib.figure import Figure

#: More spectra than this are drawn as a density instead of points.
MOST_POINTS = 4000
#: Panels per row and their width, inch: two large ones, or three where there are more than four models.
FEW, MANY = (2, 2.95), (3, 2.2)


def predicted_versus_true(run: RunContents) -> Figure:
    """Return one panel per model: points coloured by S/N, or their density, with the running median.

    Dashed is perfect agreement. The coloured line is the median prediction in slices of the true value: where
    it is flatter than the dashed one, the model falls back on the mean of the prior.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    models = run.names
    most, width = FEW if len(models) <= 4 else MANY
    rows, columns = -(-len(models) // most), min(len(models), most)
    with house_style():
        figure = Figure(figsize=(width * columns + 0.95, (width + 0.35) * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        limits = _limits(run)
        for axes, model in zip(panels, models, strict=False):
            _draw_panel(axes, run, model, limits)
        for axes in panels[len(models) :]:
            axes.set_visible(False)
        for axes in panels[max(0, len(models) - columns) : len(models)]:
            axes.tick_params(labelbottom=True)
        if len(run.truth) <= MOST_POINTS:
            norm, colours = _snr_colours(run.test.snr)
            bar = figure.colorbar(
                ScalarMappable(norm, colours), ax=panels.tolist(), shrink=0.75, aspect=28, pad=0.02
            )
            _dress_bar(bar, run.test.snr)
        unit = run.summary.unit
        figure.supxlabel(f"true {label_name(run.target)} [{unit}]", fontsize=9.5)
        figure.supylabel(f"predicted {label_name(run.target)} [{unit}]", fontsize=9.5)
    return figure


def running_median(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the median of x and of y in slices of x with equal numbers of points, each shape (slices,).

    There are 5 to 16 slices, of 60 points where that many are there.
    """
    slices = min(max(len(x) // 60, 5), 16)
    parts = [part for part in np.array_split(np.argsort(x, kind="stable"), slices) if len(part)]
    return np.array([np.median(x[p]) for p in parts]), np.array([np.median(y[p]) for p in parts])


def _draw_panel(axes: Axes, run: RunContents, model: str, limits: tuple[float, float]) -> None:
    known = np.isfinite(run.predicted(model))
    truth, predicted, snr = run.truth[known], run.predicted(model)[known], run.test.snr[known]
    colour = look_of(model, run.summary).colour
    if len(truth) <= MOST_POINTS:
        norm, colours = _snr_colours(run.test.snr)
        # Brightest spectra last, so that they are not buried.
        order = np.argsort(snr)
        points: dict[str, Any] = {"s": 6, "linewidths": 0, "alpha": 0.85, "rasterized": True}
        axes.scatter(truth[order], predicted[order], c=snr[order], norm=norm, cmap=colours, **points)
    else:
        shape: dict[str, Any] = {"gridsize": 60, "extent": (*limits, *limits), "mincnt": 1, "linewidths": 0.2}
        axes.hexbin(truth, predicted, bins="log", cmap="Greys", rasterized=True, **shape)
    axes.axline((limits[0], limits[0]), slope=1, color=INK, linewidth=1.0, linestyle=(0, (4, 2.5)))
    x, middle = running_median(truth, predicted)
    # A white rim, or the line would be lost among the points.
    axes.plot(x, middle, color="white", linewidth=4.0)
    axes.plot(x, middle, color=colour, linewidth=2.2)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    axes.xaxis.set_major_locator(axes.yaxis.get_major_locator())
    axes.set_title(run.title(model), color=colour)
    beside: dict[str, Any] = {"transform": axes.transAxes, "ha": "right", "fontsize": 9}
    axes.text(1.0, 1.025, f"R² {number(value(run.summary.score(model, 'r2')), 2)}", va="bottom", **beside)
    outside = int(((predicted < limits[0]) | (predicted > limits[1])).sum())
    if outside:
        axes.text(1.0, 0.02, f"{count(outside)} outside the axes", va="bottom", color=MUTED, **beside)


def _limits(run: RunContents) -> tuple[float, float]:
    """Return limits that hold every true value and all but 0.2 % of the predictions at each end."""
    ends = [np.nanquantile(run.predicted(model), (0.002, 0.998)) for model in run.names]
    low, high = min(run.truth.min(), *(e[0] for e in ends)), max(run.truth.max(), *(e[1] for e in ends))
    return low - 0.03 * (high - low), high + 0.03 * (high - low)


def _snr_colours(snr: np.ndarray) -> tuple[LogNorm, ListedColormap]:
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, LogNorm

    low, high = np.quantile(snr, (0.01, 0.99))
    # The palest colours of the map would vanish on white.
    colours = ListedColormap(colormaps["viridis_r"](np.linspace(0.08, 1, 256)))
    return LogNorm(low, max(high, 1.01 * low), clip=True), colours


def _dress_bar(bar: Colorbar, snr: np.ndarray) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    low, high = np.quantile(snr, (0.01, 0.99))
    ticks = [t for t in (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100, 200) if low <= t <= high]
    bar.ax.yaxis.set_major_locator(FixedLocator(ticks))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.set_yticks(ticks, [str(t) for t in ticks])
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    bar.ax.set_title("S/N", fontsize=8.5, fontweight="normal", loc="left", color=MUTED)
