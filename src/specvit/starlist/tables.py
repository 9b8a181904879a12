"""What was found as a table: CSV, ECSV, FITS, Parquet or JSON, by the name of the file, one part of the rows at a time.

Rows are gone through twice: first for names, kinds and widths of the columns, then to be written.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from specvit.errors import ConfigError, import_optional
from specvit.runs.atomic import write_atomic, write_atomic_path

#: Endings of the names.
FORMS = (".csv", ".ecsv", ".fits", ".parquet", ".json")
#: Column -> unit, where there is one.
_UNITS = {"teff": "K", "rv": "km / s", "log_g": "dex", "m_h": "dex", "alpha_m": "dex", "c_m": "dex"}
#: Rows that are held while a table is written.
BLOCK = 2048

Star = dict[str, Any]
#: Goes through all stars, in order; called once for each time they are gone through.
Stars = Callable[[], Iterator[Star]]


def check_table_name(path: Path) -> None:
    """Raise ConfigError if the ending of the name is of no form that is written, or it is a folder.

    Raises:
        MissingExtra: for Parquet without pyarrow: before the stars are fitted, not after.
    """
    kind = path.suffix.lower()
    if kind not in FORMS:
        raise ConfigError(f"--out {path}: expected a name that ends in {', '.join(FORMS)}")
    if path.is_dir():
        raise ConfigError(f"--out {path}: is a folder; name a file in it")
    if kind == ".parquet":
        import_optional("pyarrow.parquet", "parquet", f"--out {path.name}")


def row_of(star: Star) -> Star:
    """Return a star as one row: plain numbers and texts, covariances of labels as `cov_A_B`."""
    row = {key: value for key, value in star.items() if not isinstance(value, dict | list)}
    row["flags"] = " ".join(star["flags"])
    if "reason" in star:
        return row
    row["assumptions"] = " | ".join(star["assumptions"])
    row["advice"] = " | ".join(star.get("advice", ()))
    row["minima"] = len(star["minima"])
    names, matrix = star["covariance"]["labels"], star["covariance"]["matrix"]
    for i, one in enumerate(names):
        for j, other in enumerate(names[: i + 1]):
            row[f"cov_{other}_{one}"] = matrix[i][j]
    return row


def write_table_of_stars(stars: Stars, path: Path, provenance: dict[str, Any]) -> int:
    """Write all stars to `path`, atomically; its ending says how. Return how many there are.

    Raises:
        ConfigError: for another ending than `FORMS`.
        RunError: if it cannot be written.
    """
    check_table_name(path)
    kind = path.suffix.lower()
    if kind == ".json":
        return _write_json(stars, path, provenance)
    shape = _shape_of(stars, provenance)
    rows = _Rows(stars, provenance, shape)
    write = {".csv": _write_csv, ".ecsv": _write_ecsv, ".fits": _write_fits, ".parquet": _write_parquet}[kind]
    write(rows, path, provenance)
    return shape.count


@dataclass(frozen=True)
class _Shape:
    """Column -> dtype kind (f, i or U), widest text of it in bytes, number of rows."""

    kinds: dict[str, str]
    widths: dict[str, int]
    count: int


class _Rows:
    """The rows of a table, all with the same columns; what a star does not have is NaN or empty."""

    def __init__(self, stars: Stars, provenance: dict[str, Any], shape: _Shape) -> None:
        self.stars, self.provenance, self.shape = stars, provenance, shape
        self.empty = {name: "" if kind == "U" else math.nan for name, kind in shape.kinds.items()}

    def __iter__(self) -> Iterator[Star]:
        for star in self.stars():
            yield self.empty | row_of(star) | self.provenance

    def blocks(self) -> Iterator[dict[str, np.ndarray]]:
        """Yield column -> values of some rows at a time."""
        rows = iter(self)
        while block := list(islice(rows, BLOCK)):
            yield {
                name: np.array([row[name] for row in block], {"f": float, "i": np.int64, "U": object}[kind])
                for name, kind in self.shape.kinds.items()
            }


def _shape_of(stars: Stars, provenance: dict[str, Any]) -> _Shape:
    kinds: dict[str, str] = {}
    widths: dict[str, int] = {}
    seen: dict[str, int] = {}
    count = 0
    for star in stars():
        count += 1
        for name, value in (row_of(star) | {"reason": star.get("reason", "")} | provenance).items():
            kind = "U" if isinstance(value, str) else "f" if isinstance(value, float) else "i"
            known = kinds.setdefault(name, kind)
            if known != kind:
                kinds[name] = "U" if "U" in (known, kind) else "f"
            seen[name] = seen.get(name, 0) + 1
            if kind == "U":
                widths[name] = max(widths.get(name, 1), len(_in_ascii(str(value))))
    # A whole number has no NaN.
    kinds = {name: "f" if kind == "i" and seen[name] < count else kind for name, kind in kinds.items()}
    return _Shape(kinds, widths, count)


def _write_csv(rows: _Rows, path: Path, _: dict[str, Any]) -> None:
    write_atomic(path, lambda stream: _csv_lines(rows, stream))


def _write_ecsv(rows: _Rows, path: Path, provenance: dict[str, Any]) -> None:
    table = import_optional("astropy.table", None, "writing .ecsv files")
    kinds = rows.shape.kinds
    heading = table.Table(
        names=list(kinds), dtype=[{"f": "f8", "i": "i8", "U": "U1"}[kind] for kind in kinds.values()]
    )
    for name in heading.colnames:
        heading[name].unit = _unit(name)
    heading.meta.update(provenance)
    text = io.StringIO()
    heading.write(text, format="ascii.ecsv", delimiter=",")
    # The heading ends with the line of the names, which the rows bring too.
    lines = text.getvalue().splitlines()[:-1]

    def write(stream: BinaryIO) -> None:
        stream.write(("\n".join(lines) + "\n").encode())
        _csv_lines(rows, stream)

    write_atomic(path, write)


def _csv_lines(rows: _Rows, stream: BinaryIO) -> None:
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows.shape.kinds)
    for row in rows:
        writer.writerow([_short(row[name]) for name in rows.shape.kinds])
    text.flush()
    # The file stays open for who opened it.
    text.detach()


def _write_fits(rows: _Rows, path: Path, provenance: dict[str, Any]) -> None:
    fits = import_optional("astropy.io.fits", None, "writing .fits files")
    shape = rows.shape
    kinds = {
        name: f"S{shape.widths[name]}" if kind == "U" else {"f": ">f8", "i": ">i8"}[kind]
        for name, kind in shape.kinds.items()
    }
    columns = [
        fits.Column(
            name,
            f"{shape.widths[name]}A" if kind == "U" else {"f": "D", "i": "K"}[kind],
            # FITS has no dex.
            unit=None if (unit := _unit(name)) == "dex" else unit,
        )
        for name, kind in shape.kinds.items()
    ]
    header = fits.BinTableHDU.from_columns(columns, nrows=0, name="STARS").header
    header["NAXIS2"] = shape.count
    for key, value in provenance.items():
        header[key[:8].upper()] = _in_ascii(value) if isinstance(value, str) else value

    def write(stream: BinaryIO) -> None:
        stream.write(fits.PrimaryHDU().header.tostring().encode("ascii"))
        stream.write(header.tostring().encode("ascii"))
        size = 0
        for block in rows.blocks():
            table = np.zeros(len(next(iter(block.values()))), list(kinds.items()))
            for name, values in block.items():
                table[name] = [_in_ascii(v).encode() for v in values] if values.dtype == object else values
            size += stream.write(table.tobytes())
        stream.write(b"\0" * (-size % 2880))

    write_atomic(path, write)


def _write_parquet(rows: _Rows, path: Path, provenance: dict[str, Any]) -> None:
    arrow = import_optional("pyarrow", "parquet", "writing Parquet")
    parquet = import_optional("pyarrow.parquet", "parquet", "writing Parquet")
    kinds = {"f": arrow.float64(), "i": arrow.int64(), "U": arrow.string()}
    fields = [
        arrow.field(name, kinds[kind], metadata={"unit": unit} if (unit := _unit(name)) else None)
        for name, kind in rows.shape.kinds.items()
    ]
    schema = arrow.schema(fields, metadata={key: str(value) for key, value in provenance.items()})

    def write(partial: Path) -> None:
        with parquet.ParquetWriter(partial, schema) as writer:
            for block in rows.blocks():
                arrays = [
                    arrow.array(values, field.type)
                    for values, field in zip(block.values(), fields, strict=True)
                ]
                writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))

    write_atomic_path(path, write)


def _write_json(stars: Stars, path: Path, provenance: dict[str, Any]) -> int:
    count = 0

    def write(stream: BinaryIO) -> None:
        nonlocal count
        stream.write(f'{{"provenance": {json.dumps(provenance)},\n "stars": ['.encode())
        for star in stars():
            stream.write(
                (",\n" if count else "\n").encode() + json.dumps(finite(star), allow_nan=False).encode()
            )
            count += 1
        stream.write(b"\n]}\n")

    write_atomic(path, write)
    return count


def _unit(column: str) -> str | None:
    return _UNITS.get(column.removesuffix("_err").removesuffix("_total").removesuffix("_calibrated"))


def _short(value: Any) -> Any:
    """Return a number with the seven digits that mean something."""
    return float(f"{value:.7g}") if isinstance(value, float) else value


def _in_ascii(value: str) -> str:
    """Return a text as FITS can hold it."""
    return value.replace("Å", "Angstrom").encode("ascii", "backslashreplace").decode()


def finite(value: Any) -> Any:
    """Return a value with what JSON cannot say, numbers that are not finite, as None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
