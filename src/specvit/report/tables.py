"""The tables of a report, and how a table becomes CSV or LaTeX. Lays out stored scores; computes none."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from specvit.report.contents import RunContents
from specvit.report.words import (
    METRIC_NAMES,
    caption_note,
    count,
    label_name,
    metric_name,
    number,
    score_text,
)
from specvit.runs import Score, Spread, write_atomic

Cell = Score | Spread | str | int | float | None

#: Metrics that carry the unit of the target.
WITH_UNIT = ("mae", "rmse", "bias")
_LATEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "²": r"$^2$", "σ": r"$\sigma$", "α": r"$\alpha$"}
_LATEX |= {"–": "--", "−": "$-$", "\u202f": r"\,", "≥": r"$\ge$"}


@dataclass(frozen=True)
class Table:
    """A table with typed cells.

    Args:
        name: file name without ending.
        caption: what it shows, over which sample.
        head: one title per column.
        rows: cells; a `Score` prints with its interval, a `Spread` with its 10-90 % range, None as a dash.
    """

    name: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def to_csv(self) -> str:
        """Return the table as CSV with full precision; scores take three columns, spreads too."""
        head: list[str] = []
        for at, title in enumerate(self.head):
            kinds = {type(row[at]) for row in self.rows}
            ends = ("low", "high") if Score in kinds else ("p10", "p90") if Spread in kinds else ()
            head += [title, *(f"{title} {end}" for end in ends)]
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(head)
        for row in self.rows:
            writer.writerow([value for at, cell in enumerate(row) for value in self._values(at, cell)])
        return buffer.getvalue()

    def to_latex(self) -> str:
        """Return the table as LaTeX for the booktabs package."""
        columns = "l" + "r" * (len(self.head) - 1)
        lines = [
            r"\begin{table}",
            rf"\caption{{{_latex(self.caption)}}}",
            rf"\label{{tab:{self.name}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(_latex(title) for title in self.head) + r" \\",
            r"\midrule",
            *(" & ".join(_latex(cell_text(cell)) for cell in row) + r" \\" for row in self.rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def _values(self, at: int, cell: Cell) -> list:
        if isinstance(cell, Score):
            return [cell.value, cell.low, cell.high]
        if isinstance(cell, Spread):
            return [cell.median, cell.p10, cell.p90]
        wide = any(isinstance(row[at], Score | Spread) for row in self.rows)
        return [cell, None, None] if wide else [cell]


def cell_text(cell: Cell) -> str:
    """Return a cell as it is printed."""
    if cell is None:
        return "–"
    if isinstance(cell, Score):
        return score_text(cell, 2)
    if isinstance(cell, Spread):
        return f"{number(cell.median, 2)} ({number(cell.p10, 2)} to {number(cell.p90, 2)})"
    if isinstance(cell, int):
        return count(cell)
    return number(cell, 1) if isinstance(cell, float) else cell


def model_table(run: RunContents) -> Table:
    """Return one row per model with every overall score and the seconds it took."""
    summary = run.summary
    metrics = [m for m in METRIC_NAMES if any(m in model.overall for model in summary.models.values())]
    steps = sorted({step for model in summary.models.values() for step in model.seconds})
    units = [f" [{summary.unit}]" if metric in WITH_UNIT else "" for metric in metrics]
    head = (
        "model",
        *(metric_name(m) + u for m, u in zip(metrics, units, strict=True)),
        *(f"{s} [s]" for s in steps),
    )
    rows = [
        (model.title, *(model.overall.get(m) for m in metrics), *(model.seconds.get(s) for s in steps))
        for model in summary.models.values()
    ]
    if summary.ceiling is not None and summary.ceiling.bayes is not None:
        rest = len(head) - 1 - metrics.index("r2") - 1
        rows.append(("Bayes ceiling", *(None,) * metrics.index("r2"), summary.ceiling.bayes, *(None,) * rest))
    efficiency = (
        "" if summary.ceiling is None else f" Efficiency is relative to {summary.ceiling.definition}."
    )
    caption = f"Scores of {label_name(summary.target)} on all test spectra. {caption_note(run)}{efficiency}"
    return Table("models", caption, head, tuple(rows))


def snr_table(run: RunContents) -> Table:
    """Return one row per S/N bin: R² of every model and the ceilings."""
    summary, bins = run.summary, run.summary.snr_bins
    columns: dict[str, list] = {
        "S/N": [f"{number(a, 1)} – {number(b, 1)}" for a, b in zip(bins.edges, bins.edges[1:], strict=False)],
        "median S/N": list(bins.median),
        "spectra": list(bins.counts),
    }
    for model in summary.models.values():
        columns[f"R² {model.title}"] = list(model.bins["r2"])
    if summary.ceiling is not None:
        if summary.ceiling.bayes_bins is not None:
            columns["R² Bayes ceiling"] = list(summary.ceiling.bayes_bins)
        for kind, spreads in summary.ceiling.bins.items():
            columns[f"Cramér–Rao ceiling, {kind.rpartition('_')[2]} labels"] = list(spreads)
    outside = f" {count(bins.outside)} spectra lie in no bin." if bins.outside else ""
    if summary.ceiling is not None:
        outside = (
            " The Cramér–Rao ceiling is the median star's, with the range of 10–90 % of stars." + outside
        )
    caption = f"R² of {label_name(summary.target)} by S/N. {caption_note(run)}{outside}"
    return Table("snr_bins", caption, tuple(columns), tuple(zip(*columns.values(), strict=True)))


def write_table(table: Table, folder: Path) -> list[Path]:
    """Write `folder/NAME.csv` and `.tex` and return their paths."""
    return [
        write_atomic(folder / f"{table.name}.csv", table.to_csv()),
        write_atomic(folder / f"{table.name}.tex", table.to_latex()),
    ]


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
