"""`probe.json`: what was read off the layers of networks, with baselines and controls, all of the same test stars."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from specvit.documents.opening import read_bytes
from specvit.documents.records import read_json, read_record
from specvit.runs.summary import Score

PROBE_VERSION = 1
MEND = "make it again with `specvit probe`"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProbeRow(_Part):
    """One readout of one set of vectors for one label.

    Args:
        source: network, or what a baseline sees.
        layer, pooling: of a network; "" for baselines.
        width: numbers per spectrum.
        readout: ridge, lightgbm or mlp; "itself" for the estimate of the network.
        control: "none", or which control.
        target: "label", or "residual": what Ridge on the pixels leaves of it.
        label: its name.
        r2: expected R² against the exact posterior, or plain R² without posteriors.
        share: of the ceiling of the same stars; None without posteriors.
        choice: what held-out spectra chose.
    """

    source: str
    layer: str
    pooling: str
    width: int
    readout: str
    control: str
    target: str
    label: str
    r2: Score
    share: Score | None
    choice: str

    @property
    def place(self) -> str:
        """Layer and pooling in one word."""
        return f"{self.layer}/{self.pooling}" if self.layer else ""


class SurvivingInformation(_Part):
    """Share of the information on each label that survives at a layer, of the gain over the prior; with an interval."""

    source: str
    layer: str
    pooling: str
    survives: dict[str, Score]


class Likeness(_Part):
    """Linear CKA between places, a square matrix; None where a layer is constant."""

    places: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]


class ProbeRecord(_Part):
    """What `specvit probe` found.

    Args:
        networks: name -> which it is.
        world: in words.
        train, validation, test: numbers of stars.
        posteriors: test stars with a converged exact posterior; the others are left out for all alike. 0: plain R².
        seed, date: of all of it.
        labels: in order.
        ceiling: label -> the Bayes ceiling of these stars.
        residual_ceiling: label -> the largest share there can be of what Ridge on the pixels leaves.
        rows: all readouts.
        likeness, information: None where they were not asked for.
    """

    probe_version: int = Field(default=PROBE_VERSION, ge=1, le=PROBE_VERSION)
    networks: dict[str, str]
    world: str
    train: int
    validation: int
    test: int
    posteriors: int
    seed: int
    date: str
    labels: tuple[str, ...]
    ceiling: dict[str, Score]
    residual_ceiling: dict[str, Score]
    rows: tuple[ProbeRow, ...]
    likeness: Likeness | None
    information: tuple[SurvivingInformation, ...]

    def of(self, **wanted: str) -> list[ProbeRow]:
        """Return the rows with these values."""
        return [
            row for row in self.rows if all(getattr(row, name) == value for name, value in wanted.items())
        ]


def read_probe(path: Path) -> ProbeRecord:
    """Return a record that was written; DataError if it is none, or damaged."""
    return read_record(
        ProbeRecord, read_json(read_bytes(path, "record of a probe", MEND), str(path), MEND), str(path), MEND
    )
