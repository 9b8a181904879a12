"""The tables of a run: scores, scores by label and slice, by S/N, residuals, coverage, label cells, explanations.

Lays out stored scores; computes none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from specvit.report.contents import RunContents
from specvit.report.cost_table import cost_table
from specvit.report.explain_table import explain_table
from specvit.report.tables import Cell, Table
from specvit.report.true_label_table import true_label_table
from specvit.report.words import (
    METRIC_NAMES,
    caption_note,
    count,
    is_above_ceiling,
    label_name,
    metric_name,
    number,
    set_name,
)
from specvit.runs import ALL, CeilingFacts, Score

#: Metrics of the table of models; coverage and residuals have tables of their own.
OVERALL = tuple(name for name in METRIC_NAMES if not name.startswith(("coverage", "residual")))
#: What the column of the CRLB says.
AGAINST_CRLB = (
    " That ceiling is a bound for every estimator. 'CRLB' columns are relative to 1 - mean of "
    "V·CRLB / (V + CRLB) / variance of the truth, same spectra, which is what it would be if prior and "
    "likelihood were Gaussian: an approximation, which a model may exceed."
)
#: What a dash among efficiencies says.
NOTHING_TO_ATTAIN = "a dash: the spectra say no more than the prior there, so nothing can be attained"
#: Metrics that carry the unit of the label.
WITH_UNIT = ("mae", "rmse", "bias", "scatter")


def run_tables(run: RunContents) -> list[Table]:
    """Return every table this run can fill, in the order of the report."""
    tables = [model_table(run)]
    if len(run.summary.labels) > 1:
        tables.append(label_table(run))
    tables.append(snr_table(run))
    if run.summary.ceiling is not None:
        tables.append(efficiency_table(run))
    if run.summary.has("efficiency_expected"):
        tables.append(expected_table(run))
    if any(part.kind == "named" for part in run.summary.slices.values()):
        tables.append(slice_table(run))
    if run.summary.has("coverage_68"):
        tables.append(coverage_table(run))
    by_truth = true_label_table(run)
    tables += [] if by_truth is None else [by_truth]
    tables += [metric_table(run, "mae"), metric_table(run, "rmse"), residual_table(run), cost_table(run)]
    if run.cells is not None:
        tables.append(cell_table(run))
    if run.explain is not None:
        tables.append(explain_table(run.explain))
    return tables


def model_table(run: RunContents) -> Table:
    """Return one row per estimator of the target: scores over all test spectra, and seconds."""
    summary = run.summary
    metrics = [metric for metric in OVERALL if summary.has(metric)]
    facts = {name: summary.estimators[name] for name in run.names}
    steps = sorted({step for one in facts.values() for step in one.seconds})
    units = [f" [{summary.unit}]" if metric in WITH_UNIT else "" for metric in metrics]
    head = ("model", *map(str.__add__, map(metric_name, metrics), units), *(f"{s} [s]" for s in steps))
    rows: list[tuple[Cell, ...]] = [
        (
            f"{one.title}, above the Bayes ceiling: leakage or a bug"
            if is_above_ceiling(run, name)
            else one.title,
            *(summary.score(name, metric) for metric in metrics),
            *(one.seconds.get(step) for step in steps),
        )
        for name, one in facts.items()
    ]
    ceiling, against = summary.ceiling, ""
    if ceiling is not None and ceiling.exact:
        before = metrics.index("r2")
        rest = len(head) - 1 - before - 1
        rows.append((_ceiling_name(ceiling), *(None,) * before, ceiling.bayes[ALL], *(None,) * rest))
    if ceiling is not None:
        against = (
            f" Efficiency is R² over the ceiling's, headroom the ceiling's R² less the model's, on "
            f"{count(ceiling.stars)} spectra; the ceiling is {ceiling.definition}."
            + (AGAINST_CRLB if "efficiency_crlb" in metrics else "")
        )
    lost = "".join(
        f" {one.title} gives no estimate for {count(missing)} spectra; they are in none of its scores."
        for one in facts.values()
        if (missing := one.missing.get(run.target, 0))
    )
    caption = f"Scores of {label_name(run.target)} on all test spectra. {caption_note(run)}{against}{lost}"
    return Table("models", caption, head, tuple(rows))


def label_table(run: RunContents) -> Table:
    """Return one row per label and estimator, the target first: R², MAE, coverage and efficiency over all spectra."""
    summary = run.summary
    labels = [run.target, *(label for label in summary.labels if label != run.target)]
    shown = ("r2", "mae", "coverage_68", "efficiency", "efficiency_expected")
    metrics = [metric for metric in shown if any(summary.has(metric, label) for label in labels)]
    rows: list[tuple[Cell, ...]] = []
    for label in labels:
        name = f"{label_name(label)} [{summary.labels[label].unit}]"
        for estimator in summary.estimating(label):
            scores = (summary.score(estimator, metric, label) for metric in metrics)
            rows.append((name, run.title(estimator), *scores))
        ceiling = summary.ceilings.get(label)
        if ceiling is not None and ceiling.exact:
            rows.append((name, _ceiling_name(ceiling), ceiling.bayes[ALL], *(None,) * (len(metrics) - 1)))
    caption = f"Every label, over all test spectra; MAE is in the label's unit. {caption_note(run)}"
    return Table("labels", caption, ("label", "model", *map(metric_name, metrics)), tuple(rows))


def slice_table(run: RunContents) -> Table:
    """Return one row per named slice: R² of the target of every estimator, and the ceiling."""
    summary = run.summary
    named = {name: part for name, part in summary.slices.items() if part.kind in ("all", "named")}
    columns: dict[str, list[Any]] = {
        "spectra are": list(named),
        "spectra": [part.spectra for part in named.values()],
        "median S/N": [part.median_snr for part in named.values()],
    }
    for name in run.names:
        columns[f"R² {run.title(name)}"] = [summary.score(name, "r2", part=part) for part in named]
    if summary.ceiling is not None and summary.ceiling.exact:
        columns["R² Bayes ceiling"] = [summary.ceiling.bayes[part] for part in named]
    words = "; ".join(f"{name}: {part.definition}" for name, part in named.items() if part.kind == "named")
    title = (
        f"R² of {label_name(run.target)} in parts of the test spectra, about the mean of each part ({words})."
    )
    return _table("slices", title, run, columns)


def snr_table(run: RunContents) -> Table:
    """Return one row per S/N bin: R² of every estimator and the ceilings."""
    summary = run.summary
    columns = _bin_columns(run)
    for name in run.names:
        columns[f"R² {run.title(name)}"] = list(summary.over_bins(name, "r2"))
    more = f" {count(summary.outside)} spectra lie in no bin." if summary.outside else ""
    if summary.ceiling is not None:
        if summary.ceiling.exact:
            columns["R² Bayes ceiling"] = [summary.ceiling.bayes[part] for part in summary.bins]
        for free in reversed(summary.ceiling.sets):
            spreads = [summary.ceiling.spreads[part][f"r2_max_{free.at}"] for part in summary.bins]
            columns[f"Cramér–Rao ceiling, {set_name(free)}"] = list(spreads)
        more = " The Cramér–Rao ceiling is the median star's, with the range of 10–90 % of stars." + more
    return _table("snr_bins", f"R² of {label_name(run.target)} by S/N.", run, columns, more)


def efficiency_table(run: RunContents) -> Table:
    """Return one row per S/N bin: efficiency of every estimator, also against the CRLB where that differs."""
    summary = run.summary
    assert summary.ceiling is not None
    columns, by_crlb = _bin_columns(run), summary.has("efficiency_crlb")
    for name in run.names:
        columns[run.title(name)] = list(summary.over_bins(name, "efficiency"))
        if by_crlb:
            columns[f"{run.title(name)}, CRLB"] = list(summary.over_bins(name, "efficiency_crlb"))
    title = f"Efficiency by S/N: R² of {label_name(run.target)} over R² of the ceiling; {NOTHING_TO_ATTAIN}."
    against = f" The ceiling is {summary.ceiling.definition}." + (AGAINST_CRLB if by_crlb else "")
    return _table("efficiency", title, run, columns, against)


def expected_table(run: RunContents) -> Table:
    """Return one row per S/N bin: the efficiency of every estimator without the luck of the stars drawn."""
    columns = _bin_columns(run)
    for name in run.names:
        columns[run.title(name)] = list(run.summary.over_bins(name, "efficiency_expected"))
    title = (
        "Expected efficiency by S/N: 1 − mean (estimate − exact posterior mean)² / (variance of the truth − "
        "mean posterior variance). The efficiency itself also holds where the true values of a bin happened "
        f"to lie, which moves R² of all models alike ({NOTHING_TO_ATTAIN})."
    )
    return _table("efficiency_expected", title, run, columns)


def coverage_table(run: RunContents) -> Table:
    """Return one row per S/N bin: how often the stated intervals of each estimator hold the truth."""
    columns = _bin_columns(run)
    for name in run.names:
        for share in ("68", "95"):
            if run.summary.score(name, f"coverage_{share}") is not None:
                scores = run.summary.over_bins(name, f"coverage_{share}")
                columns[f"{run.title(name)}, {share} %"] = list(scores)
    title = (
        "Coverage by S/N: share of true values inside the central 68 % and 95 % of the stated quantiles, or "
        "of a Gaussian where a model states an error only; honest errors give 0.68 and 0.95."
    )
    return _table("coverage", title, run, columns)


def metric_table(run: RunContents, metric: str) -> Table:
    """Return one row per S/N bin: one error measure, in the unit of the target, of every estimator."""
    columns = _bin_columns(run)
    for name in run.names:
        columns[run.title(name)] = list(run.summary.over_bins(name, metric))
    title = f"{metric_name(metric)} of {label_name(run.target)} by S/N [{run.summary.unit}]."
    return _table(f"{metric}_bins", title, run, columns)


def residual_table(run: RunContents) -> Table:
    """Return one row per S/N bin: the smallest errors there can be, and those of every estimator."""
    ceiling, bins = run.summary.ceiling, run.summary.bins
    columns = _bin_columns(run)
    if ceiling is not None:
        everything = ceiling.sets[0]
        spreads = [ceiling.spreads[part][f"sigma_min_{everything.at}"] for part in bins]
        columns[f"√CRLB, {set_name(everything)}"] = list(spreads)
        if ceiling.exact:
            columns["posterior std"] = [ceiling.spreads[part]["posterior_std"] for part in bins]
    for name in run.names:
        for share in ("50", "68"):
            scores = run.summary.over_bins(name, f"residual_{share}")
            columns[f"{run.title(name)}, {share} %"] = list(scores)
    title = (
        f"Residuals of {label_name(run.target)} by S/N [{run.summary.unit}]: the |residual| that 50 % and "
        "68 % of the spectra stay below; bounds are the median star's, with the range of 10–90 % of stars."
    )
    return _table("residuals", title, run, columns)


def cell_table(run: RunContents) -> Table:
    """Return one row per cell of labels and S/N with enough stars: ceiling, precision and efficiency."""
    cells = run.cells
    assert cells is not None
    first, second = (label_name(str(name)) for name in cells.axes)
    head = ["S/N", first, second, "stars", "R² ceiling"]
    head += [f"{run.title(name)}: {what}" for name in run.names for what in ("precision", "efficiency")]
    rows: list[tuple[Cell, ...]] = []
    for k, j, i in np.argwhere(cells.stars >= cells.least_stars):
        scores = [
            _score(cells.of(kind, name)[k, j, i])
            for name in run.names
            for kind in ("precision", "efficiency")
        ]
        place = (
            _range(cells.snr_edges, k, 1),
            _range(cells.first_edges, i, 2),
            _range(cells.second_edges, j, 2),
        )
        rows.append((*place, int(cells.stars[k, j, i]), Score(value=cells.ceiling[k, j, i]), *scores))
    limit = "the exact posterior's" if cells.exact else "V·CRLB / (V + CRLB)"
    caption = (
        f"Where in the plane of {first} and {second} the attainable is attained. Precision is attainable "
        "RMSE / RMSE, efficiency R² / ceiling R² about the prior's variance; the attainable variance is "
        f"{limit}. Cells with fewer than {int(cells.least_stars)} stars are left out. {caption_note(run)}"
    )
    return Table("cells", caption, tuple(head), tuple(rows))


def _ceiling_name(ceiling: CeilingFacts) -> str:
    return "Bayes ceiling, not converged" if ceiling.ceiling_converged is False else "Bayes ceiling"


def _bin_columns(run: RunContents) -> dict[str, list[Any]]:
    parts = [run.summary.slices[name] for name in run.summary.bins]
    return {
        "S/N": [_range(part.edges or (0.0, 0.0), 0, 1) for part in parts],
        "median S/N": [part.median_snr for part in parts],
        "spectra": [part.spectra for part in parts],
    }


def _table(name: str, title: str, run: RunContents, columns: dict[str, list[Any]], more: str = "") -> Table:
    rows = tuple(zip(*columns.values(), strict=True))
    return Table(name, f"{title} {caption_note(run)}{more}", tuple(columns), rows)


def _range(edges: np.ndarray | tuple[float, float], k: int, digits: int) -> str:
    low, high = edges[k], edges[k + 1]
    digits = 0 if high > 100 else digits
    return f"{number(float(low), digits)} – {number(float(high), digits)}"


def _score(parts: np.ndarray) -> Score:
    value, low, high = (float(part) if np.isfinite(part) else None for part in parts)
    return Score(value=value, low=low, high=high)
