"""The pandas table of a dataset file, read as the plain HDF5 it is: numbers by column name.

pandas and PyTables unpickle on reading (object columns, and every attribute that looks like a pickle), and a
pickle runs what its writer wanted. Here no pickle is decoded: a block of objects that is not needed is left
alone, one that is needed is refused. Both layouts that `DataFrame.to_hdf` writes are known, "fixed" and "table".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from specvit.documents.hdf5 import NUMBERS, RECORDS, HdfFile
from specvit.errors import DataError

#: A list of plain names as PyTables writes it: pickle's text protocol, matched as text and never executed.
_NAME = r"(?:V([^\n\\]*)|S'([^\n\\']*)')\n(?:p\d+\n)?a"
_NAMES = re.compile(rf"\(lp\d+\n(?:{_NAME})*\.")

#: Names of NumPy types whose bytes mean the numbers themselves, unlike those of dates or categories.
_PLAIN = re.compile(r"(float|int|uint)\d+|bool")


@dataclass(frozen=True)
class _Block:
    """Columns that are stored together: where, their names (None: not readable), how to get one of them."""

    where: str
    names: Sequence[str] | None
    column: Callable[[int], np.ndarray]


def read_columns(file: HdfFile, key: str, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return columns of the table `key` by name, each of shape (rows,), in the type they are stored in.

    Raises:
        DataError: if the table lacks a column, holds one twice, or not as numbers; names file and column.
    """
    layout = file.attribute("pandas_type", str, key)
    if layout not in _LAYOUTS:
        raise DataError(
            f"{file.path}: '{key}' is a pandas object of type '{layout}', expected a frame; "
            "write a DataFrame with its to_hdf"
        )
    blocks = list(_LAYOUTS[layout](file, key))
    columns = {name: _column(file, key, blocks, name) for name in names}
    if len({len(values) for values in columns.values()}) > 1:
        raise DataError(f"{file.path}: the columns of '{key}' have different lengths; write the table again")
    return columns


def _column(file: HdfFile, key: str, blocks: list[_Block], name: str) -> np.ndarray:
    found = [block for block in blocks if block.names is not None and name in block.names]
    if len(found) == 1 and found[0].names is not None:
        return found[0].column(list(found[0].names).index(name))
    unreadable = [block.where for block in blocks if block.names is None]
    hint = f" (the names of '{unreadable[0]}' are not plain text and were not decoded)" if unreadable else ""
    what = f"has column '{name}' {len(found)} times" if found else f"has no column '{name}'{hint}"
    raise DataError(f"{file.path}: its table '{key}' {what}; write the table again with that column")


def _fixed_blocks(file: HdfFile, key: str) -> Iterator[_Block]:
    for number in range(file.attribute("nblocks", int, key)):
        items, values = f"{key}/block{number}_items", f"{key}/block{number}_values"
        names = file.texts(items) if file.is_text(items) else None
        yield _Block(items, names, partial(_fixed, file, values, names or ()))


def _fixed(file: HdfFile, values: str, names: Sequence[str], at: int) -> np.ndarray:
    if file.has_attribute("PSEUDOATOM", values) or file.has_attribute("value_type", values):
        raise _not_numbers(file, values, names[at])
    rows_first = file.has_attribute("transposed", values) and file.attribute("transposed", bool, values)
    count = len(names)
    stored = file.array(values, (None, count) if rows_first else (count, None))
    return stored[:, at] if rows_first else stored[at]


def _table_blocks(file: HdfFile, key: str) -> Iterator[_Block]:
    where = f"{key}/table"
    table = file.dataset(where, (None,), RECORDS)
    for field in table.dtype.names or ():
        names: Sequence[str] | None = (field,)
        if file.has_attribute(f"{field}_kind", where):
            names = _plain_names(file, f"{field}_kind", where)
        yield _Block(
            f"{where}/{field}",
            names,
            partial(_field, file, where, field, names or ()),
        )


def _field(file: HdfFile, where: str, field: str, names: Sequence[str], at: int) -> np.ndarray:
    table = file.dataset(where, (None,), RECORDS)
    type_ = table.dtype[field]
    meta, stated = f"{field}_meta", f"{field}_dtype"
    plain = not file.has_attribute(meta, where) or file.attribute(meta, str, where) == "N."
    if plain and file.has_attribute(stated, where):
        plain = _PLAIN.fullmatch(file.attribute(stated, str, where)) is not None
    if not plain or type_.base.kind not in NUMBERS or type_.shape not in ((), (len(names),)):
        raise _not_numbers(file, where, names[at])
    values = table.read(field)
    return values[:, at] if type_.shape else values


def _plain_names(file: HdfFile, attribute: str, where: str) -> list[str] | None:
    """Return the names of a list in pickle's text form, or None if it is anything but a list of plain names."""
    try:
        text = file.attribute(attribute, str, where)
    except DataError:
        return None
    if _NAMES.fullmatch(text) is None:
        return None
    return [unicode or quoted for unicode, quoted in re.findall(_NAME, text)]


def _not_numbers(file: HdfFile, where: str, column: str) -> DataError:
    return DataError(
        f"{file.path}: '{where}' does not hold column '{column}' as plain numbers, and pickled objects are not "
        "decoded because they can run code; make that column a number and write the table again"
    )


_LAYOUTS = {"frame": _fixed_blocks, "frame_table": _table_blocks}
