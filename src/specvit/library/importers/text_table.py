"""Compressed tables of numbers (.bz2, .gz or plain), read over the rows that matter.

Owns decompression and parsing with one-line errors; knows no library's naming or columns.
"""

from __future__ import annotations

import bz2
import gzip
import re
import zlib
from pathlib import Path

import numpy as np

from specvit.documents.opening import read_bytes
from specvit.errors import DataError


def read_lines(path: Path) -> list[bytes]:
    """Return the lines of a text file, decompressed by its suffix, without trailing blank lines.

    Raises:
        AccessError: if the system does not give it.
        DataError: if the file is missing, truncated, damaged or empty.
    """
    packed = read_bytes(path, "table of numbers", "download it again")
    try:
        content = {".bz2": bz2.decompress, ".gz": gzip.decompress}.get(path.suffix, bytes)(packed)
    except (EOFError, ValueError, OSError, zlib.error) as error:
        raise DataError(f"{path.name}: truncated or damaged ({error}); download it again") from error
    lines = content.splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise DataError(f"{path.name}: holds no data; download it again")
    return lines


def parse_rows(path: Path, lines: list[bytes], columns: int) -> np.ndarray:
    """Return the numbers of `lines`, shape (rows, columns), float64.

    Raises:
        DataError: if a row has another number of columns or something that is not a number; names the file.
    """
    words = [line.split() for line in lines]
    for row in words:
        if len(row) != columns:
            raise DataError(
                f"{path.name}: expected {columns} columns, got {len(row)} ('{row_text(row)}'); "
                "check that this is the right product"
            )
    try:
        return numbers(words)
    except ValueError as error:
        raise DataError(f"{path.name}: not a table of numbers ({error}); download it again") from error


#: A number as Fortran writes it in fields too narrow for exponents of three digits: 1.2345-104.
_WITHOUT_E = re.compile(rb"([0-9.])([+-][0-9]{3})\s*$")


def numbers(words: list[bytes] | list[list[bytes]]) -> np.ndarray:
    """Return words as numbers, float64, of the same shape; ValueError if one is none.

    Fortran leaves the E out where the exponent has three digits, as that of a cool star's flux in the far ultraviolet.
    """
    try:
        return np.array(words, dtype=np.float64)
    except ValueError:
        rows = [word if isinstance(word, list) else [word] for word in words]
        read = np.array([[float(_WITHOUT_E.sub(rb"\1E\2", word)) for word in row] for row in rows])
        return read if words and isinstance(words[0], list) else read[:, 0]


def row_text(row: list[bytes]) -> str:
    """Return a row as short text for a message."""
    return b" ".join(row).decode("ascii", "replace")[:60]


def first_column_range(path: Path, lines: list[bytes], low: float, high: float) -> slice:
    """Return the rows whose first column lies in [low, high], by bisection; the column must increase.

    One row more is kept on either side, so that the range is bracketed.

    Raises:
        DataError: if a probed value is not a number; names the file.
    """

    def first_not_below(value: float) -> int:
        left, right = 0, len(lines)
        while left < right:
            middle = (left + right) // 2
            if first_number(path, lines[middle]) < value:
                left = middle + 1
            else:
                right = middle
        return left

    return slice(max(first_not_below(low) - 1, 0), first_not_below(high) + 1)


def first_number(path: Path, line: bytes) -> float:
    """Return the number a row begins with; DataError names the file if it does not."""
    try:
        return float(line.split(None, 1)[0])
    except (ValueError, IndexError) as error:
        raise DataError(
            f"{path.name}: expected a number first in a row, got '{line[:40].decode('ascii', 'replace')}'; "
            "download it again"
        ) from error
