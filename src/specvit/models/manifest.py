"""The manifest of a saved estimator: its entries, their types, and the checksum over them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from specvit.documents import Section
from specvit.documents.opening import read_bytes
from specvit.documents.records import read_json, read_record
from specvit.errors import DataError
from specvit.models.origin import TrainingRecord
from specvit.spectra import LabelSpace

#: 3: the correction of a network's errors knows the noise level.
FORMAT_VERSION = 3
MANIFEST = "manifest.json"
TENSORS = "weights.safetensors"

#: What to do about a saved estimator whose files do not go together.
MEND = "fit (a network: train) and save the estimator again"

Positive = Annotated[float, Field(gt=0)]


class GridEntry(Section):
    """Which pixels; their centres lie with the tensors."""

    fingerprint: str
    medium: Literal["vacuum", "air"]
    description: str


class LsfEntry(Section):
    """A line-spread function: FWHM at wavelengths, both Å."""

    wavelength: list[Positive] = Field(min_length=1)
    fwhm: list[Positive]

    @model_validator(mode="after")
    def _one_width_per_node(self) -> LsfEntry:
        if len(self.wavelength) != len(self.fwhm):
            raise ValueError(f"lsf: {len(self.wavelength)} wavelengths, {len(self.fwhm)} widths")
        return self


class FileEntry(Section):
    """A file beside the manifest."""

    sha256: str
    bytes: int = Field(ge=0)


class BundleManifest(Section):
    """`manifest.json` of a saved estimator, without its own checksum."""

    format_version: int
    specvit_version: str
    estimator: str
    grid: GridEntry
    lsf: LsfEntry | None
    label_space: LabelSpace
    training: TrainingRecord
    settings: dict[str, Any]
    files: dict[str, FileEntry]

    @field_validator("files")
    @classmethod
    def _beside_the_manifest(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        for name in files:
            # A name is joined to the folder and must not lead out of it.
            if name in ("", ".", "..", MANIFEST) or "/" in name or "\\" in name or "\0" in name:
                raise ValueError(f"'{name}' is not the name of a file in this folder")
        if TENSORS not in files:
            raise ValueError(f"no '{TENSORS}'")
        return files


def read_manifest(folder: Path) -> BundleManifest:
    """Return the manifest of a saved estimator.

    Raises:
        DataError: if it is missing, damaged, of another format or changed after saving, or if an entry is
            missing or not what it must be; names the entry.
    """
    path = folder / MANIFEST
    missing = f"{folder}: no {MANIFEST}; this is not a (complete) saved estimator"
    content = read_bytes(path, "manifest of a saved estimator", "copy the estimator again", missing)
    entries = read_json(content, str(path), MEND)
    version, stated = entries.get("format_version"), entries.pop("sha256", None)
    # Asked before the checksum: an older format is not a damaged one.
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise DataError(
            f"{path}: format version {version}, this specvit reads {FORMAT_VERSION}; {_mend(version)}"
        )
    if stated != checksum(entries):
        raise DataError(f"{path}: was changed after saving (checksum differs); {MEND}")
    return read_record(BundleManifest, entries, str(path), MEND)


def checksum(entries: dict[str, Any]) -> str:
    """Return the checksum of a manifest's entries."""
    # The order of entries is no content.
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def _mend(version: object) -> str:
    """Return what to do about a format version that is not read."""
    if isinstance(version, int) and version < FORMAT_VERSION:
        return f"it was saved by an older specvit: {MEND}"
    return "upgrade specvit" if isinstance(version, int) else MEND
