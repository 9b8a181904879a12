"""Where a fit may look: the unit box, or the part of it around which a library has spectra.

Between the nodes around a hole an emulator extrapolates; a fit that searched there would find what nobody computed. The
covered part is made of cells, so its faces are those of cells: a label on one is held as it is on a face of the box.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from torch import Tensor

from specvit.library import CoveredCells
from specvit.spectra import LabelSpace

#: Positions this near to a face are on it: float32 rounds those on one to either side.
SLACK = 1e-6


class Region:
    """The box of `space` scaled to [0, 1], less the cells around which a library has no spectra.

    Args:
        space: the box that is searched.
        coverage: of the library; None: all of the box.
        further: parameters beside the labels, each free between 0 and 1.

    Raises:
        DomainError: if nothing of the box is covered.
    """

    def __init__(self, space: LabelSpace, coverage: CoveredCells | None, further: int = 0) -> None:
        cells = None if coverage is None else coverage.cut(space)
        self.whole = cells is None
        if cells is None:
            return
        filled = cells.filled.reshape(cells.filled.shape + (1,) * further)
        scaled = [(e - e[0]) / (e[-1] - e[0]) for e in cells.edges] + [np.array([0.0, 1.0])] * further
        self._edges = [torch.from_numpy(edges) for edges in scaled]
        self._filled = torch.from_numpy(filled)
        runs = [_runs(filled, axis) for axis in range(filled.ndim)]
        self._first = [torch.from_numpy(first) for first, _ in runs]
        self._last = [torch.from_numpy(last) for _, last in runs]

    def covers(self, position: Tensor) -> Tensor:
        """Return whether positions (N, P) lie in the region or on its face, shape (N,)."""
        if self.whole:
            return torch.ones(len(position), dtype=torch.bool, device=position.device)
        return self._filled[tuple(self._cells(position).T)]

    def moved_inside(self, points: Tensor) -> Tensor:
        """Return points (N, P) of the box, those in holes moved to the middles of covered cells, evenly chosen."""
        outside = ~self.covers(points)
        if not bool(outside.any()):
            return points
        cells = self._filled.nonzero()
        middles = torch.stack(
            [0.5 * (edges[at] + edges[at + 1]) for edges, at in zip(self._edges, cells.T, strict=True)], dim=1
        )
        count = int(outside.sum())
        moved = points.clone()
        chosen = torch.arange(count, device=points.device) * len(middles) // count
        moved[outside] = middles[chosen].to(points)
        return moved

    def bounds(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Return how far each label alone may go down and up from positions (N, P) in the region, each (N, P)."""
        if self.whole:
            return torch.zeros_like(position), torch.ones_like(position)
        cells = tuple(self._cells(position).T)
        low = [edges[first[cells]] for edges, first in zip(self._edges, self._first, strict=True)]
        high = [edges[last[cells] + 1] for edges, last in zip(self._edges, self._last, strict=True)]
        return torch.stack(low, dim=1).to(position), torch.stack(high, dim=1).to(position)

    def confined(self, position: Tensor, trial: Tensor, gradient: Tensor) -> Tensor:
        """Return where steps from `position` to `trial` (N, P) may end, in the region.

        A step that would cut the corner of a hole goes on in the label alone from which the gradient, uphill in what is
        maximised, promises most; the others stay in their cell.
        """
        trial = torch.clamp(trial, *self.bounds(position))
        if self.whole:
            return trial
        cells = self._cells(position)
        own = [(edges[at], edges[at + 1]) for edges, at in zip(self._edges, cells.T, strict=True)]
        low, high = (torch.stack(ends, dim=1).to(position) for ends in zip(*own, strict=True))
        most = (gradient * (trial - position)).argmax(dim=1, keepdim=True)
        along = torch.clamp(trial, low, high).scatter(1, most, trial.gather(1, most))
        return torch.where(self.covers(trial)[:, None], trial, along)

    def _follow(self, device: torch.device) -> None:
        """Move to where positions are."""
        if self._filled.device != device:
            self._filled = self._filled.to(device)
            for known in (self._edges, self._first, self._last):
                known[:] = [values.to(device) for values in known]

    def _cells(self, position: Tensor) -> Tensor:
        """Return the cell of each position, shape (N, P): of those it lies on the faces of, one that is covered."""
        self._follow(position.device)
        below, above = (
            torch.stack(
                [
                    (torch.searchsorted(edges, (column + shift).contiguous(), right=True) - 1).clamp(
                        0, len(edges) - 2
                    )
                    for edges, column in zip(self._edges, position.double().T, strict=True)
                ],
                dim=1,
            )
            for shift in (-SLACK, SLACK)
        )
        chosen = below.clone()
        settled = self._filled[tuple(chosen.T)]
        for sides in product((False, True), repeat=position.shape[1]):
            if bool(settled.all()):
                break
            other = torch.where(torch.tensor(sides, device=position.device), above, below)
            better = ~settled & self._filled[tuple(other.T)]
            chosen[better], settled = other[better], settled | better
        return chosen


def _runs(filled: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last of the covered cells in a row along `axis` that each cell belongs to.

    Of a cell that is not covered they are the other way round, and mean nothing.
    """
    count = filled.shape[axis]
    at = np.arange(count).reshape([-1 if k == axis else 1 for k in range(filled.ndim)])
    first = np.maximum.accumulate(np.where(filled, -1, at), axis=axis) + 1
    ends = np.flip(np.where(filled, count, at), axis)
    last = np.flip(np.minimum.accumulate(ends, axis=axis), axis) - 1
    return first.clip(0, count - 1), last.clip(0, count - 1)
