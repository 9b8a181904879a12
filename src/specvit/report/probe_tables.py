"""The tables of a probe. Lays out what the record holds; computes nothing."""

from __future__ import annotations

from specvit.report.tables import Cell, Table
from specvit.report.words import count, label_name
from specvit.runs.probe_record import ProbeRecord, ProbeRow

NONE, LABEL, RESIDUAL = "none", "label", "residual"


def probe_tables(record: ProbeRecord) -> list[Table]:
    """Return the tables: readouts, controls, what a linear fit leaves, information that survives."""
    tables = [
        _rows_table(record, "readouts", list(record.of(target=LABEL, control=NONE)), _caption(record)),
        _rows_table(
            record,
            "residuals",
            record.of(target=RESIDUAL),
            "What a linear fit of the pixels leaves of a label, read off again: a share near zero says that nothing is known "
            f"there beyond the linear shortcut. {_caption(record)}",
        ),
        _rows_table(
            record,
            "controls",
            [row for row in record.rows if row.control != NONE],
            "Controls: labels of other stars and noise alone should give zero; before any update a network is as its training "
            "begins, with first layers that know the components of noise-free spectra where they can; random weights are "
            f"the architecture without these. {_caption(record)}",
        ),
    ]
    return [table for table in [*tables, *_information(record)] if table.rows]


def _rows_table(record: ProbeRecord, name: str, rows: list[ProbeRow], caption: str) -> Table:
    head = ("seen", "layer", "numbers", "readout", "control", "label", "R²", "share of the ceiling", "chosen")
    cells: list[tuple[Cell, ...]] = [
        (row.source, row.place, row.width, row.readout, row.control, row.label, row.r2, row.share, row.choice)
        for row in rows
    ]
    ceilings = record.residual_ceiling if name == "residuals" else record.ceiling
    if rows and name != "controls":
        cells += [("ceiling", "", None, "", "", label, score, None, "") for label, score in ceilings.items()]
    return Table(name, caption, head, tuple(cells))


def _information(record: ProbeRecord) -> list[Table]:
    if not record.information:
        return []
    rows: list[tuple[Cell, ...]] = [
        (one.source, f"{one.layer}/{one.pooling}", *(one.survives[label] for label in record.labels))
        for one in record.information
    ]
    head = ("network", "layer", *(label_name(label) for label in record.labels))
    caption = (
        "Share of the Fisher information that survives: of the gain over the prior that the best linear readout of the "
        "layer has, to first order in the noise, over that of the pixels; all labels and the flux scale free."
    )
    return [Table("information", caption, head, tuple(rows))]


def _caption(record: ProbeRecord) -> str:
    exact = (
        f"expected R² against the exact posteriors of {count(record.posteriors)} test stars"
        if record.posteriors
        else f"R² of {count(record.test)} test stars"
    )
    return (
        f"{exact}, with 95 % intervals over stars; {count(record.train)} stars to learn from, {count(record.validation)} "
        f"to choose by; {record.world}; seed {record.seed}, {record.date}."
    )
