"""FITS files of libraries: one image or one table, read whole, with one line for what cannot be read."""

from __future__ import annotations

import gzip
import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from specvit.documents.opening import read_bytes
from specvit.documents.words import one_line
from specvit.errors import DataError, SpecvitError, import_optional


@contextmanager
def open_fits(path: Path) -> Iterator[Any]:
    """Open a FITS file (also .gz) from memory; what its content makes astropy raise becomes a DataError.

    Raises:
        AccessError: if the system does not give it.
        DataError: if it is missing or no complete FITS file.
    """
    fits = import_optional("astropy.io.fits", None, "reading FITS files")
    content = read_bytes(path, "FITS file", "download it again")
    try:
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=".*truncated.*")
            with fits.open(io.BytesIO(content), memmap=False) as hdus:
                yield hdus
    except SpecvitError:
        raise
    # A damaged file has no end of ways to fail in astropy.
    except Exception as error:
        reason = one_line(str(error))[:160] or type(error).__name__
        raise DataError(f"{path.name}: not a complete FITS file ({reason}); download it again") from error


def image(path: Path, hdus: Any) -> np.ndarray:
    """Return the spectrum in the first HDU, shape (L,), float64."""
    data = hdus[0].data
    if data is None or np.ndim(data) != 1:
        raise DataError(
            f"{path.name}: expected one spectrum in its first HDU; check that it is the right product"
        )
    return np.asarray(data, dtype=np.float64)


def columns(path: Path, hdus: Any, names: tuple[str, ...]) -> list[np.ndarray]:
    """Return columns of the table in the second HDU, each of shape (L,), float64."""
    table = hdus[1] if len(hdus) > 1 and getattr(hdus[1], "columns", None) is not None else None
    have = [] if table is None else [name.lower() for name in table.columns.names]
    if missing := [name for name in names if name.lower() not in have]:
        raise DataError(
            f"{path.name}: has no table with a column '{missing[0]}'; check that it is the right product"
        )
    assert table is not None
    return [np.asarray(table.data[name], dtype=np.float64) for name in names]


def check_header(path: Path, hdus: Any, stated: Mapping[str, float], tolerance: float = 0.06) -> None:
    """Raise unless the first header agrees with what the name says; keywords that it lacks say nothing.

    Args:
        path: for messages.
        hdus: an open file.
        stated: keyword -> value by the name.
        tolerance: names round to a tenth.
    """
    for keyword, value in stated.items():
        found = hdus[0].header.get(keyword)
        if found is not None and abs(float(found) - value) > tolerance:
            raise DataError(
                f"{path.name}: its header says {keyword} = {found}, its name {value:g}; it was renamed: download it again"
            )
