"""Write the tables of docs/denoising.md that are made of an audit of denoisers, between their marks.

    specvit audit denoisers RUNS --stars 1000 --fit ridge,lightgbm,subspace-nano,vit-nano --out runs/denoisers
    cp runs/denoisers/denoisers.json results/denoisers.json
    python tools/write_denoising_tables.py [--record results/denoisers.json] [--page docs/denoising.md]

The words around them are written by hand; `tests/denoise/test_denoising_page.py` holds page and record together.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from _marks import with_table
from specvit.report.words import decimals_of, score_text
from specvit.runs import Score
from specvit.runs.denoisers_record import DenoisersRecord, read_denoisers_record

Row = tuple[Score | str | None, ...]
OBSERVED = "as observed"


def told(cell: Score | str | None) -> str:
    """Return a cell as it is shown; scores with as many digits as their intervals leave."""
    if cell is None or isinstance(cell, str):
        return "–" if cell is None else cell
    return "–" if cell.value is None else score_text(cell, decimals_of(cell)).replace(" to ", ", ")


def lines_of(head: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rows)]


def rows_of(record: DenoisersRecord, name: str) -> list[Row]:
    """Return the rows of a table of the record."""
    return list(next(table.rows for table in record.tables if table.name == name))


def whole(record: DenoisersRecord, name: str, head: list[str]) -> list[str]:
    """Return a table of the record as it is, under other heads."""
    return lines_of(head, [[told(cell) for cell in row] for row in rows_of(record, name)])


def spread(rows: list[Row], column: int, across: str) -> list[str]:
    """Return rows of (what, part, ..., scores) with the parts below and what across, one column of scores."""
    names, parts = (list(dict.fromkeys(str(row[k]) for row in rows)) for k in (0, 1))
    cells = {(str(row[0]), str(row[1])): told(row[column]) for row in rows}
    return lines_of(
        [across, *names], [[part, *(cells.get((name, part), "–") for name in names)] for part in parts]
    )


def errors(record: DenoisersRecord) -> list[str]:
    """Return the errors over all stars."""
    chosen = [row for row in rows_of(record, "errors") if str(row[1]).startswith("all")]
    head = [
        "",
        "MSE / noisy",
        "wMAE / noisy",
        "MSE / floor",
        "wMAE / floor",
        "(error/σ)² / floor",
        "Σ (error/σ)²",
    ]
    return lines_of(head, [[told(cell) for cell in (row[0], *row[2:])] for row in chosen])


def by_snr(record: DenoisersRecord) -> list[str]:
    """Return squared errors over the floor's, by S/N."""
    rows = [row for row in rows_of(record, "errors") if row[0] not in ("noisy", "Bayes floor")]
    return spread(rows, 4, "S/N (stars): MSE / floor")


def by_part(record: DenoisersRecord) -> list[str]:
    """Return squared errors over the floor's, by part of the spectrum."""
    rows = [row for row in rows_of(record, "regions") if row[0] not in ("noisy", "Bayes floor")]
    return spread(rows, 2, "part: MSE / floor")


def lines(record: DenoisersRecord) -> list[str]:
    """Return bias and scatter of equivalent widths and velocities, and the structure that is kept."""
    found = [(row[0], row[1], f"{told(row[2])}; {told(row[3])}") for row in rows_of(record, "lines")]
    found += [(row[0], f"structure kept, {row[1]}", told(row[2])) for row in rows_of(record, "structure")]
    return spread(found, 2, "bias; scatter")


def intervals(record: DenoisersRecord) -> list[str]:
    """Return the truths inside the intervals of samples, or of stated errors where there are no samples."""
    found: list[Row] = []
    for row in rows_of(record, "coverage"):
        stated, drawn = row[2:4], row[4:6]
        some = drawn if drawn[0] is not None else stated
        found.append((row[0], row[1], f"{told(some[0])}; {told(some[1])}"))
    return spread(found, 2, "S/N (stars): % in 68 %; in 95 %")


def downstream(record: DenoisersRecord) -> list[str]:
    """Return the expected R² of every label as observed, and what every denoiser adds to it."""
    rows = rows_of(record, "downstream")
    denoisers = [name for name in dict.fromkeys(str(row[3]) for row in rows) if name != OBSERVED]
    table = []
    for label, estimator, how in dict.fromkeys((str(row[0]), str(row[1]), str(row[2])) for row in rows):
        own = {str(row[3]): row for row in rows if row[:3] == (label, estimator, how)}
        gains = [told(own[name][7]) for name in denoisers]
        first = [f"`{label}`", f"`{estimator}`, {how}"]
        table.append([*first, told(own[OBSERVED][4]), told(own[OBSERVED][6]), *gains])
    return lines_of(
        ["label", "estimator", "R²", "expected R²", *(f"gain by {name}" for name in denoisers)], table
    )


TABLES: dict[str, Callable[[DenoisersRecord], list[str]]] = {
    "errors": errors,
    "by S/N": by_snr,
    "by part": by_part,
    "lines": lines,
    "intervals": intervals,
    "labels": lambda record: whole(
        record,
        "label-posteriors",
        [
            "samples of",
            "stars",
            "rms of (mean − exact) / exact error",
            "spread / exact",
            "in 68 %",
            "in 95 %",
        ],
    ),
    "sigma": lambda record: spread(rows_of(record, "controls"), 2, "sigma that goes in"),
    "made up": lambda record: whole(
        record,
        "made-up",
        ["", "strange lines: left", "Ca II taken out: comes back", "two stars in one", "star beyond the box"],
    ),
    "downstream": downstream,
}


def written(text: str, record: DenoisersRecord) -> str:
    """Return a page with its tables made anew."""
    for name, make in TABLES.items():
        text = with_table(text, name, make(record))
    sample = f"{record.stars} test stars ({record.left_out} more were left out: their posteriors did not converge), seed {record.seed}, {record.date}"
    return with_table(text, "sample", [sample])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--record", type=Path, default=Path("results/denoisers.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/denoising.md"))
    options = parser.parse_args()
    page = options.page.read_text(encoding="utf-8")
    options.page.write_text(written(page, read_denoisers_record(options.record)), encoding="utf-8")


if __name__ == "__main__":
    main()
