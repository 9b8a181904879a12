"""The table of a distillation or fine-tuning. Lays out what the record holds; computes nothing."""

from __future__ import annotations

from specvit.report.tables import Cell, Table
from specvit.report.words import count
from specvit.runs.learning_record import LearningRecord


def learning_table(record: LearningRecord) -> Table:
    """Return one row per network and way to learn."""
    rows: list[tuple[Cell, ...]] = [
        (
            row.name,
            row.how,
            row.spectra or None,
            row.updates or None,
            row.parameters,
            round(row.speed),
            row.label,
            row.r2,
            row.share,
            row.ratio,
        )
        for row in record.rows
    ]
    rows += [
        ("ceiling", "", None, None, None, None, label, score, None, None)
        for label, score in record.ceiling.items()
    ]
    head = (
        *("network", "learnt from", "stars", "updates", "weights", "spectra / s", "label", "R²"),
        *("share of the ceiling", "over the compared"),
    )
    return Table(record.verb, learning_caption(record), head, tuple(rows))


def learning_caption(record: LearningRecord) -> str:
    """Return what the scores are of, and by what they were chosen."""
    exact = (
        f"expected R² against the exact posteriors of {count(record.posteriors)} test stars"
        if record.posteriors
        else f"R² of {count(record.test)} test stars"
    )
    seeds = max(row.seeds for row in record.rows)
    return (
        f"{exact}, with 95 % intervals over stars and {seeds} trainings; weights chosen by {count(record.validation)} "
        f"held-out spectra; compared with {record.compared}; {record.world}; seed {record.seed}, {record.date}. Speed is "
        "of this machine and its load."
    )


def saved_table(record: LearningRecord) -> Table | None:
    """Return how many labelled stars from scratch one star of each way is worth, at equal score; None without any."""
    rows: list[tuple[Cell, ...]] = [
        (how, label, spectra, factor if factor is not None else "beyond the curve")
        for how, labels in record.saved.items()
        for label, factors in labels.items()
        for spectra, factor in factors.items()
    ]
    if not rows:
        return None
    caption = (
        "Labelled stars that a training from scratch needs for the same score, over those used; by the curve of R² from "
        "scratch, linear in the logarithm of the number of stars."
    )
    return Table("saved", caption, ("trained", "label", "stars", "worth"), tuple(rows))
