"""NumPy's npz files, read with every array's size checked before memory is asked for. Knows no names."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from specvit.documents.opening import read_bytes
from specvit.documents.words import one_line
from specvit.errors import DataError

#: The header of an array: far above any, since a header is text for a parser.
_LONGEST_HEADER = 10_000


def read_npz(path: Path, mend: str) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file by name; arrays of Python objects are refused, not unpickled.

    Args:
        path: the file.
        mend: what to do about a damaged one.

    Raises:
        DataError: if it cannot be read, is no npz file, or an array is damaged or declares a size it does not
            have; names file and array.
    """
    return parse_npz(read_bytes(path, "numpy npz file", mend), str(path), mend)


def parse_npz(content: bytes, where: str, mend: str) -> dict[str, np.ndarray]:
    """Do as `read_npz` for a file in memory, which messages call `where`."""
    # From memory: NumPy leaves a damaged file open.
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {
                entry.filename.removesuffix(".npy"): _array(archive, entry, where, mend)
                for entry in archive.infolist()
            }
    except DataError:
        raise
    # A damaged file has no end of ways to fail: NumPy evaluates headers, zipfile knows exotic packings.
    except Exception as error:
        reason = one_line(str(error))[:200]
        raise DataError(
            f"{where} is damaged: not a numpy npz file of plain arrays ({reason}); {mend}"
        ) from error


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, where: str, mend: str) -> np.ndarray:
    name = entry.filename.removesuffix(".npy")
    with archive.open(entry) as stream:
        version = npy.read_magic(stream)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(stream, max_header_size=_LONGEST_HEADER)
        stored = entry.file_size - stream.tell()
    if dtype.hasobject:
        raise DataError(f"{where} is damaged: array '{name}' holds Python objects; {mend}")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != stored:
        raise DataError(
            f"{where} is damaged: array '{name}' declares shape {shape}, but has {stored:,} bytes; {mend}"
        )
    with archive.open(entry) as stream:
        return npy.read_array(stream, allow_pickle=False, max_header_size=_LONGEST_HEADER)
