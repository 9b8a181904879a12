"""Scores of the target in bins of its own true value, as a table."""

from __future__ import annotations

from specvit.report.contents import RunContents
from specvit.report.tables import Cell, Table
from specvit.report.words import count, label_name, range_text
from specvit.runs import Score, TrueBin
from specvit.runs.true_bins import WHY

#: Standard errors to either side that hold 95 % of a Gaussian.
REACH = 1.96


def true_label_table(run: RunContents) -> Table | None:
    """Return one row per bin of the true target: bias, RMSE and coverage of every estimator; None without them."""
    found = {name: run.summary.by_true_label.get(name, {}).get(run.target, ()) for name in run.names}
    found = {name: bins for name, bins in found.items() if bins}
    if not found:
        return None
    ranges = list(dict.fromkeys((one.low, one.high) for bins in found.values() for one in bins))
    most = dict.fromkeys(ranges, 0)
    columns: dict[str, list[Cell]] = {}
    for name, bins in found.items():
        at = {(one.low, one.high): one for one in bins}
        of = [at.get(edges) for edges in ranges]
        most |= {edges: max(most[edges], one.spectra) for edges, one in at.items()}
        columns[f"{run.title(name)}: bias"] = [_bias(one) for one in of]
        columns[f"{run.title(name)}: RMSE"] = [None if one is None else Score(value=one.rms) for one in of]
        if any(one is not None and one.coverage_68 is not None for one in of):
            columns[f"{run.title(name)}: in 68 % interval"] = [_coverage(one) for one in of]
    places: list[Cell] = [range_text(low, high) for low, high in ranges]
    rows = zip(places, most.values(), *columns.values(), strict=True)
    target = label_name(run.target)
    caption = (
        f"Scores by true {target} [{run.summary.unit}]: mean of estimate − truth, root of its mean square, and the "
        f"share of true values inside the stated 68 % intervals. {WHY} {count(len(run.test))} test spectra; the "
        "ranges below values are 95 %, from standard errors."
    )
    return Table("true_label", caption, (f"true {target}", "spectra", *columns), tuple(rows))


def _bias(one: TrueBin | None) -> Cell:
    return None if one is None else _around(one.bias, one.bias_error)


def _coverage(one: TrueBin | None) -> Cell:
    if one is None:
        return None
    around = _around(one.coverage_68, one.coverage_68_error)
    if around.low is None or around.high is None:
        return around
    return Score(value=around.value, low=max(around.low, 0.0), high=min(around.high, 1.0))


def _around(value: float | None, error: float | None) -> Score:
    if value is None or error is None:
        return Score(value=value)
    return Score(value=value, low=value - REACH * error, high=value + REACH * error)
