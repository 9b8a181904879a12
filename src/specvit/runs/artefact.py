"""Arrays that a run keeps, as frozen dataclasses which write, read and check themselves.

A field says its axes and kind once, with `array`; what is written is what may be read. Owns the form
(`arrays/NAME.npz`); the artefacts themselves are in `artefacts`.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np

from specvit.errors import DataError
from specvit.runs.folder import MEND, RunFolder

Array = np.ndarray

#: Letter of a field -> what a reader is told, and the NumPy kinds that are taken for it.
KINDS = {
    "f": ("numbers", "fiu"),
    "i": ("whole numbers", "iu"),
    "b": ("true or false", "b"),
    "U": ("texts", "U"),
}


def array(axes: str, kind: str = "f", optional: bool = False, finite: bool = False) -> Any:
    """Return a dataclass field that holds an array.

    Args:
        axes: names of the axes, separated by blanks; "" for a scalar. Axes of one name have one length, at least
            1; "E+1" has one more than "E"; a number is a length.
        kind: a key of `KINDS`.
        optional: the field may be None, and is then not written.
        finite: NaN and infinity cannot be meant.
    """
    default = None if optional else MISSING
    return field(default=default, metadata={"axes": axes.split(), "kind": kind, "finite": finite})


@dataclass(frozen=True)
class Artefact:
    """Base of all artefacts; a subclass names its file and declares its arrays, and may check their values."""

    FILE: ClassVar[str]

    def __post_init__(self) -> None:
        """Take lists and tensors too: what is kept is arrays."""
        for part in _arrays(type(self)):
            if (value := getattr(self, part.name)) is not None:
                # The dataclass is frozen.
                object.__setattr__(self, part.name, np.asarray(value))

    def write(self, run: RunFolder, name: str = "") -> Path:
        """Check the arrays and write them to `arrays/FILE.npz`, or `arrays/FILE_NAME.npz` if there are several."""
        where = f"{run.path}/arrays/{self.file(name)}.npz"
        self._check_all(where)
        return run.write_arrays(self.file(name), **self.arrays())

    def arrays(self) -> dict[str, Array]:
        """Return the arrays that are there, by name."""
        values = {part.name: getattr(self, part.name) for part in _arrays(type(self))}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def read(cls, run: RunFolder, name: str = "") -> Self:
        """Return the artefact of a run.

        Raises:
            DataError: if the file is missing, damaged, or does not hold what the fields say; names both.
        """
        where = f"{run.path}/arrays/{cls.file(name)}.npz"
        found = run.read_arrays(cls.file(name))
        wanted = _arrays(cls)
        for part in wanted:
            if part.default is MISSING and part.name not in found:
                raise DataError(
                    f"{where}: no array '{part.name}'; it holds {', '.join(sorted(found)) or 'nothing'}; {MEND}"
                )
        artefact = cls(**{part.name: found.get(part.name) for part in wanted})
        artefact._check_all(where)
        return artefact

    @classmethod
    def exists(cls, run: RunFolder, name: str = "") -> bool:
        """Return whether a run holds the artefact."""
        return run.has_arrays(cls.file(name))

    @classmethod
    def file(cls, name: str = "") -> str:
        """Return the name of its file in `arrays`, without ending."""
        return f"{cls.FILE}_{name}" if name else cls.FILE

    def check(self, where: str) -> None:
        """Raise DataError unless the values can be meant; kinds and shapes have been checked."""

    def _check_all(self, where: str) -> None:
        sizes: dict[str, int] = {}
        for part in _arrays(type(self)):
            value = getattr(self, part.name)
            if value is not None:
                _check_kind(part, value, where)
                _check_shape(part, value, sizes, where)
                if part.metadata["finite"] and not np.isfinite(value).all():
                    raise DataError(f"{where}: '{part.name}' holds values that are not finite; {MEND}")
        self.check(where)


def column(names: Array, wanted: str, where: str) -> int:
    """Return the place of a label among `names`; DataError lists them."""
    known = [str(name) for name in names]
    if wanted not in known:
        raise DataError(f"{where}: no label '{wanted}'; it holds {', '.join(known)}")
    return known.index(wanted)


def _arrays(cls: type[Artefact]) -> list[Field[Any]]:
    return [part for part in fields(cast(Any, cls)) if "axes" in part.metadata]


def _check_kind(part: Field[Any], value: Array, where: str) -> None:
    told, kinds = KINDS[part.metadata["kind"]]
    if value.dtype.kind not in kinds:
        raise DataError(f"{where}: '{part.name}' holds {value.dtype}, expected {told}; {MEND}")


def _check_shape(part: Field[Any], value: Array, sizes: dict[str, int], where: str) -> None:
    """Raise DataError for a shape that does not go with those before; enter its axes in `sizes`."""
    axes: list[str] = part.metadata["axes"]
    expected = tuple(_length(axis, sizes) for axis in axes)
    fits = value.ndim == len(axes)
    for axis, length in zip(axes, value.shape, strict=False):
        base, more = axis.removesuffix("+1"), int(axis.endswith("+1"))
        # The first array that has an axis says how long it is.
        known = int(axis) if axis.isdigit() else sizes.setdefault(base, length - more)
        fits = fits and known == length - more > 0
    if not fits:
        wanted = ", ".join(map(str, expected))
        raise DataError(
            f"{where}: '{part.name}' has shape {value.shape}, expected ({wanted}){_least(value)}; {MEND}"
        )


def _least(value: Array) -> str:
    return ", none of length 0" if value.ndim and not value.size else ""


def _length(axis: str, sizes: dict[str, int]) -> int | str:
    base, more = axis.removesuffix("+1"), int(axis.endswith("+1"))
    return sizes[base] + more if base in sizes else axis
