"""Files of latents: HDF5 or Parquet, written part by part, continued after a stop. Knows arrays, no network.

HDF5, format version 1. Attributes of the file: `format` = "specvit latents", `format_version`, `about` (JSON: network,
spectra, layers, seed, versions). Arrays, one row per spectrum:

/latents/LAYER/POOLING   float32, (N, F), or (N, T, W) for "tokens"; T in order of wavelength
/columns/NAME            float64, (N,): row, snr, conditions, label.NAME, estimate.NAME; NaN where unknown

Parquet holds the same: a list of floats per latent, named LAYER/POOLING, beside the columns; tokens are HDF5's alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from specvit.documents.hdf5 import FLOATS, HdfFile, open_hdf5
from specvit.documents.opening import is_there, read_bytes
from specvit.errors import ConfigError, DataError, RunError, import_optional
from specvit.runs.atomic import disk_errors, write_atomic, write_atomic_path

FORMAT, FORMAT_VERSION = "specvit latents", 1
LATENTS, COLUMNS = "latents", "columns"
REMAKE = "give the same `specvit latents` command again"
#: Where a Parquet file says what its latents are of.
NOTE = b"specvit latents"
#: Bytes of a part, about: what is in memory at once, and what a stop can lose.
PART_BYTES = 32_000_000
#: Rows that are copied at once into the final file.
COPIED = 256

Key = tuple[str, str]


@dataclass(frozen=True)
class LatentsPart:
    """Latents and columns of some spectra, (n, ...) each."""

    latents: dict[Key, np.ndarray]
    columns: dict[str, np.ndarray]


@dataclass(frozen=True)
class LatentsPlan:
    """What a file is to hold.

    Args:
        about: JSON-ready: all that the latents depend on; a half-written file of another `about` is not continued.
        rows: N.
        shapes: (layer, pooling) -> shape of the latent of one spectrum.
    """

    about: dict[str, Any]
    rows: int
    shapes: dict[Key, tuple[int, ...]]

    @property
    def part_rows(self) -> int:
        """Spectra per part."""
        each = 4 * sum(int(np.prod(shape)) for shape in self.shapes.values())
        return int(np.clip(PART_BYTES // max(each, 1), 16, 4096))

    @property
    def parts(self) -> list[tuple[int, int]]:
        """First row and end of every part."""
        step = self.part_rows
        return [(start, min(start + step, self.rows)) for start in range(0, self.rows, step)]


def write_latents_file(
    plan: LatentsPlan,
    path: Path,
    make: Callable[[int, int], LatentsPart],
    update: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write a file of latents, or continue it; at no time is more than a part in memory.

    Parts lie in a folder beside the file until it is whole: a command that is stopped and given again makes only those
    that are missing.

    Args:
        plan: of the file.
        path: ending in .h5 or .parquet.
        make: latents of rows [start, stop).
        update: told rows done, and all.

    Raises:
        ConfigError: for another ending, or tokens in Parquet.
        MissingExtra: for Parquet without pyarrow.
        RunError: if a file of something else, or half a file of other latents, lies there, or the disk is full.
    """
    check_form(path, plan.shapes)
    _refuse_others(path, plan)
    folder = path.with_name(f".{path.name}.parts")
    _begin(folder, plan)
    for number, (start, stop) in enumerate(plan.parts):
        part = folder / f"part-{number:06d}.h5"
        if not part.is_file():
            write_atomic_path(part, partial(_write_part, make(start, stop)))
        update(stop, plan.rows)
    parts = [folder / f"part-{number:06d}.h5" for number in range(len(plan.parts))]
    join = _join_parquet if path.suffix == ".parquet" else _join_hdf5
    write_atomic_path(path, partial(join, plan, parts))
    shutil.rmtree(folder, ignore_errors=True)
    return path


def check_form(path: Path, keys: dict[Key, tuple[int, ...]] | list[Key]) -> None:
    """Raise ConfigError unless a file of this name can hold these latents; MissingExtra for Parquet without pyarrow."""
    if path.suffix not in (".h5", ".parquet"):
        raise ConfigError(f"--out {path}: expected a name ending in .h5 or .parquet")
    if path.suffix == ".parquet":
        import_optional("pyarrow", "parquet", "writing Parquet")
        if any(pooling == "tokens" for _, pooling in keys):
            raise ConfigError(f"--out {path}: tokens have two axes, which only a .h5 file holds")


@dataclass(frozen=True)
class LatentsFile:
    """An open HDF5 file of latents.

    Args:
        file: it.
        about: see `LatentsPlan`.
        keys: (layer, pooling) it holds.
    """

    file: HdfFile
    about: dict[str, Any]
    keys: list[Key]

    def latents(self, layer: str, pooling: str) -> np.ndarray:
        """Return one array, (N, F) or (N, T, W); DataError if it is not there."""
        if (layer, pooling) not in self.keys:
            known = ", ".join("/".join(key) for key in self.keys)
            raise DataError(f"{self.file.path}: holds no {layer}/{pooling}; it has {known}")
        axes = (None, None, None) if pooling == "tokens" else (None, None)
        return self.file.array(f"{LATENTS}/{layer}/{pooling}", axes, FLOATS)

    def column(self, name: str) -> np.ndarray:
        """Return a column, (N,)."""
        return self.file.array(f"{COLUMNS}/{name}", (None,), FLOATS)

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return self.file.members(COLUMNS)


@contextmanager
def open_latents(path: Path) -> Iterator[LatentsFile]:
    """Open an HDF5 file of latents.

    Raises:
        DataError: if it is none, damaged, or of a newer format.
    """
    with open_hdf5(path, "file of latents", REMAKE) as file:
        if file.attribute("format", str) != FORMAT:
            raise DataError(f"{path}: is no file of latents; {REMAKE}")
        version = file.attribute("format_version", int)
        if version != FORMAT_VERSION:
            raise DataError(f"{path}: format {version}, this specvit reads {FORMAT_VERSION}; {REMAKE}")
        about = file.json("about", _as_dict)
        layers = file.members(LATENTS)
        keys = [(layer, pooling) for layer in layers for pooling in file.members(f"{LATENTS}/{layer}")]
        yield LatentsFile(file, about, keys)


def _as_dict(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("expected an object")
    return value


def _begin(folder: Path, plan: LatentsPlan) -> None:
    """Make the folder of parts, or see that the one there is of the same latents."""
    identity = json.dumps(
        {
            "about": plan.about,
            "rows": plan.rows,
            "shapes": [[*key, *shape] for key, shape in plan.shapes.items()],
        },
        sort_keys=True,
    )
    note = folder / "plan.json"
    begun = is_there(note, "plan of a file of latents")
    if begun and read_bytes(note, "plan of a file of latents", REMAKE) != identity.encode():
        raise RunError(
            f"{folder}: holds half a file of other latents; move it away, or give the command that began it again"
        )
    if not begun:
        with disk_errors(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        write_atomic(note, identity)


def _refuse_others(path: Path, plan: LatentsPlan) -> None:
    """Raise RunError if a whole file is there that this command would not have written."""
    if not is_there(path, "file of latents"):
        return
    about, what = None, "is no file of latents"
    with suppress(DataError):
        about = _about_of(path)
        what = "holds other latents"
    if about != plan.about:
        raise RunError(f"{path}: {what}; move it away, or give another name with --out")


def _about_of(path: Path) -> Any:
    """Return what a file says its latents are of; DataError if it does not."""
    if path.suffix != ".parquet":
        with open_latents(path) as file:
            return file.about
    parquet = import_optional("pyarrow.parquet", "parquet", "reading Parquet")
    try:
        stated = (parquet.read_schema(path).metadata or {})[NOTE]
        return json.loads(stated)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: is no file of latents; {REMAKE}") from error


def _write_part(part: LatentsPart, path: Path) -> None:
    with h5py.File(path, "w") as file:
        for (layer, pooling), values in part.latents.items():
            file[f"{LATENTS}/{layer}/{pooling}"] = values.astype(np.float32)
        for name, values in part.columns.items():
            file[f"{COLUMNS}/{name}"] = values.astype(np.float64)


def _pieces(part: Path, count: int) -> Iterator[tuple[int, Callable[[str], np.ndarray]]]:
    """Yield the first row of every piece of a part, and what reads an array of it."""
    with h5py.File(part, "r") as file:
        for start in range(0, count, COPIED):
            yield start, partial(_rows_of, file, start)


def _rows_of(file: h5py.File, start: int, key: str) -> np.ndarray:
    rows: np.ndarray = file[key][start : start + COPIED]
    return rows


def _join_hdf5(plan: LatentsPlan, parts: list[Path], path: Path) -> None:
    with h5py.File(parts[0], "r") as first:
        columns = list(first[COLUMNS])
    with h5py.File(path, "w") as file:
        file.attrs["format"], file.attrs["format_version"] = FORMAT, FORMAT_VERSION
        file.attrs["about"] = json.dumps(plan.about)
        shapes = {f"{LATENTS}/{layer}/{pooling}": shape for (layer, pooling), shape in plan.shapes.items()}
        arrays = {
            key: file.create_dataset(key, (plan.rows, *shape), np.float32) for key, shape in shapes.items()
        }
        names = [f"{COLUMNS}/{name}" for name in columns]
        arrays |= {key: file.create_dataset(key, (plan.rows,), np.float64) for key in names}
        for (begin, end), part in zip(plan.parts, parts, strict=True):
            for start, read in _pieces(part, end - begin):
                for key, array in arrays.items():
                    values = read(key)
                    array[begin + start : begin + start + len(values)] = values


def _join_parquet(plan: LatentsPlan, parts: list[Path], path: Path) -> None:
    arrow = import_optional("pyarrow", "parquet", "writing Parquet")
    parquet = import_optional("pyarrow.parquet", "parquet", "writing Parquet")
    writer = None
    try:
        for (begin, end), part in zip(plan.parts, parts, strict=True):
            with h5py.File(part, "r") as file:
                columns = list(file[COLUMNS])
            for _, read in _pieces(part, end - begin):
                table = {name: arrow.array(read(f"{COLUMNS}/{name}")) for name in columns}
                for layer, pooling in plan.shapes:
                    values = read(f"{LATENTS}/{layer}/{pooling}")
                    flat = arrow.array(values.reshape(-1))
                    table[f"{layer}/{pooling}"] = arrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
                made = arrow.table(table).replace_schema_metadata({NOTE: json.dumps(plan.about)})
                writer = writer or parquet.ParquetWriter(path, made.schema)
                writer.write_table(made)
    finally:
        if writer is not None:
            writer.close()
