"""The numbers behind an instrument file: loads its table file and resolves every quantity to arrays.

Owns checks of the data (present, finite, right shape, in range); all messages name file and key.
"""

from __future__ import annotations

import hashlib
import io
import stat
import zipfile
from pathlib import Path

import numpy as np

from specvit.documents.npz import parse_npz
from specvit.documents.words import one_line, shown
from specvit.errors import DataError, WavelengthRangeError
from specvit.instrument.quantities import Nodes, Quantity
from specvit.instrument.schema import GridSection, TablesSection, quantity_of
from specvit.spectra import WavelengthGrid

#: Bytes; the tables of PFS have 2 MB.
LARGEST_TABLES = 1 << 28
_EXPECTED = f"expected at most {LARGEST_TABLES >> 20} MiB of tables over pixels"


class Tables:
    """The named arrays of an instrument's table file; empty if it has none.

    Args:
        arrays: name -> array.
        where: the file, for messages.
    """

    def __init__(self, arrays: dict[str, np.ndarray], where: str) -> None:
        self._arrays, self.where = arrays, where

    @classmethod
    def load(cls, section: TablesSection | None, folder: Path, description: str) -> Tables:
        """Return the tables of an instrument file.

        Raises:
            DataError: if the file is missing, is not an npz file, or is not the one the checksum was made of.
        """
        if section is None:
            return cls({}, f"{description} (it has no [tables])")
        path = folder / section.file
        content = _read(path, description)
        if section.sha256 is not None and hashlib.sha256(content).hexdigest() != section.sha256:
            raise DataError(
                f"{path.name}: checksum is not the one stated in {description}; restore the file, "
                "or update tables.sha256 if it was changed on purpose"
            )
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                size = sum(member.file_size for member in archive.infolist())
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
            reason = one_line(str(error))[:200]
            raise DataError(
                f"{path.name} is damaged: not a numpy npz file of plain arrays ({reason})"
            ) from error
        if size > LARGEST_TABLES:
            raise DataError(f"{path.name}: unpacks to {size / 1e6:.0f} MB, {_EXPECTED}")
        return cls(parse_npz(content, path.name, "restore the file, or make it again"), path.name)

    def array(self, name: str, key: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """Return table `name` in float64, for the instrument's `key`; None in `shape` is any length.

        Raises:
            DataError: if it is missing, of another shape, or not finite.
        """
        if name not in self._arrays:
            names = ", ".join(sorted(self._arrays)) or "none"
            raise DataError(f"{key}: no table '{name}' in {self.where}; tables there: {names}")
        values = self._arrays[name]
        if values.dtype.kind not in "fiu":
            raise DataError(f"{key}: table '{name}' in {self.where} does not hold numbers ({values.dtype})")
        fits = values.ndim == len(shape) and all(
            w is None or w == n for w, n in zip(shape, values.shape, strict=True)
        )
        if not fits:
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise DataError(
                f"{key}: table '{name}' in {self.where} has shape {values.shape}, expected ({wanted})"
            )
        bad = ~np.isfinite(values)
        if bad.any():
            at = tuple(int(i) for i in np.argwhere(bad)[0])
            raise DataError(f"{key}: table '{name}' in {self.where} is {values[at]} at index {at}")
        return values.astype(np.float64)

    def axis(self, name: str, key: str) -> np.ndarray:
        """Return table `name` as an axis: one-dimensional and strictly increasing."""
        values = self.array(name, key, (None,))
        if values.size < 2 or (np.diff(values) <= 0).any():
            raise DataError(f"{key}: table '{name}' in {self.where} must increase strictly")
        return values

    def per_pixel(self, quantity: float | str | Nodes, key: str, wavelength: np.ndarray) -> np.ndarray:
        """Return `quantity` at each of the L `wavelength`s, in its range; a table must have that length."""
        if isinstance(quantity, str):
            values = self.array(quantity, key, wavelength.shape)
        elif isinstance(quantity, Nodes):
            if quantity.wavelength is None:
                raise DataError(f"{key}: its nodes must be over wavelength, not field_angle")
            values = np.interp(wavelength, quantity.wavelength, quantity.value)
        else:
            values = np.full(wavelength.shape, float(quantity))
        return in_range(values, key, quantity_of(key))

    def over_field(self, quantity: float | str | Nodes, key: str) -> tuple[np.ndarray, np.ndarray]:
        """Return (field angles, values) of a curve over the field; a constant has a single node."""
        if isinstance(quantity, Nodes) and quantity.field_angle is not None:
            return np.array(quantity.field_angle), in_range(np.array(quantity.value), key, quantity_of(key))
        if isinstance(quantity, float | int):
            return np.zeros(1), in_range(np.array([float(quantity)]), key, quantity_of(key))
        raise DataError(f"{key}: expected a number or {{ field_angle = [...], value = [...] }}")

    def grid(self, section: GridSection) -> WavelengthGrid:
        """Return the pixel grid.

        Raises:
            DataError: if a table of pixel centres is not a grid (unsorted, negative, ...).
        """
        if section.table is None:
            centres = section.linear_centres()
        else:
            centres = self.array(section.table, "grid.table", (None,))
        try:
            return WavelengthGrid(centres, section.medium)
        except WavelengthRangeError as error:
            raise DataError(f"grid.table: table '{section.table}' in {self.where}: {error}") from error


def _read(path: Path, description: str) -> bytes:
    try:
        mode = path.stat()
        if not stat.S_ISREG(mode.st_mode):
            raise DataError(
                f"{description}: its table file {shown(path)} is a folder or device, expected a file"
            )
        if mode.st_size > LARGEST_TABLES:
            raise DataError(f"{path.name}: has {mode.st_size / 1e6:.0f} MB, {_EXPECTED}")
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{description}: cannot read its table file {shown(path)}: {error.strerror}"
        ) from error


def in_range(values: np.ndarray, key: str, within: Quantity) -> np.ndarray:
    """Return `values`; DataError naming `key` if one lies outside the range of the quantity."""
    if (problem := within.problem(values)) is not None:
        raise DataError(f"{key}: {problem}")
    return values
