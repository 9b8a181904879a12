"""Tables of an audit of denoisers, from its record alone."""

from __future__ import annotations

from specvit.report.tables import Table
from specvit.runs.denoisers_record import DenoisersRecord


def denoiser_tables(record: DenoisersRecord) -> list[Table]:
    """Return all tables of a record, in its order; every caption says how many stars, of which seed and when."""
    sample = f"{record.stars} test stars, seed {record.seed}, {record.date}; 95 % intervals over stars"
    return [
        Table(one.name, f"{one.caption} ({sample}).", one.head, one.rows, digits=None)
        for one in record.tables
    ]
