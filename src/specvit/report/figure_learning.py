"""The figures of distillation (size, accuracy, speed) and fine-tuning (score against labelled stars)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from specvit.report.palette import CEILING_BAND, INK, MARKERS, MODEL_COLOURS, MUTED
from specvit.report.style import house_style
from specvit.report.words import count, label_name
from specvit.runs.learning_record import LearningRecord, LearningRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Area of a marker, points², per decade of spectra per second above `SLOW`.
AREA, SLOW = 28.0, 10.0
SCRATCH = "scratch"


def size_accuracy_speed(record: LearningRecord, label: str) -> Figure:
    """Return the share of the ceiling, or R², against the number of weights; larger markers are faster."""
    from matplotlib.figure import Figure

    with house_style():
        figure = Figure(figsize=(6.2, 3.6), layout="constrained")
        axes = figure.subplots()
        ways = list(dict.fromkeys(row.how for row in record.rows))
        for at, how in enumerate(ways):
            rows = [row for row in record.rows if row.how == how and row.label == label]
            _points(axes, rows, at, how)
        if record.wanted is not None and record.ceiling:
            axes.axhline(record.wanted, color=MUTED, linestyle="--", linewidth=0.8)
            axes.axhline(1, color=INK, linewidth=0.9)
        _logarithmic(axes, "weights")
        axes.set_ylabel(_ordinate(record, label))
        _legend(axes, "learnt from\n(area: log spectra / s)")
    return figure


def labels_needed(record: LearningRecord, label: str) -> Figure:
    """Return R² against the number of labelled stars, one line per way to train."""
    from matplotlib.figure import Figure

    with house_style():
        figure = Figure(figsize=(6.2, 3.6), layout="constrained")
        axes = figure.subplots()
        ways = list(dict.fromkeys(row.how for row in record.rows if row.spectra))
        for at, how in enumerate(ways):
            rows = [row for row in record.rows if row.how == how and row.label == label]
            values, low, high = _ends(rows)
            look: dict[str, Any] = {
                "color": MODEL_COLOURS[at % len(MODEL_COLOURS)],
                "marker": MARKERS[at % len(MARKERS)],
            }
            dash = "--" if how == SCRATCH else "-"
            axes.errorbar(
                [row.spectra for row in rows], values, yerr=[values - low, high - values], label=how,
                linestyle=dash, markersize=4, **look,
            )  # fmt: skip
        for row in record.rows:
            if row.label == label and not row.spectra and row.r2.value is not None:
                axes.axhline(row.r2.value, color=MUTED, linewidth=0.8, linestyle=":", label=row.how)
        ceiling = record.ceiling.get(label)
        if ceiling is not None and ceiling.value is not None:
            if ceiling.low is not None and ceiling.high is not None:
                axes.axhspan(ceiling.low, ceiling.high, color=CEILING_BAND, linewidth=0)
            axes.axhline(ceiling.value, color=INK, linewidth=0.9)
        _logarithmic(axes, "labelled stars")
        axes.set_ylabel(f"R² of {label_name(label)}")
        _legend(axes, "trained")
    return figure


def _logarithmic(axes: Axes, name: str) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set_xscale("log")
    axes.set_xlabel(name)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: count(round(value))))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _legend(axes: Axes, title: str) -> None:
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)}
    axes.legend(fontsize=7, title=title, title_fontsize=7, **place)


def _points(axes: Axes, rows: list[LearningRow], at: int, how: str) -> None:
    values, low, high = _ends(rows, shares=True)
    sizes = [row.parameters for row in rows]
    colour = MODEL_COLOURS[at % len(MODEL_COLOURS)]
    axes.errorbar(sizes, values, yerr=[values - low, high - values], fmt="none", color=colour, elinewidth=0.8)
    areas = [AREA * max(np.log10(max(row.speed, SLOW) / SLOW), 0.3) for row in rows]
    axes.scatter(sizes, values, s=areas, color=colour, marker=MARKERS[at % len(MARKERS)], label=how)


def _ends(rows: list[LearningRow], shares: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values and ends of intervals; shares of the ceiling where they are known and wanted."""
    scores = [row.share if shares and row.share is not None else row.r2 for row in rows]
    value = np.array([np.nan if score.value is None else score.value for score in scores])
    low = np.array([v if s.low is None else s.low for s, v in zip(scores, value, strict=True)])
    high = np.array([v if s.high is None else s.high for s, v in zip(scores, value, strict=True)])
    return value, low, high


def _ordinate(record: LearningRecord, label: str) -> str:
    return f"share of the ceiling, {label_name(label)}" if record.ceiling else f"R² of {label_name(label)}"
