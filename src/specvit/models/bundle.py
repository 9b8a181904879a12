"""Saved estimators: one folder of arrays, texts and a manifest, written all or nothing, verified on reading.

Owns the file format; each estimator decides what goes in. Never pickle: weights are safetensors, trees are
LightGBM's own text.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import specvit
from specvit.errors import DataError
from specvit.runs.atomic import disk_errors
from specvit.spectra import LabelSpace, SpectraSource, WavelengthGrid

#: 3: the correction of a network's errors knows the noise level.
FORMAT_VERSION = 3
MANIFEST = "manifest.json"
TENSORS = "weights.safetensors"


@dataclass(frozen=True)
class Origin:
    """What a fitted estimator was made for and from.

    Args:
        grid: the pixels it expects.
        label_space: names, units and bounds of the training labels.
        training: JSON-ready provenance: number of spectra, and what the source says about itself.
        lsf: line-spread function of the training spectra, {"wavelength": [Å], "fwhm": [Å]}; None if unknown.
    """

    grid: WavelengthGrid
    label_space: LabelSpace
    training: dict[str, Any]
    lsf: dict[str, list[float]] | None = None

    @classmethod
    def of(cls, train: SpectraSource, validation: SpectraSource) -> Origin:
        """Describe two sources by their size, provenance and the line-spread function of the first."""
        training = {
            "train_spectra": len(train),
            "validation_spectra": len(validation),
            "train": train.provenance,
            "validation": validation.provenance,
        }
        return cls(train.grid, train.label_space, training, train.lsf)


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


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write `bundle` to `folder`; the folder appears complete or not at all and may replace an older bundle.

    Raises:
        DataError: if `folder` exists and is not a saved estimator.
        RunError: if it cannot be written (disk full, no permission); nothing is left behind.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise DataError(f"{folder}: exists and is not a saved estimator; choose another folder")
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    try:
        with disk_errors(folder):
            partial.mkdir(parents=True)
            _write_files(bundle, partial)
            if folder.exists():
                old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
                folder.rename(old)
                partial.rename(folder)
                shutil.rmtree(old)
            else:
                partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load_bundle(folder: Path, estimator: str | None = None) -> Bundle:
    """Read and verify a saved estimator; `estimator` is the name it must have, if given.

    Raises:
        DataError: if the folder is incomplete, was changed, is of another format or another estimator.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder)
    if estimator is not None and manifest["estimator"] != estimator:
        raise DataError(f"{folder}: holds a '{manifest['estimator']}' estimator, expected '{estimator}'")
    contents = {name: _verified(folder, name, entry) for name, entry in manifest["files"].items()}
    from safetensors.torch import load as load_tensors

    tensors = load_tensors(contents.pop(TENSORS))
    grid = WavelengthGrid(tensors.pop("wavelength").numpy(), manifest["grid"]["medium"])
    if grid.fingerprint != manifest["grid"]["fingerprint"]:
        raise DataError(
            f"{folder}: wavelengths do not have the grid fingerprint of {MANIFEST}; save it again"
        )
    space = LabelSpace.from_dict(manifest["label_space"])
    origin = Origin(grid, space, manifest["training"], manifest["lsf"])
    texts = {name: content.decode() for name, content in contents.items()}
    return Bundle(manifest["estimator"], origin, manifest["settings"], tensors, texts)


def _write_files(bundle: Bundle, folder: Path) -> None:
    from safetensors.torch import save as dump_tensors

    grid = bundle.origin.grid
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in bundle.tensors.items()}
    tensors["wavelength"] = torch.from_numpy(np.array(grid.wavelength))
    files = {TENSORS: dump_tensors(tensors)} | {name: text.encode() for name, text in bundle.texts.items()}
    manifest = {
        "format_version": FORMAT_VERSION,
        "specvit_version": specvit.__version__,
        "estimator": bundle.estimator,
        "grid": {"fingerprint": grid.fingerprint, "medium": grid.medium, "description": grid.describe()},
        "lsf": bundle.origin.lsf,
        "label_space": bundle.origin.label_space.to_dict(),
        "training": bundle.origin.training,
        "settings": bundle.settings,
        "files": {name: {"sha256": _sha256(data), "bytes": len(data)} for name, data in files.items()},
    }
    manifest["sha256"] = _digest(manifest)
    for name, data in files.items():
        _write_synced(folder / name, data)
    _write_synced(folder / MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(f"{folder}: no {MANIFEST}; this is not a (complete) saved estimator")
    try:
        manifest = json.loads(path.read_text())
        version, digest = manifest["format_version"], manifest.pop("sha256")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: not a readable manifest ({error}); fit and save the estimator again"
        ) from None
    if version != FORMAT_VERSION:
        raise DataError(
            f"{path}: format version {version}, this specvit reads {FORMAT_VERSION}; {_mend(version)}"
        )
    if digest != _digest(manifest):
        raise DataError(
            f"{path}: was changed after saving (checksum differs); fit and save the estimator again"
        )
    return manifest


def _mend(version: object) -> str:
    """Return what to do about a format version that is not read."""
    if isinstance(version, int) and version < FORMAT_VERSION:
        return "it was saved by an older specvit: fit (a network: train) and save the estimator again"
    return "upgrade specvit"


def _verified(folder: Path, name: str, entry: dict[str, Any]) -> bytes:
    path = folder / name
    if not path.is_file():
        raise DataError(f"{folder}: {name} is missing; the saved estimator is incomplete")
    data = path.read_bytes()
    if len(data) != entry["bytes"] or _sha256(data) != entry["sha256"]:
        raise DataError(
            f"{path}: {len(data)} bytes do not have the recorded checksum ({entry['bytes']} bytes expected); "
            "the file was changed or cut short: copy or save the estimator again"
        )
    return data


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest(manifest: dict[str, Any]) -> str:
    return _sha256(json.dumps(manifest, sort_keys=True).encode())
