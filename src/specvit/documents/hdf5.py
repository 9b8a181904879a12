"""HDF5 files, read with every part checked before it is used.

Owns opening (with the true cause if that fails), arrays by key, shape and kind of number, attributes by type,
JSON in attributes. What the parts mean is the business of each form's reader. Nothing here decodes Python
objects: HDF5 holds them as bytes that other programs unpickle, and unpickling runs what the bytes say.
"""

from __future__ import annotations

import errno
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np

from specvit.documents.json_text import parse_json
from specvit.documents.opening import system_cause
from specvit.errors import AccessError, DataError

T = TypeVar("T")
Scalar = TypeVar("Scalar", str, int, float, bool)

#: Kinds of elements, as letters of `numpy.dtype.kind`; TEXT covers strings of fixed and of free length.
NUMBERS, FLOATS, INTEGERS, TRUTHS, TEXT, RECORDS = "fiu", "f", "iu", "b", "S", "V"
_KIND_WORDS = {"f": "floats", "i": "integers", "u": "integers", "b": "booleans", "S": "text", "V": "records"}

#: Deflate, the strongest of HDF5's usual filters, makes at most 1032 bytes of one.
_MOST_PACKED = 1100

# All that h5py is known to raise on damaged or foreign content.
_H5PY_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)


@contextmanager
def open_hdf5(path: Path, what: str, remake: str) -> Iterator[HdfFile]:
    """Open a file for reading; the context closes it.

    Args:
        path: the file.
        what: what it should be ("shard", "library file"), for messages.
        remake: how to get it if it is missing or damaged, a command if there is one ("run ... again").

    Raises:
        AccessError: if the system does not give it: no permission, in use, out of reach, an address.
        DataError: if it is missing, a folder, empty, not HDF5 or truncated.
    """
    if path.exists() and not path.is_file():  # opening a named pipe would wait for ever
        found = "a folder" if path.is_dir() else "no regular file"
        raise DataError(f"{path}: is {found}, expected a {what}; give the file")
    try:
        # "r" must be able to see that another process is writing, so the lock is never switched off here.
        file = h5py.File(path, "r")
    except OSError as error:
        if cause := _not_given(path, error, what, remake):
            raise AccessError(f"{path}: {cause}") from error
        raise DataError(f"{path}: {_opening_failed(path, error, what, remake)}") from error
    with file:
        yield HdfFile(path, file, f"is it a whole {what}? copy it again, or {remake}")


class HdfFile:
    """An open file; every method raises DataError that names file and key.

    Args:
        path: as messages name it.
        file: opened for reading.
        mend: what a user can do about a part that is missing or wrong.
    """

    def __init__(self, path: Path, file: h5py.File, mend: str) -> None:
        self.path, self._file, self._mend = path, file, mend

    def __contains__(self, key: str) -> bool:
        return self._find(key) is not None

    def members(self, key: str) -> list[str]:
        """Return the names in the group `key`."""
        node = self._need(key)
        with _damage(self.path, f"'{key}'"):
            if not isinstance(node, h5py.Group):
                raise self._wrong(f"'{key}' is {_described(node)}, expected a group")
            return list(node)

    def dataset(
        self, key: str, shape: Sequence[int | None], kinds: str = NUMBERS, sparse: bool = False
    ) -> HdfArray:
        """Return an array to be read in pieces.

        Args:
            key: its path in the file.
            shape: expected length of each axis; None takes any.
            kinds: letters of the kinds of elements that are accepted.
            sparse: accept an array that is not stored in full; HDF5 gives its fill value for the rest.
        """
        node = self._need(key)
        if not isinstance(node, h5py.Dataset):
            raise self._wrong(f"'{key}' is {_described(node)}, expected an array")
        with _damage(self.path, f"'{key}'"):
            found, kind, elsewhere = node.shape, _kind(node.dtype), node.is_virtual or bool(node.external)
        if kind not in kinds:
            wanted = " or ".join(dict.fromkeys(_KIND_WORDS[letter] for letter in kinds))
            raise self._wrong(f"'{key}' is {_described(node)}, expected an array of {wanted}")
        if (
            found is None
            or len(found) != len(shape)
            or any(w not in (None, f) for w, f in zip(shape, found, strict=True))
        ):
            wanted = " x ".join("any" if n is None else str(n) for n in shape) or "a single value"
            given = "none" if found is None else " x ".join(map(str, found)) or "a single value"
            raise self._wrong(f"'{key}' has shape {given}, expected {wanted}")
        if elsewhere:
            raise self._wrong(f"'{key}' keeps its values in other files, expected them in this one")
        if not sparse:
            self._check_stored(key, node)
        return HdfArray(self.path, key, node)

    def array(
        self, key: str, shape: Sequence[int | None], kinds: str = NUMBERS, sparse: bool = False
    ) -> np.ndarray:
        """Return a whole array in the type it is stored in; arguments as of `dataset`."""
        return self.dataset(key, shape, kinds, sparse).read()

    def is_text(self, key: str) -> bool:
        """Return whether `key` is an array of strings."""
        node = self._need(key)
        with _damage(self.path, f"'{key}'"):
            return isinstance(node, h5py.Dataset) and _kind(node.dtype) == "S"

    def texts(self, key: str, count: int | None = None) -> list[str]:
        """Return a list of strings (UTF-8), `count` of them if given."""
        values = self.array(key, (count,), TEXT).tolist()
        try:
            return [value.decode() if isinstance(value, bytes) else value for value in values]
        except UnicodeDecodeError as error:
            raise self._wrong(f"'{key}' is not UTF-8 text ({error.reason})") from error

    def has_attribute(self, name: str, key: str = "/") -> bool:
        """Return whether the group or array `key` is there and has the attribute."""
        node = self._find(key)
        with _damage(self.path, f"attribute {_attribute_name(name, key)}"):
            return node is not None and name in node.attrs

    def attribute(self, name: str, kind: type[Scalar], key: str = "/") -> Scalar:
        """Return a single value: str (UTF-8), int, float (an integer will do) or bool (0 and 1 will do)."""
        node, where = self._need(key), _attribute_name(name, key)
        with _damage(self.path, f"attribute {where}"):
            if name not in node.attrs:
                raise self._wrong(f"has no attribute {where}")
            # Arrays are not read: what an attribute declares has not been held against the file.
            value = node.attrs[name] if node.attrs.get_id(name).shape == () else None
        typed: Scalar | None = _as_kind(value, kind)
        if typed is None:
            words = {str: "text", int: "an integer", float: "a number", bool: "true or false"}[kind]
            raise self._wrong(f"attribute {where} is {_short(value)}, expected {words}")
        return typed

    def json(self, name: str, check: Callable[[Any], T]) -> T:
        """Return the JSON text of an attribute of the file, checked; see `parse_json`."""
        where = f"{self.path}: attribute '{name}'"
        return parse_json(self.attribute(name, str), where, check, self._mend)

    def _find(self, key: str) -> h5py.Group | h5py.Dataset | None:
        node = self._file
        for part in filter(None, key.split("/")):
            with _damage(self.path, f"'{key}'"):
                # Looked at before it is followed: an external link would open another file.
                link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
                if isinstance(link, h5py.ExternalLink):
                    raise self._wrong(f"'{key}' points into another file, expected it in this one")
                node = node.get(part) if link is not None else None
            if node is None:
                return None
        return node

    def _need(self, key: str) -> h5py.Group | h5py.Dataset:
        node = self._find(key)
        if node is None:
            raise self._wrong(f"has no '{key}'")
        return node

    def _check_stored(self, key: str, node: h5py.Dataset) -> None:
        """Refuse an array that declares more than the file can hold, before memory is asked for."""
        with _damage(self.path, f"'{key}'"):
            declared = math.prod(node.shape) * node.dtype.itemsize
            # A damaged file may state any storage; more than the file itself there is not.
            stored = min(node.id.get_storage_size(), os.path.getsize(self.path))
            packed = node.id.get_create_plist().get_nfilters() > 0
        if declared > stored * (_MOST_PACKED if packed else 1):
            raise self._wrong(
                f"'{key}' declares {declared:,} bytes (shape {node.shape}), but only {stored:,} are stored"
            )

    def _wrong(self, what: str) -> DataError:
        return DataError(f"{self.path}: {what}; {self._mend}")


class HdfArray:
    """An array in an open file, checked, not read yet.

    Args:
        path, key: as messages name it.
        dataset: the array.
    """

    def __init__(self, path: Path, key: str, dataset: h5py.Dataset) -> None:
        self._path, self._key, self._dataset = path, key, dataset

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return tuple(self._dataset.shape)

    @property
    def dtype(self) -> np.dtype:
        """Type of the elements."""
        stored: np.dtype = self._dataset.dtype
        return stored

    def read(self, part: Any = ()) -> np.ndarray:
        """Return the selected part (an index, slice or tuple of them), all by default.

        Raises:
            DataError: if HDF5 cannot read it (damaged, packed by an unknown filter) or it does not fit memory.
        """
        with _damage(self._path, f"'{self._key}'"):
            return np.asarray(self._dataset[part])


@contextmanager
def _damage(path: Path, part: str) -> Iterator[None]:
    try:
        yield
    except _H5PY_ERRORS as error:
        if isinstance(error, MemoryError):
            raise DataError(f"{path}: {part} does not fit into memory; read a smaller file") from error
        if cause := system_cause(path, _number(error), _said(error), "file"):
            raise AccessError(f"{path}: {part}: {cause}") from error
        raise DataError(
            f"{path}: {part} cannot be read ({_said(error)}); copy the file again or make it again"
        ) from error


def _not_given(path: Path, error: OSError, what: str, remake: str) -> str | None:
    """Return cause and mend if the file was not opened for a reason that says nothing of its content."""
    said, number = _said(error), _number(error)
    if "h5clear" in said:
        return f"was not closed by the process that wrote it ({said}); wait if it still runs, or {remake}"
    # Some drives say of a lock that it is forbidden.
    locked = number == errno.EAGAIN or (number == errno.EACCES and os.access(path, os.R_OK))
    if locked or "already open" in said:
        return f"in use by a process that is writing it ({said}); wait until that has ended"
    if "unable to lock" in said:
        return f"the file system does not lock files ({said}); set HDF5_USE_FILE_LOCKING=FALSE"
    return system_cause(path, number, said, what)


def _opening_failed(path: Path, error: OSError, what: str, remake: str) -> str:
    """Return the cause and the mend, which never costs the file: what is cut short may still hold what matters."""
    said = _said(error)
    if _number(error) == errno.ENOENT:
        return f"no such file, expected a {what}; {remake}"
    if path.is_file() and os.access(path, os.R_OK):
        if path.stat().st_size == 0:
            return f"is empty (0 bytes), expected a {what}; copy it again, or move it away and {remake}"
        if "truncated" in said:
            return f"is cut short ({said}); copy it again, or move it away and {remake}"
        if not h5py.is_hdf5(path):
            return f"not an HDF5 file, expected a {what}; give another file, or {remake}"
    return f"cannot be opened ({said}); copy it again, or {remake}"


def _number(error: BaseException) -> int | None:
    """Return the system's number of an error; HDF5 keeps it in its text."""
    named = re.search(r"errno = (\d+)", str(error))
    stated = getattr(error, "errno", None)
    return int(named[1]) if stated is None and named else stated


def _said(error: BaseException) -> str:
    """Return what the system or HDF5 said, in one line."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    inner = re.search(r"\((.*)\)", text, re.DOTALL)
    return " ".join((inner[1] if inner else text).split()) or type(error).__name__


def _kind(dtype: np.dtype) -> str:
    return "S" if h5py.check_string_dtype(dtype) is not None else dtype.kind


def _described(node: h5py.Group | h5py.Dataset | h5py.Datatype) -> str:
    if isinstance(node, h5py.Group):
        return "a group"
    if not isinstance(node, h5py.Dataset):
        return "a type"
    return f"an array of {_KIND_WORDS.get(_kind(node.dtype), f'elements of type {node.dtype}')}"


def _attribute_name(name: str, key: str) -> str:
    return f"'{name}'" if key == "/" else f"'{name}' of '{key}'"


def _as_kind(value: Any, kind: type) -> Any:
    """Return a single stored value as `kind`, or None if it is none."""
    if kind is str:
        if not isinstance(value, bytes):
            return value if isinstance(value, str) else None
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    if kind is bool:
        is_truth = isinstance(value, np.bool_) or (isinstance(value, np.integer) and value in (0, 1))
        return bool(value) if is_truth else None
    accepted = np.integer if kind is int else np.integer | np.floating
    return kind(value) if isinstance(value, accepted) and np.isfinite(value) else None


def _short(value: object) -> str:
    text = "not a single value" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
