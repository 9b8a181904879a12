"""The figure of an audit of denoisers: what is left above the least error there can be, and whether intervals hold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from specvit.report.palette import MODEL_COLOURS, MUTED
from specvit.report.style import house_style
from specvit.runs import Score
from specvit.runs.denoisers_record import TAKEN_OUT, DenoisersRecord

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


def denoiser_details(record: DenoisersRecord) -> Figure:
    """Return error by strength, the distribution of what was taken out, and the bias of the first label downstream."""
    from matplotlib.figure import Figure

    with house_style():
        figure = Figure(figsize=(7.4, 6.4), layout="constrained")
        places = figure.subplot_mosaic([["strength", "taken"], ["bias", "bias"]], height_ratios=(1, 1.2))
        left, right, below = (places[name] for name in ("strength", "taken", "bias"))
        for number, (name, points) in enumerate(_by_name(record, "strengths").items()):
            strength = [float(str(row[1])) for row in points]
            left.plot(strength, [_value(row[2]) for row in points], color=_colour(number), label=name)
        left.set_xlabel("strength s")
        left.set_ylabel("weighted error over the noisy one's")
        heads = next(one.head for one in record.tables if one.name == "distributions")
        expected = [float(head.removesuffix(" σ")) for head in heads[2:]]
        for number, (name, rows) in enumerate(_by_name(record, "distributions").items()):
            for row in rows:
                if row[1] == TAKEN_OUT and name != "noisy":
                    off = [_value(cell) - sigma for cell, sigma in zip(row[2:], expected, strict=True)]
                    right.plot(expected, off, marker="o", markersize=3, color=_colour(number), label=name)
        right.axhline(0, color=MUTED, linewidth=1)
        right.set_xlabel("quantile of a normal distribution, σ")
        right.set_ylabel("(observed - denoised) / σ, less that")
        _draw_biases(below, record)
        for axes in (left, right, below):
            if axes.has_data():
                axes.legend(fontsize=7)
    return figure


def _draw_biases(axes: Axes, record: DenoisersRecord) -> None:
    """Draw the mean error of the first label by part of the stars, a line per estimator on each kind of spectra."""
    table = next(one for one in record.tables if one.name == "downstream-bias")
    rows = [row for row in table.rows if row[0] == table.rows[0][0]]
    parts = list(dict.fromkeys(str(row[3]) for row in rows))
    kinds = list(dict.fromkeys((str(row[1]), str(row[2])) for row in rows))
    spectra = list(dict.fromkeys(kind for _, kind in kinds))
    for number, (estimator, kind) in enumerate(kinds):
        own = [(parts.index(str(row[3])), row[4]) for row in rows if (row[1], row[2]) == (estimator, kind)]
        x = [at + 0.8 * (number / len(kinds) - 0.5) for at, _ in own]
        y = [_value(one) for _, one in own]
        ends = [
            [_value(one) - _end(one, "low") for _, one in own],
            [_end(one, "high") - _value(one) for _, one in own],
        ]
        colour = _colour(spectra.index(kind))
        axes.errorbar(x, y, yerr=ends, fmt="o", markersize=2, color=colour)
    for number, kind in enumerate(spectra):
        axes.plot([], [], "o", color=_colour(number), label=kind)
    axes.axhline(0, color=MUTED, linewidth=1)
    axes.set_xticks(range(len(parts)), parts, rotation=20, ha="right", fontsize=7)
    axes.set_ylabel(f"mean error of {table.rows[0][0]}, an estimator a point")


def _by_name(record: DenoisersRecord, name: str) -> dict[str, list[tuple[Score | str | None, ...]]]:
    """Return the rows of a table by their first cell."""
    found: dict[str, list[tuple[Score | str | None, ...]]] = {}
    for row in next(one for one in record.tables if one.name == name).rows:
        found.setdefault(str(row[0]), []).append(row)
    return found


def _value(cell: Score | str | None) -> float:
    return cell.value if isinstance(cell, Score) and cell.value is not None else float("nan")


def _end(cell: Score | str | None, name: str) -> float:
    """Return an end of an interval, the value itself where few stars have none."""
    end = getattr(cell, name, None)
    return _value(cell) if end is None else float(end)


def _colour(number: int) -> str:
    return MODEL_COLOURS[number % len(MODEL_COLOURS)]


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
        colour = _colour(number)
        axes.errorbar(x, y, yerr=ends, marker="o", markersize=3, color=colour, label=denoiser)
    axes.set_xticks(range(len(bins)), [re.sub(r"^S/N | \(.*", "", part) for part in bins])
    axes.set_xlabel("S/N")
