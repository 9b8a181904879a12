"""The spectra of a library before they are read: which file (or grid cell) holds which labels.

Owns finding, filtering and the checks that do not need a spectrum: names, duplicates, mixed kinds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from specvit.errors import DataError, LabelError
from specvit.spectra import LabelSpace
from specvit.spectra.labels import STELLAR_UNITS

Limits = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Node:
    """One spectrum of a source library.

    Args:
        path: the file.
        labels: label name -> value, names of `STELLAR_UNITS`.
        resolution: λ/FWHM stated by the source.
        kind: everything else that must be equal within one library (microturbulence, rotation).
        family: model-atmosphere family, where two may exist for the same labels.
        index: position inside `path`, if it holds a grid.
    """

    path: Path
    labels: dict[str, float]
    resolution: float
    kind: str = ""
    family: str = ""
    index: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """What error messages call this spectrum."""
        return f"{self.path.name}{list(self.index) if self.index else ''}"

    def describe(self) -> str:
        """Return the labels as text, e.g. 'teff=5000 log_g=4.5'."""
        return " ".join(f"{name}={value:g}" for name, value in self.labels.items())


@dataclass(frozen=True)
class Found:
    """The nodes of a source and, by reason, how many files or cells are not among them."""

    nodes: list[Node]
    left_out: dict[str, int] = field(default_factory=dict)

    def keep(self, reason: str, wanted: Callable[[Node], bool]) -> Found:
        """Return the nodes for which `wanted` holds; the others are counted under `reason`."""
        kept = [node for node in self.nodes if wanted(node)]
        return Found(kept, counted(self.left_out, {reason: len(self.nodes) - len(kept)}))


def counted(*counts: Mapping[str, int]) -> dict[str, int]:
    """Return the sum of counts by reason, without zeros."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return {reason: count for reason, count in total.items() if count}


def find_nodes(
    folder: Path,
    suffixes: tuple[str, ...],
    parse: Callable[[Path], Iterable[Node]],
    others: Mapping[str, str] | None = None,
    used: tuple[str, ...] = (),
) -> Found:
    """Return the nodes of every file below `folder` with one of the suffixes, sorted by path.

    Args:
        folder: where to look.
        suffixes: ends of the names of spectra.
        parse: the nodes a path stands for.
        others: end of a name -> what files that are left out are called; all others are "other files".
        used: beginnings of the names of files that are read otherwise.

    Raises:
        DataError: if the folder is missing or holds no such file, or if `parse` refuses a name.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the folder that holds the downloaded files")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(used))
    paths = [path for path in files if path.name.endswith(suffixes)]
    rest = [path for path in files if not path.name.endswith(suffixes)]
    reasons = [
        next((what for end, what in (others or {}).items() if path.name.endswith(end)), "other files")
        for path in rest
    ]
    if not paths:
        seen = "".join(f" ({count} {reason})" for reason, count in Counter(reasons).items())
        raise DataError(
            f"{folder}: no file ending in {' or '.join(suffixes)} in it or below{seen}; check the folder"
        )
    return Found([node for path in paths for node in parse(path)], counted(Counter(reasons)))


def find_companion(node: Node, folder: Path, names: tuple[str, ...], mend: str) -> Path:
    """Return the file of wavelengths that spectra share: beside the node, above it up to `folder`, or nearby.

    Archives keep it in a folder beside those of the spectra, so what lies below `folder` and beside it counts too.

    Raises:
        DataError: if it is not found.
    """
    above = [node.path.parent]
    while above[-1] != folder and above[-1].parent != above[-1]:
        above.append(above[-1].parent)
    beside = folder.absolute().parent
    for place in (*above, beside, beside / "wavelength_grids"):
        for name in names:
            if (place / name).is_file():
                return place / name
    for name in names:
        if found := sorted(folder.rglob(name)):
            return found[0]
    raise DataError(
        f"{names[0]}: not found in {folder}, and the spectra have no wavelengths without it; {mend}"
    )


def choose_resolution(found: Found, wanted: float | None, source: str) -> Found:
    """Return the nodes of one source resolution: `wanted`, or the only one there is.

    Raises:
        DataError: if there are several and none is wanted, or none of that resolution.
    """
    there = sorted({node.resolution for node in found.nodes})
    if wanted is None and len(there) == 1:
        return found
    stated = ", ".join(f"{resolution:g}" for resolution in there)
    if wanted is None:
        first, other = (
            found.nodes[0],
            next(n for n in found.nodes if n.resolution != found.nodes[0].resolution),
        )
        raise DataError(
            f"{source}: holds files of R = {stated} ({first.name}, {other.name}); choose one with --source-resolution"
        )
    if wanted not in there:
        raise DataError(f"{source}: no file of R = {wanted:g}; there are {stated}")
    return found.keep("of another resolution", lambda node: node.resolution == wanted)


def match_name(pattern: re.Pattern[str], path: Path, what: str, example: str) -> re.Match[str]:
    """Return the parts of a file name, or raise DataError: it is not a `what` name, which is like `example`."""
    match = pattern.fullmatch(path.name)
    if match is None:
        raise DataError(f"{path.name}: not a {what} name (like {example}); rename it or move it away")
    return match


def check_limits(limits: Limits, known: tuple[str, ...] = tuple(STELLAR_UNITS)) -> None:
    """Raise LabelError if a limit names an unknown label or has low > high."""
    for name, (low, high) in limits.items():
        if name not in known:
            raise LabelError(f"limits: unknown label '{name}'; known labels are {', '.join(known)}")
        if not low <= high:  # nor if one is NaN
            raise LabelError(f"limits: {name} from {low:g} to {high:g} is empty; give low:high")


def select_nodes(found: Found, limits: Limits, source: str) -> Found:
    """Return the nodes inside `limits` (closed), after checking that they make one library.

    Raises:
        LabelError: for an unknown label in `limits`.
        DataError: if none is left, labels repeat, or kinds or resolutions are mixed; names the files.
    """
    check_limits(limits)
    if found.nodes and (unknown := set(limits) - set(found.nodes[0].labels)):
        raise LabelError(f"limits: {source} has no label '{sorted(unknown)[0]}'; leave that limit out")
    found = found.keep(
        "outside the limits",
        lambda node: all(low - 1e-9 <= node.labels[k] <= high + 1e-9 for k, (low, high) in limits.items()),
    )
    kept = found.nodes
    if not kept:
        raise DataError(f"{source}: no spectrum inside the asked limits; widen them")
    first = kept[0]
    seen: dict[tuple[float, ...], Node] = {}
    for node in kept:
        if node.kind != first.kind:
            raise DataError(
                f"{node.name}: is {node.kind}, but {first.name} is {first.kind}; import one kind at a time"
            )
        if node.resolution != first.resolution:
            raise DataError(
                f"{node.name}: has R = {node.resolution:g}, but {first.name} has R = {first.resolution:g}; "
                "choose one with --source-resolution"
            )
        other = seen.setdefault(tuple(node.labels.values()), node)
        if other is not node:
            mend = "choose one with `--atmosphere`" if other.family != node.family else "remove one of them"
            raise DataError(f"{node.name}: has the same labels as {other.name} ({node.describe()}); {mend}")
    return found


def label_array(nodes: list[Node], source: str) -> tuple[np.ndarray, LabelSpace, dict[str, float]]:
    """Return `free_labels` of the nodes."""
    names = [name for name in STELLAR_UNITS if name in nodes[0].labels]
    return free_labels(names, np.array([[node.labels[name] for name in names] for node in nodes]), source)


def free_labels(
    names: list[str], values: np.ndarray, source: str
) -> tuple[np.ndarray, LabelSpace, dict[str, float]]:
    """Return the labels (N, P) that vary, their LabelSpace (extent), and the constant ones with their value.

    Args:
        names: label names, keys of `STELLAR_UNITS`.
        values: shape (N, len(names)).
        source: what the error message calls the spectra.

    Raises:
        DataError: if no label takes two values.
    """
    low, high = values.min(axis=0), values.max(axis=0)
    free = low < high
    if not free.any():
        raise DataError(f"{source}: all spectra have the same labels; a library needs a range")
    kept = [name for name, is_free in zip(names, free, strict=True) if is_free]
    space = LabelSpace(
        tuple(kept),
        tuple(STELLAR_UNITS[name] for name in kept),
        tuple(low[free].tolist()),
        tuple(high[free].tolist()),
    )
    fixed = {name: float(values[0, i]) for i, name in enumerate(names) if not free[i]}
    return values[:, free], space, fixed
