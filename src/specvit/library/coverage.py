"""Which part of a box of labels the nodes of a library cover: cells between nodes, each with spectra around it or not.

A grid has holes where models did not converge; between the nodes around a hole an emulator would extrapolate and state the
errors of an interpolation. Knows labels, not spectra.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from torch import Tensor

from specvit.errors import DataError, DomainError
from specvit.spectra import LabelSpace

#: A grid has at least this share of its nodes; below it labels are scattered.
FULLEST_SCATTER = 0.25
#: Nodes that a cell of scattered labels would hold if they were spread evenly: 1 in 3000 would be empty by chance.
NODES_PER_CELL = 8
#: A label on a face, rounded to float32, belongs to the cells on both sides.
SLACK = 1e-6


@dataclass(frozen=True, eq=False)
class CoveredCells:
    """Cells of a box, those with nodes around them filled.

    Args:
        edges: for each label the increasing ends of its cells, shape (n + 1,).
        filled: shape (n, m, ...), bool.

    Raises:
        DataError: if the shapes do not go together, edges do not increase, or no cell is filled.
    """

    edges: tuple[np.ndarray, ...]
    filled: np.ndarray

    def __post_init__(self) -> None:
        increasing = all(np.isfinite(e).all() and (np.diff(e) > 0).all() for e in self.edges)
        if not increasing or self.filled.shape != tuple(len(e) - 1 for e in self.edges):
            raise DataError("coverage: edges of cells do not increase, or are not those of the cells")
        if not self.filled.any():
            raise DataError("coverage: no cell has nodes around it; give more spectra, or a wider domain")

    @property
    def share(self) -> float:
        """Share of the box's volume that is covered."""
        volume = self.volumes()
        return float(volume[self.filled].sum() / volume.sum())

    def describe_cut(self) -> str:
        """Return how much of the box no star is drawn from, in one line for people."""
        return f"no stars are drawn from {1 - self.share:.1%} of the box of labels: the library has no spectra around it"

    def volumes(self) -> np.ndarray:
        """Return the volume of each cell, in shares of the box, shape (n, m, ...)."""
        volume = np.ones(())
        for e in self.edges:
            volume = np.multiply.outer(volume, np.diff(e) / (e[-1] - e[0]))
        return volume

    def cut(self, space: LabelSpace) -> CoveredCells | None:
        """Return the coverage of a smaller box; None if all of it is covered.

        Raises:
            DomainError: if nothing of it is covered.
        """
        edges, kept = [], []
        for e, low, high in zip(self.edges, space.low, space.high, strict=True):
            slack = SLACK * (e[-1] - e[0])
            inner = e[(e > low + slack) & (e < high - slack)]
            ends = np.concatenate([[low], inner, [high]])
            edges.append(ends)
            middles = 0.5 * (ends[1:] + ends[:-1])
            kept.append(np.clip(np.searchsorted(e, middles) - 1, 0, len(e) - 2))
        filled = self.filled[np.ix_(*kept)]
        if not filled.any():
            ranges = zip(space.names, space.low, space.high, strict=True)
            asked = ", ".join(f"{name} {low:g} to {high:g}" for name, low, high in ranges)
            raise DomainError(f"domain: the library has no spectra around {asked}; choose a wider range")
        return None if filled.all() else CoveredCells(tuple(edges), filled)

    def covers(self, labels: Tensor | np.ndarray) -> np.ndarray:
        """Return whether each of `labels` (..., P) lies in a filled cell or on its face, shape (...)."""
        values = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
        values = values.astype(np.float64)
        around = []
        for i, e in enumerate(self.edges):
            slack, value = SLACK * (e[-1] - e[0]), values[..., i]
            ends = (np.searchsorted(e, value + shift) - 1 for shift in (-slack, slack))
            around.append([np.clip(at, 0, len(e) - 2) for at in ends])
        covered = np.zeros(values.shape[:-1], dtype=bool)
        for corner in product(*around):
            covered |= self.filled[corner]
        return covered

    def check(self, labels: Tensor | np.ndarray, names: tuple[str, ...], what: str = "labels") -> None:
        """Raise DomainError, naming the first, if any of `labels` (..., P) is not covered."""
        covered = self.covers(labels)
        if not covered.all():
            rows = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
            first = rows.reshape(-1, len(names))[int(np.argmin(covered.reshape(-1)))]
            at = ", ".join(f"{name} = {value:g}" for name, value in zip(names, first.tolist(), strict=True))
            raise DomainError(
                f"{what}: {at} lies where the library has no spectra around it; choose labels inside, or another library"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description; `from_dict` reads it back."""
        empty = np.flatnonzero(~self.filled.ravel())
        return {"edges": [e.tolist() for e in self.edges], "empty": empty.tolist()}

    @classmethod
    def from_dict(cls, edges: list[list[float]], empty: list[int], labels: int) -> CoveredCells:
        """Return the coverage that `to_dict` described.

        Raises:
            DataError: if it is none of so many labels.
        """
        shape = tuple(len(e) - 1 for e in edges)
        cells = int(np.prod([max(n, 0) for n in shape], dtype=float))
        if len(edges) != labels or cells < 1 or cells > MOST_CELLS or not all(0 <= k < cells for k in empty):
            raise DataError(f"coverage: {len(empty)} empty of {cells} cells do not describe {labels} labels")
        filled = np.ones(cells, dtype=bool)
        filled[empty] = False
        return cls(tuple(np.array(e, dtype=np.float64) for e in edges), filled.reshape(shape))


#: Far above any grid; a damaged number must not ask for all memory.
MOST_CELLS = 10**8


def covered_region(labels: np.ndarray, space: LabelSpace) -> CoveredCells | None:
    """Return which part of `space` nodes at `labels` (N, P) cover; None if all of it.

    In a grid a cell is covered if every node at its corners is there. Scattered labels are counted in equal cells, so large
    that `NODES_PER_CELL` would fall into each; a cell without any is not covered.

    Raises:
        DataError, DomainError: if nothing is covered.
    """
    values = [np.unique(np.round(column, 6)) for column in labels.T]
    nodes = float(np.prod([len(v) for v in values], dtype=float))
    if all(len(v) > 1 for v in values) and len(labels) > FULLEST_SCATTER * nodes:
        there = np.zeros([len(v) for v in values], dtype=bool)
        there[tuple(np.searchsorted(v, np.round(c, 6)) for v, c in zip(values, labels.T, strict=True))] = True
        filled = there
        for axis in range(there.ndim):
            first, last = (np.take(filled, range(a, filled.shape[axis] - 1 + a), axis) for a in (0, 1))
            filled = first & last
        return CoveredCells(tuple(values), filled).cut(space)
    low, high = labels.min(axis=0), labels.max(axis=0)
    cells = int((len(labels) / NODES_PER_CELL) ** (1 / labels.shape[1]) + 1e-9)
    if cells < 2:
        return None
    edges = tuple(np.linspace(a, b, cells + 1) for a, b in zip(low, high, strict=True))
    counts, _ = np.histogramdd(labels, bins=edges)
    return CoveredCells(edges, counts > 0).cut(space)
