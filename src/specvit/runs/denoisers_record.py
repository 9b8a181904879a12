"""`denoisers.json` of an audit of denoisers: every table of scores of one set of stars."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from specvit.documents.opening import read_bytes
from specvit.documents.records import read_json, read_record
from specvit.runs.summary import Score

DENOISERS_VERSION = 1
#: What a table of distributions calls the change a denoiser makes to a spectrum.
TAKEN_OUT = "(observed - denoised) / σ"
MEND = "make it again with `specvit audit denoisers`"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScoreRows(_Part):
    """One table: a title per column, cells by row; None where a score means nothing."""

    name: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Score | str | None, ...], ...]


class DenoisersRecord(_Part):
    """All scores of an audit.

    Args:
        version: of the format.
        stars, left_out: test stars that were scored, and those whose exact posterior did not converge.
        seed: of the stars.
        date: ISO 8601.
        digests: denoiser -> digest.
        worlds: denoiser -> how the world it was trained in differs from that of the stars, in words; none where it does not.
        tables: in the order they are shown.
    """

    version: int = DENOISERS_VERSION
    stars: int
    left_out: int
    seed: int
    date: str
    digests: dict[str, str]
    worlds: dict[str, str] = {}
    tables: tuple[ScoreRows, ...]


def read_denoisers_record(path: Path) -> DenoisersRecord:
    """Return the record of an audit; DataError if the file is missing, damaged or of another version."""
    entries = read_json(read_bytes(path, "record of an audit of denoisers", MEND), str(path), MEND)
    return read_record(DenoisersRecord, entries, str(path), MEND)
