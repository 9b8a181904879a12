"""The numbers behind an instrument file: loads its table file and resolves every quantity to arrays.

Owns checks of the data (present, finite, right shape, in range); all messages name file and key.
"""

from __future__ import annotations

import errno
import hashlib
import io
import stat
import zipfile
from pathlib import Path

import numpy as np

from specvit.documents.npz import parse_npz
from specvit.documents.opening import access_error
from specvit.documents.words import one_line, shown
from specvit.errors import AccessError, DataError, WavelengthRangeError
from specvit.instrument.calculator import is_output, parse_output
from specvit.instrument.quantities import Nodes, Quantity
from specvit.instrument.schema import quantity_of
from specvit.instrument.schema_optics import GridSection, TablesSection
from specvit.spectra import WavelengthGrid
from specvit.spectra.air import air_to_vacuum

#: Bytes; the tables of PFS have 2 MB.
LARGEST_TABLES = 1 << 28
_EXPECTED = f"expected at most {LARGEST_TABLES >> 20} MiB of tables over pixels"


class Tables:
    """The named arrays of an instrument's table file; empty if it has none.

    Args:
        arrays: name -> array.
        where: the file, for messages.
        medium: what wavelengths of the instrument file and its tables are measured in.
    """

    def __init__(self, arrays: dict[str, np.ndarray], where: str, medium: str = "vacuum") -> None:
        self._arrays, self.where, self.medium = arrays, where, medium

    def measured_in(self, medium: str) -> Tables:
        """Return the same tables, wavelengths taken to be in `medium`."""
        return Tables(self._arrays, self.where, medium)

    def in_vacuum(self, wavelength: np.ndarray, key: str) -> np.ndarray:
        """Return wavelengths of the file in vacuum, Å, which is what everything in specvit is in.

        Raises:
            DataError: below 2000 Å, where there are no wavelengths in air; names `key`.
        """
        if self.medium == "vacuum":
            return wavelength
        try:
            return air_to_vacuum(wavelength)
        except WavelengthRangeError as error:
            raise DataError(f"{key}: {error}") from error

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
        if is_output(path.name):
            return cls(parse_output(content, path.name, section.arm), path.name)
        if section.arm is not None:
            raise DataError(
                f"tables.arm: {path.name} has no arms; leave the key out, or name a *.snc or *.noise file"
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

    def array(self, name: str, key: str, shape: tuple[int | None, ...], infinite: bool = False) -> np.ndarray:
        """Return table `name` in float64, for the instrument's `key`; None in `shape` is any length.

        Raises:
            DataError: if it is missing, of another shape, or not finite (`infinite`: NaN or negative infinity).
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
        bad = ~(np.isfinite(values) | (values == np.inf) if infinite else np.isfinite(values))
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

    def per_pixel(
        self, quantity: float | str | Nodes, key: str, wavelength: np.ndarray, infinite: bool = False
    ) -> np.ndarray:
        """Return `quantity` at each of the L `wavelength`s, in its range; a table must have that length.

        A table may hold infinity if `infinite`.
        """
        if isinstance(quantity, str):
            values = self.array(quantity, key, wavelength.shape, infinite)
            if infinite:
                in_range(values[np.isfinite(values)], key, quantity_of(key))
                return values
        elif isinstance(quantity, Nodes):
            if quantity.wavelength is None:
                raise DataError(f"{key}: its nodes must be over wavelength, not field_angle")
            at = self.in_vacuum(np.array(quantity.wavelength), key)
            values = np.interp(wavelength, at, quantity.value)
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
        """Return the pixels, in vacuum whatever the file's wavelengths are measured in.

        Raises:
            DataError: if a table of centres or edges is not a grid (unsorted, negative, ...).
        """
        key = "table" if section.table is not None else "edges" if section.edges is not None else "start"
        said = f": table '{getattr(section, key)}' in {self.where}" if key != "start" else ""
        centres, bounds = self._centres_and_bounds(section)
        falls = np.flatnonzero(centres[1:] <= centres[:-1]) + 1
        arms = falls if section.arms else falls[:0]
        try:
            WavelengthGrid(centres, arms=tuple(arms.tolist()), bounds=bounds)
        except WavelengthRangeError as error:
            mend = "" if section.arms or not falls.size else _ARMS_MEND
            raise DataError(f"grid.{key}{said}: {error}{mend}") from error
        return WavelengthGrid(
            self.in_vacuum(centres, f"grid.{key}"),
            "vacuum",
            tuple(arms.tolist()),
            None if bounds is None else self.in_vacuum(bounds, "grid.edges"),
        )

    def _centres_and_bounds(self, section: GridSection) -> tuple[np.ndarray, np.ndarray | None]:
        """Return what the file says of its pixels, in its medium."""
        if section.table is not None:
            centres = self.array(section.table, "grid.table", (None,))
            return centres, None if section.edges is None else self._pixel_bounds(section.edges, centres.size)
        if section.edges is None:
            return section.stepped_centres(), None
        bounds = self._pixel_bounds(section.edges, None)
        return bounds.mean(axis=0), bounds

    def _pixel_bounds(self, name: str, pixels: int | None) -> np.ndarray:
        """Return lower and upper edge of every pixel, shape (2, pixels), from a table of either form."""
        if name in self._arrays and self._arrays[name].ndim == 2:
            return self.array(name, "grid.edges", (2, pixels))
        edges = self.array(name, "grid.edges", (None if pixels is None else pixels + 1,))
        return np.stack([edges[:-1], edges[1:]])


_ARMS_MEND = "; if another arm begins there, set grid.arms = true"


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
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise AccessError(f"{description}: {access_error(path, error, 'table file')}") from error
        raise DataError(
            f"{description}: cannot read its table file {shown(path)}: {error.strerror}; put the file there, or say "
            "with keys what it holds (grid.start, grid.step or grid.log_step, grid.pixels)"
        ) from error


def in_range(values: np.ndarray, key: str, within: Quantity) -> np.ndarray:
    """Return `values`; DataError naming `key` if one lies outside the range of the quantity."""
    if (problem := within.problem(values)) is not None:
        raise DataError(f"{key}: {problem}")
    return values
