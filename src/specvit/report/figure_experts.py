"""The figures of an audit of a mixture of experts: routings, bins, coverage, gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from specvit.report.experts_tables import ROUTING_WORDS
from specvit.report.palette import INK, MODEL_COLOURS, MUTED
from specvit.report.style import house_style
from specvit.report.words import count, label_name, number
from specvit.runs import Score
from specvit.runs.experts_record import ExpertsRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def routing_comparison(record: ExpertsRecord) -> Figure:
    """Return R² of every routing on the covered stars, and in every bin for some of them."""
    from matplotlib.figure import Figure

    with house_style():
        figure = Figure(figsize=(7.4, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
        names = list(record.routings)
        for at, name in enumerate(names):
            _bar(left, record.routings[name].covered, at, MODEL_COLOURS[0] if name != "oracle" else MUTED)
        left.set_yticks(range(len(names)), [ROUTING_WORDS.get(name, name) for name in names])
        left.invert_yaxis()
        left.set_xlabel(f"R² of {label_name(record.label)}, covered stars")
        _draw_bins(right, record)
    return figure


def coverage_map(record: ExpertsRecord) -> Figure:
    """Return the test stars in the plane of two labels, coloured by the share that is in a bin."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    plane = record.map
    covered = np.array([[np.nan if v is None else v for v in row] for row in plane.covered])
    with house_style():
        figure = Figure(figsize=(5.2, 3.8), layout="constrained")
        axes = figure.subplots()
        norm = Normalize(0, 1)
        axes.pcolormesh(
            *plane.edges, np.ma.masked_invalid(covered), cmap="cividis", norm=norm, edgecolors="white"
        )
        for j, row in enumerate(plane.stars):
            for i, stars in enumerate(row):
                first, second = plane.edges
                at = (0.5 * (first[i] + first[i + 1]), 0.5 * (second[j] + second[j + 1]))
                dark = np.isfinite(covered[j, i]) and covered[j, i] < 0.6
                ink = "white" if dark else INK
                axes.annotate(count(stars), at, color=ink, fontsize=6, ha="center", va="center")
        axes.set_xlabel(label_name(plane.labels[0]))
        axes.set_ylabel(label_name(plane.labels[1]))
        bar = figure.colorbar(ScalarMappable(norm, "cividis"), ax=axes)
        bar.set_label("share of the stars in a bin")
    return figure


def gate_figure(record: ExpertsRecord) -> Figure:
    """Return reliability of the gate, its confusion, and its most important features."""
    from matplotlib.figure import Figure

    with house_style():
        figure = Figure(figsize=(7.4, 2.9), layout="constrained")
        reliable, confused, important = figure.subplots(1, 3)
        reliable.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle="--")
        reliable.plot(
            record.reliability.stated, record.reliability.right, "o-", color=MODEL_COLOURS[0], markersize=4
        )
        reliable.set_xlabel("weight of the likeliest bin")
        reliable.set_ylabel("how often it is right")
        table = np.array(record.confusion, dtype=float)
        shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
        confused.imshow(shares, cmap="cividis", vmin=0, vmax=1)
        confused.set_xlabel("likeliest bin")
        confused.set_ylabel("true bin")
        ordered = sorted(record.importance.items(), key=lambda item: item[1])[-10:]
        important.barh(
            [name for name, _ in ordered], [100 * lost for _, lost in ordered], color=MODEL_COLOURS[0]
        )
        important.set_xlabel("accuracy lost [points]")
        important.tick_params(axis="y", labelsize=6)
    return figure


def _bar(axes: Axes, score: Score, at: float, colour: str) -> None:
    if score.value is None or score.low is None or score.high is None:
        return
    axes.plot([score.low, score.high], [at, at], color=colour, linewidth=1.2)
    axes.plot([score.value], [at], "o", color=colour, markersize=5)
    axes.annotate(
        number(score.value, 3),
        (score.high, at),
        xytext=(3, 0),
        textcoords="offset points",
        fontsize=7,
        va="center",
    )


def _draw_bins(axes: Axes, record: ExpertsRecord) -> None:
    names = list(record.bins)
    shown = list(record.bins[names[0]].r2)
    for k, routing in enumerate(shown):
        scores = [record.bins[name].r2[routing].value for name in names]
        values = [np.nan if value is None else value for value in scores]
        axes.plot(values, range(len(names)), "o", color=MODEL_COLOURS[k], markersize=4, label=routing)
    axes.set_yticks(
        range(len(names)), [f"{name} ({count(record.bins[name].stars)})" for name in names], fontsize=6
    )
    axes.invert_yaxis()
    axes.set_xlabel("R² about the mean of the bin")
    axes.legend(fontsize=7)
