"""The lattice prior as a finite set of lines cut into cells: geometry and prior masses, no spectra."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from specvit.simulate import LatticeLike

#: Cells per node spacing that get a score, and sub-cells per cell, between which scores are interpolated.
CELLS, SUBCELLS = 4, 4

#: The most by which an interpolated score may exceed its neighbours: far from a star parabolas run away.
OVERSHOOT = 4.0


@dataclass(frozen=True)
class Lines:
    """All lines of one free axis: every choice of nodes on the other axes, with a uniform label along it.

    Args:
        axis: the free label.
        start: labels at the first end, shape (lines, P), float64.
        weight: prior probability of each line, shape (lines,); the weights of all axes sum to one.
        length: range of the free label.
        cells: number of cells per line.
    """

    axis: int
    start: Tensor
    weight: Tensor
    length: float
    cells: int

    @classmethod
    def of(cls, prior: LatticeLike, axis: int, device: torch.device) -> Lines:
        """Return the lines of `prior` along label number `axis`."""
        space = prior.label_space
        nodes = [prior.nodes(name) for name in space.names]
        weights = [prior.node_weights(name) for name in space.names]
        cells = CELLS * (len(nodes[axis]) - 1)
        nodes[axis], weights[axis] = nodes[axis][:1], np.ones(1)
        start = torch.from_numpy(np.array(list(itertools.product(*nodes))))
        weight = torch.from_numpy(np.array([np.prod(w) for w in itertools.product(*weights)]) / len(space))
        length = space.high[axis] - space.low[axis]
        return cls(axis, start.to(device), weight.to(device), length, cells)

    @property
    def subcells(self) -> int:
        """Number of sub-cells of all lines."""
        return len(self.start) * self.cells * SUBCELLS

    def at(self, line: Tensor, share: Tensor) -> Tensor:
        """Return labels, shape (..., P), at the fraction `share` of the way along lines number `line`."""
        shape = torch.broadcast_shapes(line.shape, share.shape)
        labels = self.start[line].expand(*shape, -1).clone()
        labels[..., self.axis] += self.length * share
        return labels

    def in_subcells(self, subcell: Tensor, inside: Tensor) -> Tensor:
        """Return labels, shape (S, P), at the fraction `inside` (S,) of sub-cells number `subcell` (S,)."""
        per_line = self.cells * SUBCELLS
        return self.at(subcell // per_line, (subcell % per_line + inside) / per_line)

    def centres(self) -> Tensor:
        """Return the labels of all cell centres, shape (lines · cells, P), line by line."""
        share = (torch.arange(self.cells, dtype=torch.float64, device=self.start.device) + 0.5) / self.cells
        line = torch.arange(len(self.start), device=self.start.device)
        return self.at(line[:, None], share[None, :]).flatten(0, 1)

    def log_mass(self) -> Tensor:
        """Return ln of the prior probability of every sub-cell, line by line, shape (subcells,)."""
        per_line = self.cells * SUBCELLS
        return (self.weight / per_line).log().repeat_interleave(per_line)

    def interpolate(self, score: Tensor) -> Tensor:
        """Return scores at sub-cell centres, shape (subcells,), from those at cell centres.

        Each sub-cell lies on the parabola through the nearest three cells of its line: along a line the
        log-likelihood is close to one.
        """
        value = score.view(-1, self.cells)
        offset = (torch.arange(SUBCELLS, dtype=score.dtype, device=score.device) + 0.5) / SUBCELLS - 0.5
        # The end cells have one neighbour: they use the parabola of the next cell, shifted by one.
        middle = value[:, 1:-1, None]
        slope = 0.5 * (value[:, 2:] - value[:, :-2])[..., None]
        bend = (value[:, 2:] - 2 * value[:, 1:-1] + value[:, :-2])[..., None]

        def parabola(part: slice, x: Tensor) -> Tensor:
            return (middle[:, part] + slope[:, part] * x + 0.5 * bend[:, part] * x**2).flatten(1)

        ends = parabola(slice(0, 1), offset - 1), parabola(slice(-1, None), offset + 1)
        fine = torch.cat([ends[0], parabola(slice(None), offset), ends[1]], dim=1)
        highest = nn.functional.max_pool1d(value[:, None], 3, stride=1, padding=1)[:, 0] + OVERSHOOT
        return torch.minimum(fine, highest.repeat_interleave(SUBCELLS, dim=1)).flatten()

    def blur(self, mass: Tensor) -> Tensor:
        """Return sub-cell probabilities (subcells,) spread over two neighbours either side."""
        kernel = torch.tensor([1.0, 2.0, 3.0, 2.0, 1.0], dtype=mass.dtype, device=mass.device) / 9.0
        rows = mass.view(-1, 1, self.cells * SUBCELLS)
        hit = torch.nonzero(rows.sum((1, 2)))[:, 0]
        blurred = torch.zeros_like(rows)
        blurred[hit] = nn.functional.conv1d(rows[hit], kernel[None, None], padding=2)
        return blurred.flatten()
