"""The library's file: HDF5 with a typed description and a checksum. Owns bytes and what must be in it, not meaning."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from specvit.documents import Section
from specvit.documents.hdf5 import INTEGERS, HdfFile, open_hdf5
from specvit.documents.records import read_json, read_record
from specvit.errors import DataError
from specvit.library import lowrank
from specvit.runs.atomic import write_atomic_path
from specvit.spectra import LabelSpace

FORMAT = "specvit-library-1"
#: What to do about a damaged file.
MEND = "restore it, or import it again with `specvit library import`"
FLOATS = "f"


class LibraryRecord(Section):
    """What a library file says of itself; see `SyntheticLibrary`."""

    medium: Literal["vacuum", "air"]
    resolution: float = Field(gt=0, description="λ/FWHM")
    label_space: LabelSpace
    provenance: dict[str, Any]


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
        RunError: if the file cannot be written.
    """
    import h5py

    code = {"plain": flux} if components is None else lowrank.encode(flux, components, tolerance)
    stored = dict(arrays) | {f"flux_{name}": values for name, values in code.items()}
    description = json.dumps(metadata, sort_keys=True)

    def write_to(partial: Path) -> None:
        with h5py.File(partial, "w") as file:
            for name, values in stored.items():
                # Filters need chunks, which scalars cannot have and small arrays do not repay.
                packed = {"compression": "gzip", "compression_opts": 9, "shuffle": True}
                file.create_dataset(name, data=values, **(packed if values.size > 64 else {}))
            file.attrs["format"] = FORMAT
            file.attrs["metadata"] = description
            file.attrs["sha256"] = _digest(stored, description)

    write_atomic_path(path, write_to)


@contextmanager
def open_library_file(path: Path) -> Iterator[tuple[HdfFile, LibraryRecord]]:
    """Open a library file and read its description; its checksum is not verified.

    Raises:
        DataError: if it is missing, truncated, not a library of this format, or its description lacks an entry.
    """
    with open_hdf5(path, "library file", "import it with `specvit library import`") as file:
        found = file.attribute("format", str) if file.has_attribute("format") else None
        if found != FORMAT:
            raise DataError(
                f"{path}: expected format {FORMAT}, got {found}; import it with `specvit library import`"
            )
        where = f"{path}: attribute 'metadata'"
        entries = read_json(file.attribute("metadata", str), where, MEND)
        yield file, read_record(LibraryRecord, entries, where, MEND)


def read_library_file(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray], LibraryRecord]:
    """Return (flux, other arrays, description) after verifying the checksum.

    Raises:
        DataError: if the file is missing, truncated, altered or not a library of this format; names the array
            that is missing or does not go with the others.
    """
    with open_library_file(path) as (file, record):
        stored = _arrays(path, file, len(record.label_space))
        description, stated = file.attribute("metadata", str), file.attribute("sha256", str)
    if _digest(stored, description) != stated:
        raise DataError(f"{path}: its content does not match its checksum; {MEND}")
    for name, values in stored.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise DataError(f"{path}: '{name}' holds values that are not finite; {MEND}")
    code = {name.removeprefix("flux_"): stored.pop(name) for name in list(stored) if name.startswith("flux_")}
    try:
        return code["plain"] if "plain" in code else lowrank.decode(code), stored, record
    except IndexError as error:
        raise DataError(f"{path}: 'flux_exact_gap' leads beyond the spectra; {MEND}") from error
    except MemoryError as error:
        raise DataError(f"{path}: its spectra do not fit into memory; read a smaller file") from error


def _arrays(path: Path, file: HdfFile, labels: int) -> dict[str, np.ndarray]:
    """Return the arrays of a library file, whose axes go together."""
    arrays = {"labels": file.array("labels", (None, labels), FLOATS)}
    arrays["wavelength"] = file.array("wavelength", (None,), FLOATS)
    spectra, pixels = len(arrays["labels"]), len(arrays["wavelength"])
    shapes: dict[str, tuple[tuple[int | None, ...], str]] = {}
    if "flux_plain" in file:
        shapes["flux_plain"] = (spectra, pixels), FLOATS
    else:
        components = file.dataset("flux_basis_codes", (None, pixels), INTEGERS).shape[0]
        shapes |= {f"flux_{name}": form for name, form in lowrank.forms(spectra, pixels, components).items()}
    if "continuum" in file or "continuum_wavelength" in file:
        nodes = file.dataset("continuum_wavelength", (None,), FLOATS).shape[0]
        shapes |= {"continuum_wavelength": ((nodes,), FLOATS), "continuum": ((spectra, nodes), FLOATS)}
    arrays |= {name: file.array(name, shape, kinds) for name, (shape, kinds) in shapes.items()}
    if unknown := sorted(set(file.members("/")) - set(arrays)):
        raise DataError(f"{path}: unknown array '{unknown[0]}'; {MEND}")
    return arrays


def _digest(arrays: dict[str, np.ndarray], description: str) -> str:
    digest = hashlib.sha256(description.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        # Type and shape too: the same bytes can be other numbers.
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
