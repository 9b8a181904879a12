"""A table with typed cells, and how it becomes CSV or LaTeX. What the tables of a run hold: `run_tables`."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specvit.report.words import count, number, score_text
from specvit.runs import Score, Spread, write_atomic

Cell = Score | Spread | str | int | float | None

_LATEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "²": r"$^2$", "σ": r"$\sigma$", "α": r"$\alpha$"}
_LATEX |= {"–": "--", "−": "$-$", "\u202f": r"\,", "≥": r"$\ge$", "√": r"$\surd$", "·": r"$\cdot$"}
_LATEX |= {"<": "$<$", ">": "$>$", "|": "$|$", "∂": r"$\partial$"}
# A title may come from somebody's own estimator, with any character.
_LATEX |= {"$": r"\$", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {"\\": r"\textbackslash{}"}


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
        # The csv module ends lines with CRLF by itself; tables are the same bytes on every system.
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

    def to_markdown(self) -> str:
        """Return the table as a pipe table, without its caption."""
        rows = [[_markdown(title) for title in self.head], ["---"] * len(self.head)]
        rows += [[_markdown(cell_text(cell)) for cell in row] for row in self.rows]
        return "".join(f"| {' | '.join(row)} |\n" for row in rows)

    def _values(self, at: int, cell: Cell) -> list[Any]:
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


def write_table(table: Table, folder: Path) -> list[Path]:
    """Write `folder/NAME.csv` and `.tex` and return their paths."""
    return [
        write_atomic(folder / f"{table.name}.csv", table.to_csv()),
        write_atomic(folder / f"{table.name}.tex", table.to_latex()),
    ]


def _markdown(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split("\n"))


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
