"""The library's file: HDF5 with a JSON description and a checksum. Owns bytes, not meaning."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from specvit.errors import DataError
from specvit.library import lowrank

FORMAT = "specvit-library-1"


def write_library_file(
    path: Path,
    flux: np.ndarray,
    arrays: dict[str, np.ndarray],
    metadata: dict[str, Any],
    components: int | None,
    tolerance: float,
) -> None:
    """Write flux (N, L), further arrays and metadata to `path`, atomically; see `SyntheticLibrary.save`.

    Raises:
        DataError: if the file cannot be written.
    """
    import h5py

    code = {"plain": flux} if components is None else lowrank.encode(flux, components, tolerance)
    stored = dict(arrays) | {f"flux_{name}": values for name, values in code.items()}
    description = json.dumps(metadata, sort_keys=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with h5py.File(partial, "w") as file:
            for name, values in stored.items():
                options = (
                    {"compression": "gzip", "compression_opts": 9, "shuffle": True}
                    if values.size > 64
                    else {}
                )
                file.create_dataset(name, data=values, **options)
            file.attrs["format"] = FORMAT
            file.attrs["metadata"] = description
            file.attrs["sha256"] = _digest(stored, description)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot write the library: {error}") from error


def read_library_file(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, Any]]:
    """Return (flux, other arrays, metadata) after verifying the checksum.

    Raises:
        DataError: if the file is missing, truncated, altered or not a library of this format.
    """
    import h5py

    if not path.is_file():
        raise DataError(f"{path}: no such library file")
    try:
        with h5py.File(path, "r") as file:
            found = file.attrs.get("format")
            if found != FORMAT:
                raise DataError(
                    f"{path}: expected format {FORMAT}, got {found}; import it with `specvit library import`"
                )
            stored = {name: dataset[()] for name, dataset in file.items()}
            description, digest = file.attrs["metadata"], file.attrs["sha256"]
    except (OSError, KeyError, RuntimeError) as error:
        raise DataError(f"{path}: not a complete library file ({error}); restore or rebuild it") from error
    if _digest(stored, description) != digest:
        raise DataError(f"{path}: its content does not match its checksum; restore or rebuild the file")
    code = {name.removeprefix("flux_"): stored.pop(name) for name in list(stored) if name.startswith("flux_")}
    flux = code["plain"] if "plain" in code else lowrank.decode(code)
    return flux, stored, json.loads(description)


def _digest(arrays: dict[str, np.ndarray], description: str) -> str:
    digest = hashlib.sha256(description.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
