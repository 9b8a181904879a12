"""`experts.json` of an audit of a mixture of experts: every score of one set of stars."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from specvit.documents.opening import read_bytes
from specvit.documents.records import read_json, read_record
from specvit.runs.summary import Score

EXPERTS_VERSION = 1
MEND = "make it again with `specvit audit experts`"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RoutingFacts(_Part):
    """Scores of one routing.

    Args:
        all, covered: R² over all stars and over those in a bin.
        gain: R² less that of the model of all spectra, covered stars.
        kept: share of the oracle's gain; None where that is not told from zero.
        expected: R² with the exact posterior in place of the truth; None without posteriors, and of the oracle, whose
            estimate knows of the truth what the spectrum does not say.
        above_oracle: what is said of one that is better than its oracle; "" of others.
    """

    all: Score
    covered: Score
    gain: Score
    kept: Score | None
    expected: Score | None
    above_oracle: str


class BinFacts(_Part):
    """A bin: how many test stars are in it, whether it has an expert, and R² there by routing."""

    stars: int
    expert: bool
    r2: dict[str, Score]


class ReliabilityFacts(_Part):
    """Stated weight of the likeliest bin, how often it was right, and of how many stars."""

    stated: tuple[float, ...]
    right: tuple[float, ...]
    stars: tuple[int, ...]


class CoverageMap(_Part):
    """Test stars in cells of two labels, and the share of them in a bin, [second][first]; edges of the cells."""

    labels: tuple[str, str]
    edges: tuple[tuple[float, ...], tuple[float, ...]]
    stars: tuple[tuple[int, ...], ...]
    covered: tuple[tuple[float | None, ...], ...]


class ExpertsRecord(_Part):
    """What an audit found.

    Args:
        model, label, partition: what was audited.
        stars, seed, date: of the test stars.
        coverage: share of the test stars in a bin; prior: of uniform stars in the box of the training, if known.
        oracle_gain: R² of the oracle less that of the model of all spectra, covered stars.
        oracle_is_worth: whether that is told from zero, so that shares of it mean something.
        routings: by name.
        ceiling: Bayes ceiling of the stars with posteriors, and their number; None without.
        bins: by name.
        by_snr: name of a quarter of the stars by S/N -> routing -> R².
        accuracy: share of stars whose likeliest component is right.
        confusion: true component (rows) against the likeliest one, in the order of `components`.
        components: names of the bins and of the stars outside.
        reliability: of the gate.
        importance: feature -> accuracy lost without it.
        map: coverage in the plane of two labels.
    """

    experts_version: int = Field(default=EXPERTS_VERSION, ge=1, le=EXPERTS_VERSION)
    model: str
    label: str
    partition: str
    stars: int
    seed: int
    date: str
    coverage: float
    prior: float | None
    oracle_gain: Score
    oracle_is_worth: bool
    routings: dict[str, RoutingFacts]
    ceiling: Score | None
    posteriors: int
    bins: dict[str, BinFacts]
    by_snr: dict[str, dict[str, Score]]
    accuracy: float
    components: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    reliability: ReliabilityFacts
    importance: dict[str, float]
    map: CoverageMap


def read_experts_record(path: Path) -> ExpertsRecord:
    """Return the record in a file; DataError names what is wrong with it."""
    return read_record(
        ExpertsRecord,
        read_json(read_bytes(path, "record of an audit", MEND), str(path), MEND),
        str(path),
        MEND,
    )
