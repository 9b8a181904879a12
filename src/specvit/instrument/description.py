"""Reading an instrument file; the reading itself is that of `documents`.

The keys are in `schema`; the tables the file names are loaded by `tables`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from specvit.documents import DocumentKind, Format
from specvit.instrument.schema import FORMAT_VERSION, InstrumentDescription

INSTRUMENT = DocumentKind(
    noun="instrument",
    model=InstrumentDescription,
    presets=Path(str(files("specvit.instrument") / "presets")),
    format=Format("format_version", FORMAT_VERSION),
    # Merging keys of these would mix two ways of saying one thing.
    whole=("grid", "lsf", "tables", "band", "noise"),
    example="conditions.seeing=0.8",
)


def instrument_names() -> tuple[str, ...]:
    """Return the names of the instruments that ship with specvit."""
    return INSTRUMENT.names()


def find_instrument_file(name: str | Path) -> Path:
    """Return the TOML of a preset name or a path.

    Raises:
        ConfigError: if there is no such preset or file.
    """
    return INSTRUMENT.find(name)


def read_description(path: Path, overrides: Sequence[str] = ()) -> tuple[InstrumentDescription, Path]:
    """Return the validated description in `path`, and the folder its table file is relative to.

    A file may begin with `extends = "NAME or file.toml"`; it then states only what differs.

    Raises:
        ConfigError: if the file is not TOML, a key is unknown (with a suggestion) or a value is wrong.
    """
    document = INSTRUMENT.read(path, overrides)
    return document.value, document.folder_of("tables") or path.parent
