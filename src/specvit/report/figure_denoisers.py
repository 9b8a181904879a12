"""The figure of an audit of denoisers: what is left above the least error there can be, and whether intervals hold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from specvit.report.palette import MODEL_COLOURS, MUTED
from specvit.report.style import house_style
from specvit.runs import Score
from specvit.runs.denoisers_record import DenoisersRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Rows of the table of errors that are no denoiser's.
NO_DENOISER = ("noisy", "Bayes floor")

#: Columns of the tables that are drawn.
OVER_FLOOR, STARS, SAMPLES_68 = "(error/σ)² / floor", "stars", "in 68 % of samples"


def denoiser_figure(record: DenoisersRecord) -> Figure:
    """Return error over the floor by S/N, beside the share of truths in 68 % of the samples."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    with house_style():
        figure = Figure(figsize=(7.4, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw(left, record, "errors", OVER_FLOOR, NO_DENOISER)
        left.axhline(1, color=MUTED, linewidth=1)
        left.set_yscale("log")
        # The style knows no mathematical text.
        plain = FuncFormatter(lambda value, position: f"{value:g}")
        left.yaxis.set_major_formatter(plain)
        left.yaxis.set_minor_formatter(plain)
        left.set_ylabel("(error / σ)² over the Bayes floor")
        _draw(right, record, "coverage", SAMPLES_68, ("noisy",))
        right.axhline(68, color=MUTED, linewidth=1)
        right.set_ylabel("truths in 68 % of the samples, %")
        for axes in (left, right):
            axes.tick_params(axis="x", labelsize=7)
            if axes.has_data():
                axes.legend(fontsize=7)
    return figure


def _draw(axes: Axes, record: DenoisersRecord, name: str, column: str, without: tuple[str, ...]) -> None:
    """Draw one column of a table, a line per denoiser over the bins of S/N."""
    table = next(one for one in record.tables if one.name == name)
    at, parts = table.head.index(column), table.head.index(STARS)
    lines: dict[str, list[tuple[str, Score]]] = {}
    for row in table.rows:
        score, part = row[at], str(row[parts])
        if isinstance(score, Score) and row[0] not in without and part.startswith("S/N"):
            lines.setdefault(str(row[0]), []).append((part, score))
    bins = list(dict.fromkeys(part for points in lines.values() for part, _ in points))
    for number, (denoiser, points) in enumerate(lines.items()):
        x = [bins.index(part) for part, _ in points]
        # Bins of few stars have no interval.
        values = [
            tuple(score.value or 0.0 if end is None else end for end in (score.low, score.value, score.high))
            for _, score in points
        ]
        y = [middle for _, middle, _ in values]
        ends = [[middle - low for low, middle, _ in values], [high - middle for _, middle, high in values]]
        colour = MODEL_COLOURS[number % len(MODEL_COLOURS)]
        axes.errorbar(x, y, yerr=ends, marker="o", markersize=3, color=colour, label=denoiser)
    axes.set_xticks(range(len(bins)), [re.sub(r"^S/N | \(.*", "", part) for part in bins])
    axes.set_xlabel("S/N")
