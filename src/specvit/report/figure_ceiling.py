"""The main figure: R² of every model against S/N, under the information ceilings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from specvit.report.contents import RunContents
from specvit.report.curves import bin_points, running_quantiles
from specvit.report.palette import CEILING_BAND, INK, MUTED, Look, look_of
from specvit.report.placing import spread_apart
from specvit.report.snr_axis import dress_snr_axis
from specvit.report.style import house_style
from specvit.report.words import is_above_ceiling, label_name, number, set_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: The R² axis goes no lower; a model below is named at the edge with its value.
LOWEST_R2 = -0.2
#: More models than this have error bars; that many bands could not be told apart.
MOST_BANDS = 2


class _Label(NamedTuple):
    x: float
    y: float
    text: str
    colour: str


def r2_versus_snr(run: RunContents) -> Figure:
    """Return the figure of R² against S/N: models with bootstrap intervals, ceilings with their bands.

    Where the exact posteriors are known a model's curve is its expected R², which cannot cross the Bayes ceiling;
    R² of the very stars of the test set is faint beside it. A model that is above the ceiling all the same knows more
    than the spectra say, so nothing is expected of it: its curve is its R². Models and the Bayes ceiling are drawn at
    the median S/N of each bin, the Cramér-Rao ceiling as running quantiles over stars.
    """
    from matplotlib.figure import Figure

    with house_style():
        figure = Figure(figsize=(6.8, 4.5), layout="constrained")
        axes = figure.add_subplot()
        labels = [*_draw_ceiling(axes, run), *_draw_models(axes, run)]
        _dress(axes, run)
        _label_ends(axes, labels)
    return figure


def _draw_ceiling(axes: Axes, run: RunContents) -> list[_Label]:
    if run.bounds is None or run.summary.ceiling is None:
        return []
    snr, (everything, *others) = run.bounds.snr, run.summary.ceiling.sets
    bound = run.bounds.of("r2_max", everything.at, run.target)
    x, (low, middle, high) = running_quantiles(snr, bound, (0.1, 0.5, 0.9))
    axes.fill_between(x, low, high, color=CEILING_BAND, linewidth=0)
    axes.plot(x, middle, color=MUTED, linewidth=1.8)
    text = "Cramér–Rao ceiling\nmedian star; band: 10–90 %"
    for free in others[:1]:
        _, (fewer,) = running_quantiles(snr, run.bounds.of("r2_max", free.at, run.target), (0.5,))
        axes.plot(x, fewer, color=MUTED, linewidth=1.0, linestyle=(0, (4, 2.5)))
        text += f"\ndashed: {set_name(free)} free"
    labels = [_Label(x[-1], middle[-1], text, MUTED)]
    bayes = run.summary.ceiling.bayes
    if bayes:
        x, value, low, high = bin_points(run, [bayes[part] for part in run.summary.bins])
        axes.fill_between(x, low, high, color=INK, alpha=0.15, linewidth=0, zorder=2)
        axes.plot(x, value, color=INK, linewidth=2.6, zorder=3)
        labels += [_Label(x[-1], value[-1], "Bayes ceiling\nbinds every estimator", INK)] if len(x) else []
    return labels


def _draw_models(axes: Axes, run: RunContents) -> list[_Label]:
    labels, names = [], run.names
    for i, name in enumerate(names):
        look = look_of(name, run.summary)
        metric = curve_of(run, name)
        x, value, low, high = bin_points(run, run.summary.over_bins(name, "r2"))
        if not len(x):
            continue
        if metric != "r2":
            _draw_plain(axes, x * np.exp(0.011 * (i - (len(names) - 1) / 2)), value, low, high, look)
            x, value, low, high = bin_points(run, run.summary.over_bins(name, metric))
        elif len(names) <= MOST_BANDS:
            axes.fill_between(x, low, high, color=look.colour, alpha=0.18, linewidth=0)
        else:
            # Side by side, or bars of models that do equally well would hide each other.
            x = x * np.exp(0.011 * (i - (len(names) - 1) / 2))
            axes.vlines(x, low, high, color=look.colour, linewidth=0.9, alpha=0.75)
        axes.plot(x, value, zorder=4, **look.line())
        labels.append(_Label(x[-1], value[-1], run.title(name), look.colour))
    return labels


def curve_of(run: RunContents, name: str) -> str:
    """Return the metric that is a model's curve: its expected R² where that is known and can be meant."""
    # Known over the whole test set, it can still be unknown in every bin: too few of their stars have a posterior.
    known = any(score.value is not None for score in run.summary.over_bins(name, "r2_expected"))
    return "r2_expected" if known and not is_above_ceiling(run, name) else "r2"


def _draw_plain(
    axes: Axes, x: np.ndarray, value: np.ndarray, low: np.ndarray, high: np.ndarray, look: Look
) -> None:
    """Draw R² of the very stars of the test set, faint: it also holds where their true values happened to lie."""
    axes.vlines(x, low, high, color=look.colour, linewidth=0.8, alpha=0.3)
    faint: dict[str, Any] = {"markersize": 3.5, "markeredgewidth": 0, "alpha": 0.35, "zorder": 3.5}
    axes.plot(x, value, color=look.colour, marker=look.marker, linestyle="none", **faint)


def _dress(axes: Axes, run: RunContents) -> None:
    dress_snr_axis(axes, run)
    drawn = [(name, metric) for name in run.names for metric in {"r2", curve_of(run, name)}]
    scores = [score.value for name, metric in drawn for score in run.summary.over_bins(name, metric)]
    values = [value for value in scores if value is not None]
    lowest = np.floor(10 * min(values, default=0.0)) / 10
    # A marker at 1 would be cut in half.
    top = 1.03 if max(values, default=0.0) > 0.98 else 1.0
    axes.set_ylim(min(0.0, max(LOWEST_R2, lowest)), top)
    _name_points_below(axes, run)
    axes.yaxis.grid(True)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_title(f"R² of {label_name(run.target)}")


def _name_points_below(axes: Axes, run: RunContents) -> None:
    """Write the value of each point that lies below the axis at its lower edge."""
    bottom, left, right = axes.get_ylim()[0], *axes.get_xlim()
    below: dict[float, list[tuple[str, str]]] = {}
    for name in run.names:
        x, value, *_ = bin_points(run, run.summary.over_bins(name, curve_of(run, name)))
        for at, r2 in zip(x, value, strict=True):
            if r2 < bottom and left <= at <= right:
                text = f"{run.title(name)} {number(r2, 1)} ↓"
                below.setdefault(at, []).append((text, look_of(name, run.summary).colour))
    for at, texts in below.items():
        for row, (text, colour) in enumerate(texts):
            offset: dict[str, Any] = {"xytext": (4, 3 + 9 * row), "textcoords": "offset points"}
            axes.annotate(text, (at, bottom), color=colour, fontsize=7, annotation_clip=False, **offset)


def _label_ends(axes: Axes, labels: list[_Label]) -> None:
    """Write each label right of its line, moved apart where they would overlap, tied to it by a hair line."""
    bottom, top = axes.get_ylim()
    right = axes.get_xlim()[1]
    gap = 0.056 * (top - bottom)
    placed = sorted(labels, key=lambda label: label.y)
    heights = [gap * (1 + 0.72 * label.text.count("\n")) for label in placed]
    at = spread_apart([label.y for label in placed], heights, bottom, top)
    for label, y, height in zip(placed, at, heights, strict=True):
        title, *details = label.text.split("\n")
        first = y + (height - gap) / 2
        axes.annotate(
            title,
            (min(label.x, right), max(label.y, bottom)),
            xytext=(1.03, first),
            textcoords=("axes fraction", "data"),
            color=label.colour,
            fontsize=9,
            fontweight="bold",
            va="center",
            annotation_clip=False,
            arrowprops={
                **{"arrowstyle": "-", "color": label.colour, "linewidth": 0.6, "alpha": 0.6},
                **{"relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 3},
            },
        )
        for row, detail in enumerate(details, start=1):
            below: dict[str, Any] = {
                "textcoords": ("axes fraction", "data"),
                "va": "center",
                "annotation_clip": False,
            }
            place = (1.03, first - 0.72 * gap * row)
            axes.annotate(detail, (right, y), xytext=place, color=MUTED, fontsize=7.5, **below)
