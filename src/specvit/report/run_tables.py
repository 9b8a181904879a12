"""The tables of a run: scores, scores by S/N, efficiency, residuals, coverage, label cells, explanations.

Lays out stored scores; computes none.
"""

from __future__ import annotations

import numpy as np

from specvit.report.contents import RunContents
from specvit.report.cost_table import cost_table
from specvit.report.explain_table import explain_table
from specvit.report.tables import Cell, Table
from specvit.report.words import METRIC_NAMES, caption_note, count, label_name, metric_name, number
from specvit.runs import Score

#: Metrics of the table of models; coverage has a table of its own.
OVERALL = tuple(name for name in METRIC_NAMES if not name.startswith(("coverage", "residual")))
#: What the column of the CRLB says.
AGAINST_CRLB = (
    " That ceiling is a bound for every estimator. 'CRLB' columns are relative to 1 - mean of "
    "V·CRLB / (V + CRLB) / variance of the truth, same spectra, which is what it would be if prior and "
    "likelihood were Gaussian: an approximation, which a model may exceed."
)
#: Metrics that carry the unit of the target.
WITH_UNIT = ("mae", "rmse", "bias")


def run_tables(run: RunContents) -> list[Table]:
    """Return every table this run can fill, in the order of the report."""
    tables = [model_table(run), snr_table(run)]
    if run.summary.ceiling is not None:
        tables.append(efficiency_table(run))
    if any("efficiency_expected" in model.bins for model in run.summary.models.values()):
        tables.append(expected_table(run))
    if any("coverage_68" in model.bins for model in run.summary.models.values()):
        tables.append(coverage_table(run))
    tables += [metric_table(run, "mae"), metric_table(run, "rmse"), residual_table(run), cost_table(run)]
    if run.cells is not None:
        tables.append(cell_table(run))
    if run.explain is not None:
        tables.append(explain_table(run.explain))
    return tables


def model_table(run: RunContents) -> Table:
    """Return one row per model: scores over all test spectra, and seconds."""
    summary = run.summary
    metrics = [m for m in OVERALL if any(m in model.overall for model in summary.models.values())]
    steps = sorted({step for model in summary.models.values() for step in model.seconds})
    units = [f" [{summary.unit}]" if metric in WITH_UNIT else "" for metric in metrics]
    head = (
        "model",
        *(metric_name(m) + u for m, u in zip(metrics, units, strict=True)),
        *(f"{s} [s]" for s in steps),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            f"{model.title}, above the Bayes ceiling: leakage or a bug"
            if model.above_ceiling
            else model.title,
            *(model.overall.get(m) for m in metrics),
            *(model.seconds.get(s) for s in steps),
        )
        for model in summary.models.values()
    ]
    if summary.ceiling is not None and summary.ceiling.bayes is not None:
        rest = len(head) - 1 - metrics.index("r2") - 1
        name = "Bayes ceiling, not converged" if summary.ceiling.converged is False else "Bayes ceiling"
        rows.append((name, *(None,) * metrics.index("r2"), summary.ceiling.bayes, *(None,) * rest))
    against = ""
    if summary.ceiling is not None:
        against = (
            f" Efficiency is R² over the ceiling's, headroom the ceiling's R² less the model's, on "
            f"{count(summary.ceiling.stars)} spectra; the ceiling is {summary.ceiling.definition}."
            + (AGAINST_CRLB if "efficiency_crlb" in metrics else "")
        )
    lost = "".join(
        f" {model.title} gives no estimate for {count(model.missing)} spectra; they are in none of its "
        "scores."
        for model in summary.models.values()
        if model.missing
    )
    caption = (
        f"Scores of {label_name(summary.target)} on all test spectra. {caption_note(run)}{against}{lost}"
    )
    return Table("models", caption, head, tuple(rows))


def snr_table(run: RunContents) -> Table:
    """Return one row per S/N bin: R² of every model and the ceilings."""
    summary, bins = run.summary, run.summary.snr_bins
    columns = _bin_columns(run)
    for model in summary.models.values():
        columns[f"R² {model.title}"] = list(model.bins["r2"])
    if summary.ceiling is not None:
        if summary.ceiling.bayes_bins is not None:
            columns["R² Bayes ceiling"] = list(summary.ceiling.bayes_bins)
        for labels in ("3", "5"):
            columns[f"Cramér–Rao ceiling, {labels} labels"] = list(summary.ceiling.bins[f"r2_max_{labels}"])
    outside = f" {count(bins.outside)} spectra lie in no bin." if bins.outside else ""
    if summary.ceiling is not None:
        outside = (
            " The Cramér–Rao ceiling is the median star's, with the range of 10–90 % of stars." + outside
        )
    return _table("snr_bins", f"R² of {label_name(summary.target)} by S/N.", run, columns, outside)


def efficiency_table(run: RunContents) -> Table:
    """Return one row per S/N bin: efficiency of every model, also against the CRLB where that differs."""
    summary = run.summary
    assert summary.ceiling is not None
    columns = _bin_columns(run)
    for model in summary.models.values():
        columns[model.title] = list(model.bins["efficiency"])
        if "efficiency_crlb" in model.bins:
            columns[f"{model.title}, CRLB"] = list(model.bins["efficiency_crlb"])
    title = f"Efficiency by S/N: R² of {label_name(summary.target)} over R² of the ceiling."
    against = f" The ceiling is {summary.ceiling.definition}."
    if any("efficiency_crlb" in model.bins for model in summary.models.values()):
        against += AGAINST_CRLB
    return _table("efficiency", title, run, columns, against)


def expected_table(run: RunContents) -> Table:
    """Return one row per S/N bin: the efficiency of every model without the luck of the stars drawn."""
    columns = _bin_columns(run)
    for model in run.summary.models.values():
        columns[model.title] = list(model.bins["efficiency_expected"])
    title = (
        "Expected efficiency by S/N: 1 − mean (estimate − exact posterior mean)² / (variance of the truth − "
        "mean posterior variance). The efficiency itself also holds where the true values of a bin happened "
        "to lie, which moves R² of all models alike."
    )
    return _table("efficiency_expected", title, run, columns)


def coverage_table(run: RunContents) -> Table:
    """Return one row per S/N bin: how often the stated intervals of each model hold the truth."""
    columns = _bin_columns(run)
    for model in run.summary.models.values():
        for share in ("68", "95"):
            if f"coverage_{share}" in model.bins:
                columns[f"{model.title}, {share} %"] = list(model.bins[f"coverage_{share}"])
    title = (
        "Coverage by S/N: share of true values inside the central 68 % and 95 % of the stated quantiles, or "
        "of a Gaussian where a model states an error only; honest errors give 0.68 and 0.95."
    )
    return _table("coverage", title, run, columns)


def metric_table(run: RunContents, metric: str) -> Table:
    """Return one row per S/N bin: one error measure, in the unit of the target, of every model."""
    columns = _bin_columns(run)
    for model in run.summary.models.values():
        columns[model.title] = list(model.bins[metric])
    title = f"{metric_name(metric)} of {label_name(run.summary.target)} by S/N [{run.summary.unit}]."
    return _table(f"{metric}_bins", title, run, columns)


def residual_table(run: RunContents) -> Table:
    """Return one row per S/N bin: the smallest errors there can be, and those of every model."""
    summary = run.summary
    columns = _bin_columns(run)
    if summary.ceiling is not None:
        columns |= {"√CRLB, 5 labels": list(summary.ceiling.bins["sigma_min_5"])}
        if "posterior_std" in summary.ceiling.bins:
            columns |= {"posterior std": list(summary.ceiling.bins["posterior_std"])}
    for model in summary.models.values():
        for share in ("50", "68"):
            columns[f"{model.title}, {share} %"] = list(model.bins[f"residual_{share}"])
    title = (
        f"Residuals of {label_name(summary.target)} by S/N [{summary.unit}]: the |residual| that 50 % and "
        "68 % of the spectra stay below; bounds are the median star's, with the range of 10–90 % of stars."
    )
    return _table("residuals", title, run, columns)


def cell_table(run: RunContents) -> Table:
    """Return one row per cell of labels and S/N with enough stars: ceiling, precision and efficiency."""
    cells = run.cells
    assert cells is not None
    first, second = (label_name(str(name)) for name in cells["axes"])
    head = ["S/N", first, second, "stars", "R² ceiling"]
    head += [
        f"{m.title}: {what}" for m in run.summary.models.values() for what in ("precision", "efficiency")
    ]
    rows: list[tuple[Cell, ...]] = []
    for k, j, i in np.argwhere(cells["stars"] >= cells["least_stars"]):
        scores = [
            Score(
                **{
                    part: _finite(cells[f"{kind}_{name}{ending}"][k, j, i])
                    for part, ending in (("value", ""), ("low", "_low"), ("high", "_high"))
                }
            )
            for name in run.summary.models
            for kind in ("precision", "efficiency")
        ]
        place = (
            _range(cells["snr_edges"], k, 1),
            _range(cells["first_edges"], i, 2),
            _range(cells["second_edges"], j, 2),
        )
        rows.append((*place, int(cells["stars"][k, j, i]), Score(value=cells["ceiling"][k, j, i]), *scores))
    limit = "the exact posterior's" if cells["exact"] else "V·CRLB / (V + CRLB)"
    caption = (
        f"Where in the plane of {first} and {second} the attainable is attained. Precision is attainable "
        "RMSE / RMSE, efficiency R² / ceiling R² about the prior's variance; the attainable variance is "
        f"{limit}. Cells with fewer than {int(cells['least_stars'])} stars are left out. {caption_note(run)}"
    )
    return Table("cells", caption, tuple(head), tuple(rows))


def _bin_columns(run: RunContents) -> dict[str, list]:
    bins = run.summary.snr_bins
    return {
        "S/N": [_range(bins.edges, k, 1) for k in range(len(bins.counts))],
        "median S/N": list(bins.median),
        "spectra": list(bins.counts),
    }


def _table(name: str, title: str, run: RunContents, columns: dict[str, list], more: str = "") -> Table:
    rows = tuple(zip(*columns.values(), strict=True))
    return Table(name, f"{title} {caption_note(run)}{more}", tuple(columns), rows)


def _range(edges: np.ndarray | list[float], k: int, digits: int) -> str:
    low, high = edges[k], edges[k + 1]
    digits = 0 if high > 100 else digits
    return f"{number(float(low), digits)} – {number(float(high), digits)}"


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
