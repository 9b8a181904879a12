"""`distil.json` and `finetune.json`: networks that learnt in different ways, scored on the same test stars."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from specvit.documents.opening import read_bytes
from specvit.documents.records import read_json, read_record
from specvit.runs.summary import Score

LEARNING_VERSION = 1
MEND = "make it again with the command that wrote it"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LearningRow(_Part):
    """One way to learn, and how well it went.

    Args:
        name: of the network.
        how: what it learnt from, or what of it was trained.
        spectra: training stars with labels or statements; 0 for spectra that never end, or none.
        seeds: trainings behind the scores, or 1 for a network that was there.
        updates: optimiser steps of each.
        parameters, flops: weights, and floating-point operations per spectrum.
        speed: spectra per second of `predict` on this machine.
        label: that is scored.
        r2: expected R² against the exact posterior, or plain R² without posteriors, over seeds and stars.
        share: of the ceiling; None without posteriors.
        ratio: of R² to that of the network it is compared with; None where there is none.
    """

    name: str
    how: str
    spectra: int
    seeds: int
    updates: int
    parameters: int
    flops: float
    speed: float
    label: str
    r2: Score
    share: Score | None
    ratio: Score | None


class LearningRecord(_Part):
    """What `specvit distil` or `specvit finetune` found.

    Args:
        learning_version: of this form.
        verb: which of the two.
        compared: the network that ratios refer to, and which it is.
        world: of training and test, in words.
        test, posteriors: test stars, and how many have a converged posterior, which alone count; 0: plain R².
        validation: spectra that chose the weights.
        seed, date: of all of it.
        ceiling: label -> Bayes ceiling of these stars.
        rows: in order.
        saved: how -> label -> {spectra: factor}, labelled stars of a training from scratch per one of this way at equal
            score; None where the curve from scratch does not reach it.
        kept: label -> the smallest network that keeps the wanted share of the ceiling, or "".
        wanted: that share.
    """

    learning_version: int = Field(default=LEARNING_VERSION, ge=1, le=LEARNING_VERSION)
    verb: str
    compared: str
    world: str
    test: int
    posteriors: int
    validation: int
    seed: int
    date: str
    ceiling: dict[str, Score]
    rows: tuple[LearningRow, ...]
    saved: dict[str, dict[str, dict[int, float | None]]] = {}
    kept: dict[str, str] = {}
    wanted: float | None = None


def read_learning(path: Path) -> LearningRecord:
    """Return a record that was written; DataError if it is none, or damaged."""
    return read_record(
        LearningRecord,
        read_json(read_bytes(path, "record of learning curves", MEND), str(path), MEND),
        str(path),
        MEND,
    )
