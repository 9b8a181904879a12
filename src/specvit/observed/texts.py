"""Spectra in text: columns with or without a heading (CSV, blanks, ECSV). Owns the reading of lines alone."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np

from specvit.documents.words import one_line
from specvit.errors import DataError
from specvit.observed.columns import role_of
from specvit.observed.units import is_unit

#: A spectrum in text is smaller; a larger file is something else.
LARGEST_TEXT = 300_000_000
#: First bytes of a compressed file.
GZIP = b"\x1f\x8b"
COMMENTS = ("#", "%", "!", ";", "//")


class TextTable(NamedTuple):
    """Columns of a text file by name, their units where stated, and whether the file itself names them."""

    columns: dict[str, np.ndarray]
    units: dict[str, str | None]
    headed: bool


def read_text_table(path: Path, wanted: Collection[str] = ()) -> TextTable:
    """Return the columns of a text file.

    ECSV says both names and units; else the last line before the first row of numbers may name the columns, and
    without one they are wavelength, flux and, if there are three or more, sigma.

    Args:
        path: the file.
        wanted: names that the user gives to columns: a comment with all of them is a heading.

    Raises:
        DataError: if it is no table of numbers; names the file and the line.
    """
    try:
        text = _content(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(
            f"{path}: neither FITS nor text; give a spectrum as FITS, VOTable, ECSV, CSV or columns"
        ) from None
    if not text.strip():
        raise DataError(f"{path}: the file is empty")
    if text.startswith("# %ECSV"):
        return TextTable(*_ecsv(path, text), headed=True)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    heading = next((k for k, line in enumerate(lines) if not line.startswith(COMMENTS)), len(lines))
    rows = [line for line in lines[heading:] if not line.startswith(COMMENTS)]
    if not rows:
        raise DataError(f"{path}: holds no rows of numbers")
    delimiter = next((mark for mark in ";,\t" if mark in rows[0]), None)
    if delimiter == ";":
        # Where a comma is the decimal point, columns are parted by semicolons.
        rows = [row.replace(",", ".") for row in rows]
    headed = True
    if not _is_number(_fields(rows[0], delimiter)[0]):
        names, rows = _fields(rows[0], delimiter), rows[1:]
    else:
        # A comment right above the numbers may be their heading.
        words = _fields(re.sub(r"^[#%!;/\s]+", "", lines[heading - 1]), delimiter) if heading else []
        count = len(_fields(rows[0], delimiter))
        headed = len(words) == count and _is_heading(words, wanted)
        plain = ["wavelength", "flux", "sigma"][:count] + [f"column{k}" for k in range(3, count)]
        names = words if headed else plain
    return TextTable(_columns(path, names, rows, delimiter), _units(names), headed)


def _is_heading(words: list[str], wanted: Collection[str]) -> bool:
    """Return whether words name the columns of a spectrum: 'Arcturus spectrum' above two columns does not."""
    plain = [_plain_name(word, k) for k, word in enumerate(words)]
    named = [name for name in wanted if not name.isdigit()]
    return {"wavelength", "flux"} <= set(map(role_of, plain)) or (bool(named) and set(named) <= set(plain))


def _content(path: Path) -> bytes:
    """Return the bytes of a file, unpacked; DataError if there are too many."""
    with path.open("rb") as plain:
        packed = plain.read(len(GZIP)) == GZIP
    content: bytes | None = None
    if packed or path.stat().st_size <= LARGEST_TEXT:
        with gzip.open(path) if packed else path.open("rb") as stream:
            content = stream.read(LARGEST_TEXT + 1)
    if content is None or len(content) > LARGEST_TEXT:
        raise DataError(
            f"{path}: more than {LARGEST_TEXT / 1e6:.0f} MB of text are no spectrum; give one spectrum per file"
        )
    return content


def _columns(path: Path, names: list[str], rows: list[str], delimiter: str | None) -> dict[str, np.ndarray]:
    if len(names) < 2:
        raise DataError(f"{path}: one column only; a spectrum has wavelengths and fluxes")
    split = [_fields(row, delimiter) for row in rows]
    for number, fields in enumerate(split):
        if len(fields) != len(names):
            raise DataError(
                f"{path}: row {number + 1} has {len(fields)} columns where {len(names)} are expected; "
                "it is no table, or a delimiter is missing"
            )
    plain = [_plain_name(name, k) for k, name in enumerate(names)]
    found: dict[str, np.ndarray] = {}
    for k, name in enumerate(plain):
        values = [fields[k] for fields in split]
        try:
            found[name] = np.array([_number(value) if value.strip() else np.nan for value in values])
        except ValueError:
            # Names, dates: no column of a spectrum, but perhaps the one of a star.
            found[name] = np.array(values, dtype=np.str_)
    if not any(values.dtype.kind == "f" for values in found.values()):
        raise DataError(f"{path}: holds no column of numbers; this is no spectrum")
    # Identities of 19 digits are no floating-point numbers.
    for k, name in enumerate(plain):
        if name.lower() == "source_id":
            found[name] = np.array([fields[k].strip() for fields in split], dtype=np.str_)
    return found


def _units(names: list[str]) -> dict[str, str | None]:
    """Return the units of headings such as 'Wavelength[nm]' or 'lambda (Angstrom)', where they are of wavelength."""
    found = {
        _plain_name(name, k): re.search(r"[\[(]\s*([^\])]+?)\s*[\])]", name) for k, name in enumerate(names)
    }
    return {
        name: match.group(1) if match and is_unit(match.group(1)) else None for name, match in found.items()
    }


def _plain_name(name: str, k: int) -> str:
    """Return the first words of a heading: 'Wavelength[A]' or 'flux (erg)' without their units."""
    return re.sub(r"\s*[\[(].*$", "", name.strip().strip('"')) or f"column{k}"


def _ecsv(path: Path, text: str) -> tuple[dict[str, np.ndarray], dict[str, str | None]]:
    from astropy.table import Table

    try:
        table = Table.read(text.splitlines(), format="ascii.ecsv")
    except Exception as error:
        raise DataError(f"{path}: not a complete ECSV table ({one_line(str(error))[:160]})") from error
    units = {name: str(table[name].unit) if table[name].unit else None for name in table.colnames}
    # Whole numbers stay as they are: identities of 19 digits are no floating-point numbers.
    return {
        name: np.ma.filled(table[name].astype(float), np.nan)
        if table[name].dtype.kind == "f" or (table[name].dtype.kind in "iu" and np.ma.is_masked(table[name]))
        else np.asarray(table[name])
        for name in table.colnames
    }, units


def _fields(line: str, delimiter: str | None) -> list[str]:
    return line.split() if delimiter is None else next(csv.reader([line], delimiter=delimiter))


def _number(word: str) -> float:
    """Return a number, Fortran's exponents (1.5D+03) among them; ValueError if it is none."""
    return float(re.sub(r"(?<=[\d.])[dD](?=[+-]?\d)", "e", word))


def _is_number(word: str) -> bool:
    try:
        _number(word)
    except ValueError:
        return False
    return True
