"""Saved estimators: one folder of arrays, texts and a manifest, written all or nothing, verified on reading.

Owns the file format; each estimator decides what goes in. Never pickle: weights are safetensors, trees are
LightGBM's own text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

import specvit
from specvit.documents.opening import read_bytes
from specvit.documents.records import read_record
from specvit.documents.tensors import Tensors
from specvit.errors import DataError, SpecvitError
from specvit.models.domain import InputDomain
from specvit.models.manifest import (
    FORMAT_VERSION,
    MANIFEST,
    MEND,
    TENSORS,
    BundleManifest,
    FileEntry,
    checksum,
    read_manifest,
)
from specvit.models.origin import Origin
from specvit.runs.atomic import write_atomic_folder
from specvit.spectra import WavelengthGrid

Record = TypeVar("Record")

#: What the arrays of the domain are called among those of a saved estimator.
DOMAIN = "domain."
#: Before the names of tensors that say of the pixels what their centres do not.
GRID = "grid."


@dataclass(frozen=True)
class Bundle:
    """The content of a saved estimator.

    Args:
        estimator: registered name of the class that can read it.
        origin: grid, label space and training provenance.
        settings: JSON-ready options and choices (alpha per label, rounds, ...).
        tensors: arrays by name.
        texts: further text files by file name.
    """

    estimator: str
    origin: Origin
    settings: dict[str, Any]
    tensors: dict[str, Tensor] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredBundle:
    """A saved estimator, unchanged since it was saved; what its class does not check may still make no sense.

    Args:
        where: what messages call it.
        estimator, origin, texts: as in `Bundle`.
        settings: as JSON gives them; the class reads them with `settings_as`.
        tensors: to be taken one by one; axis "L" is the pixels.
    """

    where: str
    estimator: str
    origin: Origin
    settings: dict[str, Any]
    tensors: Tensors
    texts: dict[str, str]

    def settings_as(self, kind: type[Record]) -> Record:
        """Return the settings as a record; DataError names the entry that does not fit."""
        return read_record(kind, self.settings, f"{self.where}: settings", MEND)

    @contextmanager
    def naming_settings(self) -> Iterator[None]:
        """Turn what the enclosed lines refuse into a DataError that says it was in the settings."""
        try:
            yield
        except SpecvitError as error:
            raise self.problem(f"settings: {error}") from error

    def check_labels(
        self, names: Sequence[str], asked: Sequence[str] | None, choice: Mapping[str, Any]
    ) -> tuple[str, ...]:
        """Return the labels of this estimator, which must be some of its origin's.

        Args:
            names: the labels it estimates.
            asked: the labels it was made for; None stands for all of the origin.
            choice: what was chosen, by label.

        Raises:
            DataError: if they contradict each other; names the label.
        """
        known = self.origin.label_space.names
        unknown = [name for name in names if name not in known]
        if unknown or not names or len(set(names)) < len(names):
            told = (
                f"label '{unknown[0]}' is not in" if unknown else f"labels {list(names)} do not select from"
            )
            raise self.problem(f"settings: {told} the label space ({', '.join(known)})")
        if tuple(names) != tuple(known if asked is None else asked):
            raise self.problem(f"settings: names are {list(names)}, options say {asked}")
        if not set(choice) <= set(names):
            raise self.problem(f"settings: choice names {sorted(set(choice) - set(names))}, which it has not")
        return tuple(names)

    def problem(self, what: str) -> DataError:
        """Return the error that says `what` is wrong with this saved estimator."""
        return DataError(f"{self.where}: {what}; {MEND}")


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write `bundle` to `folder`; the folder appears complete or not at all and may replace an older bundle.

    Raises:
        DataError: if `folder` exists and is not a saved estimator.
        RunError: if it cannot be written (disk full, no permission); nothing is left behind.
    """
    folder = Path(folder)
    check_replaceable(folder)
    write_atomic_folder(folder, _files(bundle))


def check_replaceable(folder: Path) -> None:
    """Raise DataError if `folder` exists and is not a saved estimator."""
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise DataError(f"{folder}: exists and is not a saved estimator; choose another folder")


def load_bundle(folder: Path, estimator: str | None = None) -> StoredBundle:
    """Read and verify a saved estimator; `estimator` is the name it must have, if given.

    Raises:
        DataError: if the folder is incomplete, was changed, is of another format or another estimator.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if estimator is not None and manifest.estimator != estimator:
        raise DataError(f"{folder}: holds a '{manifest.estimator}' estimator, expected '{estimator}'")
    # The bytes that were verified are those that are parsed: nothing is read twice.
    contents = {name: _verified(folder, name, entry) for name, entry in manifest.files.items()}
    tensors = Tensors.parse(contents.pop(TENSORS), f"{folder / TENSORS}", MEND)
    origin = _origin(folder, manifest, tensors)
    texts = {name: _text(folder / name, content) for name, content in contents.items()}
    return StoredBundle(str(folder), manifest.estimator, origin, manifest.settings, tensors, texts)


def _origin(folder: Path, manifest: BundleManifest, tensors: Tensors) -> Origin:
    wavelength = tensors.take("wavelength", "L", torch.float64).numpy()
    beside = None
    if GRID + "pixel_bounds" in tensors:
        stored = tensors.part(GRID)
        beside = {
            "pixel_bounds": stored.take("pixel_bounds", (2, "L"), torch.float64).numpy(),
            "arms": stored.take("arms", "A", torch.int64).numpy(),
        }
        stored.finish()
    try:
        grid = WavelengthGrid.joined(wavelength, manifest.grid.medium, beside)
    except DataError as error:
        raise DataError(f"{tensors.where}: {error}") from error
    if grid.fingerprint != manifest.grid.fingerprint:
        raise DataError(
            f"{folder}: wavelengths do not have the grid fingerprint of {MANIFEST}; save it again"
        )
    lsf = None if manifest.lsf is None else manifest.lsf.model_dump()
    stored = tensors.part(DOMAIN)
    # What was saved before domains were judged has none.
    domain = InputDomain.read(stored, grid) if stored.names else None
    return Origin(grid, manifest.label_space, manifest.training, lsf, domain)


def _files(bundle: Bundle) -> dict[str, bytes]:
    """Return the files of a saved estimator by name, the manifest last."""
    from safetensors.torch import save as dump_tensors

    grid = bundle.origin.grid
    # safetensors refuses tensors that are not contiguous.
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in bundle.tensors.items()}
    if bundle.origin.domain is not None:
        tensors |= {DOMAIN + name: value for name, value in bundle.origin.domain.to_tensors().items()}
    # A copy: PyTorch warns of read-only memory, and a grid's is.
    tensors["wavelength"] = torch.from_numpy(np.array(grid.wavelength))
    tensors |= {GRID + name: torch.from_numpy(values) for name, values in grid.beside_centres().items()}
    files = {TENSORS: dump_tensors(tensors)} | {name: text.encode() for name, text in bundle.texts.items()}
    manifest = {
        "format_version": FORMAT_VERSION,
        "specvit_version": specvit.__version__,
        "estimator": bundle.estimator,
        "grid": {"fingerprint": grid.fingerprint, "medium": grid.medium, "description": grid.describe()},
        "lsf": bundle.origin.lsf,
        "label_space": bundle.origin.label_space.to_dict(),
        "training": bundle.origin.training.to_dict(),
        "settings": bundle.settings,
        "files": {name: {"sha256": _sha256(data), "bytes": len(data)} for name, data in files.items()},
    }
    # Through JSON, as it is read: a tuple is a list there, and the checksum is that of what is read.
    # NaN is refused: it is no JSON, and other readers would fail on it.
    manifest = json.loads(json.dumps(manifest, allow_nan=False))
    text = json.dumps(manifest | {"sha256": checksum(manifest)}, indent=2) + "\n"
    return {**files, MANIFEST: text.encode()}


def _verified(folder: Path, name: str, entry: FileEntry) -> bytes:
    path = folder / name
    missing = f"{folder}: {name} is missing; the saved estimator is incomplete"
    data = read_bytes(path, "file of a saved estimator", "copy the estimator again", missing)
    if len(data) != entry.bytes or _sha256(data) != entry.sha256:
        raise DataError(
            f"{path}: {len(data)} bytes do not have the recorded checksum ({entry.bytes} bytes expected); "
            "the file was changed or cut short: copy or save the estimator again"
        )
    return data


def _text(path: Path, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a UTF-8 text file ({error.reason}); {MEND}") from error


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
