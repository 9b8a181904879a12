"""Figures of studies: scores of variants as dots, along a number, as a matrix; and all effects at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from specvit.hub import Knowledge, Known
from specvit.hub.conditions import config_of
from specvit.report.palette import CEILING_BAND, INK, MARKERS, MODEL_COLOURS, MUTED
from specvit.report.style import house_style
from specvit.report.words import decimals_of, label_name, number
from specvit.runs import ALL, Score
from specvit.runs.study_result import StudyResult, VariantFacts, Verdict
from specvit.studies.variants import dotted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Inch: width of a figure, height of a row of dots.
WIDTH, ROW = 5.6, 0.24
_COLOURS: dict[Verdict, str] = {
    "supported": MODEL_COLOURS[2],
    "refuted": MODEL_COLOURS[1],
    "undecided": MUTED,
}
_SHAPES: dict[Verdict, str] = {"supported": "o", "refuted": "s", "undecided": "D"}


def score_of_variant(facts: VariantFacts) -> Score:
    """Return what figures show of a variant: expected R² where there are exact posteriors, else R²."""
    scores = facts.scores.get(ALL, {})
    return scores.get("expected_r2") or scores.get("r2") or Score(value=None)


def score_name(results: Sequence[StudyResult]) -> str:
    """Return what `score_of_variant` is of all of some results."""
    labels = " and ".join(dict.fromkeys(label_name(result.label) for result in results))
    exact = {result.exact for result in results}
    kind = "R²" if exact == {False} else "expected R²" if exact == {True} else "R² (expected where exact)"
    return f"{kind} of {labels}"


def draw_dots(studies: Sequence[Known]) -> Figure:
    """Return a row per variant under a heading per study: score with its 95 % interval, and its ceiling as a bar."""
    from matplotlib.figure import Figure

    results = _results(studies)
    rows: list[tuple[str, VariantFacts | None]] = []
    for known, result in zip(studies, results, strict=True):
        rows.append((known.title, None))
        rows += list(result.variants.items())
    with house_style():
        figure = Figure(figsize=(WIDTH, 0.7 + ROW * len(rows)), layout="constrained")
        axes = figure.subplots()
        for at, (_, facts) in enumerate(rows):
            if facts is not None:
                _dot(axes, at, score_of_variant(facts), INK, "o")
                ceiling = facts.scores.get(ALL, {}).get("ceiling")
                if ceiling is not None and ceiling.value is not None:
                    axes.plot([ceiling.value], [at], "|", color=MUTED, markersize=9)
        axes.set_yticks(range(len(rows)), [name if facts else "" for name, facts in rows])
        for at, (title, facts) in enumerate(rows):
            if facts is None:
                axes.annotate(
                    title,
                    (0, at),
                    xycoords=("axes fraction", "data"),
                    va="center",
                    fontsize=8.5,
                    weight="bold",
                )
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(f"{score_name(results)} (bar: ceiling)")
        axes.grid(axis="x")
    return figure


def draw_curves(studies: Sequence[Known], key: str, knowledge: Knowledge, axis: str = "") -> Figure:
    """Return score over a number of the configuration, a line for all variants that differ in it alone.

    Args:
        studies: whose variants are drawn.
        key: of a trial's configuration, dotted.
        knowledge: what is known.
        axis: what a reader calls the key; the key itself if left out.
    """
    from matplotlib.figure import Figure

    lines: dict[str, list[tuple[float, VariantFacts]]] = {}
    for known, result in zip(studies, _results(studies), strict=True):
        for name, facts in result.variants.items():
            config = config_of(known, name, knowledge)
            x = None if config is None else dotted(config.to_dict()).get(key)
            if isinstance(x, int | float):
                lines.setdefault(_line_name(known, name, key), []).append((float(x), facts))
    with house_style():
        figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
        axes = figure.subplots()
        for at, (name, points) in enumerate(lines.items()):
            points.sort(key=lambda point: point[0])
            colour, marker = MODEL_COLOURS[at % len(MODEL_COLOURS)], MARKERS[at % len(MARKERS)]
            scores = [score_of_variant(facts) for _, facts in points]
            xs = np.array([x for x, _ in points])
            middle, low, high = _bounds(scores)
            axes.errorbar(
                xs,
                middle,
                yerr=[middle - low, high - middle],
                color=colour,
                marker=marker,
                label=name,
                capsize=2,
            )
            ceilings = [facts.scores.get(ALL, {}).get("ceiling") for _, facts in points]
            if all(one is not None for one in ceilings):
                ceiling, *_ = _bounds([one for one in ceilings if one is not None])
                axes.plot(xs, ceiling, color=MUTED, linestyle="--", linewidth=1, zorder=1)
        axes.set_xscale("log")
        ticks = sorted({x for points in lines.values() for x, _ in points})
        axes.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel(axis or key)
        axes.set_ylabel(f"{score_name(_results(studies))} (dashed: ceiling)")
        if lines:
            axes.legend()
        axes.grid(axis="y")
    return figure


def draw_learning(studies: Sequence[Known]) -> Figure:
    """Return R² of validation spectra along the trainings, a line for every variant that tells it."""
    from matplotlib.figure import Figure

    results = _results(studies)
    with house_style():
        figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
        axes = figure.subplots()
        lines = [
            (f"{result.id}: {name}", facts.learning)
            for result in results
            for name, facts in result.variants.items()
            if facts.learning
        ]
        for at, (name, points) in enumerate(lines):
            look = MODEL_COLOURS[at % len(MODEL_COLOURS)], MARKERS[at % len(MARKERS)]
            steps, values = zip(*points, strict=True)
            axes.plot(steps, values, color=look[0], marker=look[1], markersize=4, label=name)
        axes.set_xlabel("optimiser steps")
        axes.set_ylabel(
            f"R² of {' and '.join(dict.fromkeys(label_name(r.label) for r in results))}, validation"
        )
        axes.legend()
        axes.grid(axis="y")
    return figure


def draw_shares(studies: Sequence[Known]) -> Figure:
    """Return a row per share of some studies: value with its 95 % interval, and a cross where it was published to be."""
    from matplotlib.figure import Figure

    rows = [facts for result in _results(studies) for facts in result.shares.values()]
    with house_style():
        figure = Figure(figsize=(WIDTH + 1.2, 0.7 + ROW * max(len(rows), 1)), layout="constrained")
        axes = figure.subplots()
        for at in (0, 1):
            axes.axvline(at, color=MUTED, linewidth=0.8, zorder=0)
        for at, facts in enumerate(rows):
            _dot(axes, at, facts.share, INK, "o")
            if facts.published is not None:
                axes.plot([facts.published], [at], "x", color=MODEL_COLOURS[1], markersize=5)
        undefined = ["" if facts.share.value is not None else " (not defined)" for facts in rows]
        names = [f"{facts.text}{mark}" for facts, mark in zip(rows, undefined, strict=True)]
        axes.set_yticks(range(len(rows)), [_shortened(name) for name in names])
        axes.set_ylim(max(len(rows), 1) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("share (cross: published)")
        axes.grid(axis="x")
    return figure


def draw_matrix(known: Known) -> Figure:
    """Return the scores of a study of two factors as a table of shades and numbers."""
    from matplotlib.figure import Figure

    (result,) = _results([known])
    pairs = [name.partition("/")[::2] for name in result.variants]
    rows, columns = (list(dict.fromkeys(pair[axis] for pair in pairs)) for axis in (0, 1))
    values = np.full((len(rows), len(columns)), np.nan)
    texts: dict[tuple[int, int], str] = {}
    for (row, column), facts in zip(pairs, result.variants.values(), strict=True):
        place = rows.index(row), columns.index(column)
        score = score_of_variant(facts)
        if score.value is not None:
            values[place] = score.value
            texts[place] = number(score.value, decimals_of(score))
    with house_style():
        figure = Figure(figsize=(1.6 + 0.95 * len(columns), 0.9 + 0.55 * len(rows)), layout="constrained")
        axes = figure.subplots()
        low, high = (np.nanmin(values), np.nanmax(values)) if texts else (0.0, 1.0)
        # Light shades alone, on which black numbers can be read.
        axes.imshow(values, cmap="Blues", vmin=low, vmax=high + 1.2 * (high - low or 1.0), aspect="auto")
        for (down, right), text in texts.items():
            axes.text(right, down, text, ha="center", va="center", color=INK)
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), rows)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(score_name([result]))
    return figure


def draw_effects(studies: Sequence[Known]) -> Figure:
    """Return every effect of every comparison over the smallest that could have been seen, with its 95 % interval."""
    from matplotlib.figure import Figure

    rows = [
        (f"{known.id}: {claim.text}", effect, claim.verdict)
        for known, result in zip(studies, _results(studies), strict=True)
        for claim in result.claims
        for effect in claim.effects
        if effect.detectable > 0
    ]
    with house_style():
        figure = Figure(figsize=(WIDTH + 1.6, 0.8 + 0.2 * max(len(rows), 1)), layout="constrained")
        axes = figure.subplots()
        axes.axvspan(-1, 1, color=CEILING_BAND, zorder=0)
        axes.axvline(0, color=MUTED, linewidth=0.8)
        for at, (_, effect, verdict) in enumerate(rows):
            value, low, high = (x / effect.detectable for x in (effect.value, effect.low, effect.high))
            _dot(axes, at, Score(value=value, low=low, high=high), _COLOURS[verdict], _SHAPES[verdict])
        axes.set_yticks(range(len(rows)), [_shortened(text) for text, *_ in rows], fontsize=6.5)
        axes.set_ylim(max(len(rows), 1) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(
            "effect over the smallest that could have been seen (left of zero the comparison holds)"
        )
    return figure


def _results(studies: Sequence[Known]) -> list[StudyResult]:
    return [known.counted for known in studies if known.counted is not None]


def _dot(axes: Axes, at: float, score: Score, colour: str, marker: str) -> None:
    if score.value is None:
        return
    low, high = (score.value if end is None else end for end in (score.low, score.high))
    axes.plot([low, high], [at, at], color=colour, linewidth=1.2, solid_capstyle="butt")
    axes.plot([score.value], [at], marker, color=colour, markersize=4.5)


def _bounds(scores: Sequence[Score]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values, lower and upper ends, NaN where there is no score."""
    rows = [
        (
            np.nan if value is None else value
            for value in (
                s.value,
                s.low if s.low is not None else s.value,
                s.high if s.high is not None else s.value,
            )
        )
        for s in scores
    ]
    middle, low, high = np.array([list(row) for row in rows], dtype=float).reshape(-1, 3).T
    return middle, low, high


def _line_name(known: Known, variant: str, key: str) -> str:
    """Return the study and the levels of a variant that say nothing of the key."""
    if known.study is None:
        return known.id
    levels = zip(known.study.factors.values(), variant.split("/"), strict=True)
    rest = [level for factor, level in levels if not any(key in dotted(keys) for keys in factor.values())]
    return f"{known.id}: {', '.join(rest)}" if rest else known.id


def _shortened(text: str, most: int = 70) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
