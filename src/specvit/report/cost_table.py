"""The table of what each estimator costs: parameters, spectra seen, operations and time."""

from __future__ import annotations

from specvit.report.contents import RunContents
from specvit.report.tables import Cell, Table
from specvit.report.words import caption_note

#: Key of `EstimatorFacts.cost` -> head of its column and divisor.
HEADS = {
    "parameters": ("parameters", 1),
    "train_spectra": ("training spectra", 1),
    "forward_flops": ("MFLOP per spectrum", 1e6),
    "train_flops": ("training TFLOP", 1e12),
}


def cost_table(run: RunContents) -> Table:
    """Return one row per model; a dash where a number has no meaning."""
    models = [run.summary.estimators[name] for name in run.names]
    shown = [key for key in HEADS if any(key in model.cost for model in models)]
    steps = sorted({step for model in models for step in model.seconds})
    rows: list[tuple[Cell, ...]] = [
        (
            model.title,
            *(_scaled(model.cost.get(key), HEADS[key][1]) for key in shown),
            *(model.seconds.get(step) for step in steps),
        )
        for model in models
    ]
    head = ("model", *(HEADS[key][0] for key in shown), *(f"{step} [s]" for step in steps))
    caption = (
        "What the scores cost. Operations are those of matrix products and convolutions, three times the "
        "forward pass for a training step, simulation not included; seconds are wall-clock time, and the "
        "training of a network that came trained is that of its card. "
    )
    return Table("cost", caption + caption_note(run), head, tuple(rows))


def _scaled(value: float | None, divisor: float) -> Cell:
    if value is None:
        return None
    return int(value) if divisor == 1 else float(f"{value / divisor:.3g}")
