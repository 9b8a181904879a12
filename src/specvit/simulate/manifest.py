"""The manifest of a folder of shards: what the set is, and which files it is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from specvit.documents.json_text import parse_json
from specvit.documents.opening import read_bytes
from specvit.errors import DataError
from specvit.simulate.simulator import World

FORMAT = "specvit-spectra"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"


def _world(value: Any) -> World:
    return value if isinstance(value, World) else World.from_dict(value)


class SetManifest(BaseModel):
    """One set of stored spectra.

    Args:
        format, format_version: of manifest and shards.
        world: what they were drawn from; files in it are named as they lie in the set's folder.
        emulator: fingerprint of the emulator as the instrument sees it.
        instrument_fingerprint: of the spectrograph; None in sets written before it was.
        split, seed, spectra, truth: see `WriteJob`.
        shards: names of the files, in order.
        created, specvit_version: when and by what the set was begun.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)

    format: str = FORMAT
    format_version: int = FORMAT_VERSION
    world: Annotated[World, BeforeValidator(_world)]
    emulator: str
    instrument_fingerprint: str | None = None
    split: str
    seed: int
    spectra: int = Field(ge=1)
    truth: bool
    # Nothing but names: a set does not reach outside its folder.
    shards: tuple[Annotated[str, Field(pattern=r"^[^/\\]+\.h5$")], ...] = Field(min_length=1)
    created: str = ""
    specvit_version: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as JSON-ready data."""
        # Through JSON, as it is read back: a tuple is a list there.
        entries = {**self.model_dump(exclude={"world"}), "world": self.world.to_dict()}
        plain: dict[str, Any] = json.loads(json.dumps(entries))
        return plain


def read_manifest(folder: Path) -> SetManifest:
    """Return the manifest of a folder of shards.

    Raises:
        DataError: if it is missing, cannot be read, or is not such a manifest; names file and entry.
    """
    path = folder / MANIFEST
    try:
        text = read_bytes(path, "manifest of simulated spectra", "give a folder of `specvit simulate`")
    except DataError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise DataError(
            f"{folder}: no {MANIFEST} there; expected a folder written by `specvit simulate --out`"
        ) from None
    return parse_json(
        text,
        str(path),
        _checked,
        "not a manifest of simulated spectra: give another folder, copy the set again, or simulate again in "
        "another folder",
    )


def _checked(content: Any) -> SetManifest:
    # An entry that is missing raises KeyError, of which `parse_json` makes the message.
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']!r}")
    if content["format_version"] != FORMAT_VERSION:
        raise DataError(
            f"format {content['format_version']}, this specvit reads {FORMAT_VERSION}; if it is newer, "
            "pip install --upgrade specvit"
        )
    return SetManifest.model_validate(content)
