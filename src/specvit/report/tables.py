"""A table with typed cells, and how it becomes CSV, LaTeX, Markdown or Parquet. The tables of a run: `run_tables`."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specvit.errors import import_optional
from specvit.report.latex import latex_text
from specvit.report.phrase import Phrase
from specvit.report.words import count, decimals_of, number, score_text
from specvit.runs import Score, Spread, write_atomic

Cell = Score | Spread | Phrase | str | int | float | None


@dataclass(frozen=True)
class Table:
    """A table with typed cells.

    Args:
        name: file name without ending.
        caption: what it shows, over which sample.
        head: one title per column.
        rows: cells; a `Score` prints with its interval, a `Spread` with its 10-90 % range, None as a dash.
        digits: decimals of scores and spreads; None: of every score those that its interval leaves a meaning.
    """

    name: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    digits: int | None = 2

    def to_csv(self) -> str:
        """Return the table as CSV with full precision; scores take three columns, spreads too."""
        buffer = io.StringIO()
        # The csv module ends lines with CRLF by itself; tables are the same bytes on every system.
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(self._columns())
        writer.writerows(self._plain_rows())
        return buffer.getvalue()

    def to_parquet(self) -> bytes:
        """Return the table as a Parquet file, with the columns of `to_csv`; MissingExtra without pyarrow."""
        arrow = import_optional("pyarrow", "parquet", "writing Parquet")
        parquet = import_optional("pyarrow.parquet", "parquet", "writing Parquet")
        columns = self._columns()
        values = zip(*self._plain_rows(), strict=True) if self.rows else ((),) * len(columns)
        arrays = [arrow.array(_of_one_kind(column)) for column in values]
        buffer = io.BytesIO()
        parquet.write_table(arrow.Table.from_arrays(arrays, names=columns), buffer)
        return buffer.getvalue()

    def to_latex(self, columns: str = "", is_long: bool = False) -> str:
        """Return the table as LaTeX for the booktabs package.

        Args:
            columns: their kinds, as tabular has them; the first left and the others right if left out.
            is_long: whether it may go on over pages, which needs the longtable package.
        """
        columns = columns or "l" + "r" * (len(self.head) - 1)
        title = [rf"\caption{{{latex_text(self.caption)}}}", rf"\label{{tab:{self.name}}}"]
        head = " & ".join(latex_text(text) for text in self.head) + r" \\"
        rows = [
            " & ".join(latex_text(cell_text(cell, self.digits)) for cell in row) + r" \\" for row in self.rows
        ]
        if is_long:
            lines = [
                rf"\begin{{longtable}}{{{columns}}}",
                *title,
                r"\\",
                r"\toprule",
                head,
                r"\midrule",
                r"\endfirsthead",
            ]
            lines += [r"\toprule", head, r"\midrule", r"\endhead", *rows, r"\bottomrule", r"\end{longtable}"]
        else:
            lines = [
                r"\begin{table}",
                *title,
                rf"\begin{{tabular}}{{{columns}}}",
                r"\toprule",
                head,
                r"\midrule",
            ]
            lines += [*rows, r"\bottomrule", r"\end{tabular}", r"\end{table}"]
        return "\n".join(lines) + "\n"

    def to_markdown(self) -> str:
        """Return the table as a pipe table, without its caption."""
        rows = [[_markdown(title) for title in self.head], ["---"] * len(self.head)]
        rows += [[_markdown(cell_text(cell, self.digits)) for cell in row] for row in self.rows]
        return "".join(f"| {' | '.join(row)} |\n" for row in rows)

    def _columns(self) -> list[str]:
        head: list[str] = []
        for at, title in enumerate(self.head):
            kinds = {type(row[at]) for row in self.rows}
            ends = ("low", "high") if Score in kinds else ("p10", "p90") if Spread in kinds else ()
            head += [title, *(f"{title} {end}" for end in ends)]
        return head

    def _plain_rows(self) -> list[list[Any]]:
        return [
            [value for at, cell in enumerate(row) for value in self._values(at, cell)] for row in self.rows
        ]

    def _values(self, at: int, cell: Cell) -> list[Any]:
        if isinstance(cell, Score):
            return [cell.value, cell.low, cell.high]
        if isinstance(cell, Spread):
            return [cell.median, cell.p10, cell.p90]
        if isinstance(cell, Phrase):
            cell = cell.text
        wide = any(isinstance(row[at], Score | Spread) for row in self.rows)
        return [cell, None, None] if wide else [cell]


def cell_text(cell: Cell, digits: int | None = 2) -> str:
    """Return a cell as it is printed, with `digits` as in `Table`."""
    if cell is None:
        return "–"
    if isinstance(cell, Phrase):
        return cell.text
    if isinstance(cell, Score):
        return score_text(cell, decimals_of(cell) if digits is None else digits)
    if isinstance(cell, Spread):
        middle, low, high = (
            number(v, 2 if digits is None else digits) for v in (cell.median, cell.p10, cell.p90)
        )
        return f"{middle} ({low} to {high})"
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


def _of_one_kind(values: tuple[Any, ...]) -> list[Any]:
    """Return a column as numbers, or as texts where not all of it is numbers: a Parquet column has one type."""
    if all(value is None or isinstance(value, int | float) for value in values):
        return list(values)
    return [None if value is None else str(value) for value in values]
