"""Levenberg-Marquardt of many stars and starts in a box of labels, velocity and line width."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specvit.inference.box_steps import bounded_step, free_labels, possible_decrease, promised_decrease
from specvit.inference.region import Region
from specvit.stellar.objective import Evaluation, StarObjective

#: Steps of every start before the worse ones are given up, and of the others; decrease of χ² at which one is done.
FIRST_STEPS, STEPS, TOLERANCE = 4, 30, 1e-3
#: Starts of a star that go on after the first steps.
KEPT = 3
DAMPING = 1e-2


@dataclass
class StarMinima:
    """Where the descents of B stars with S starts ended, the best first.

    Args:
        position: in the unit box, shape (B, S, P + 2).
        chi2: of the pixels, shape (B, S).
        total: with priors, shape (B, S).
        curvature: of ½ total in units of the box, shape (B, S, P + 2, P + 2).
    """

    position: Tensor
    chi2: Tensor
    total: Tensor
    curvature: Tensor


class StarBox:
    """The box of each star: labels, velocities about where they were found, line widths; scaled to [0, 1].

    Args:
        low, high: shape (B, P + 2).
        region: the part of it that is searched.
    """

    def __init__(self, low: Tensor, high: Tensor, region: Region) -> None:
        self.low, self.size, self.region = low, high - low, region

    def values(self, star: Tensor, position: Tensor) -> Tensor:
        """Return values (N, P + 2) of positions in the unit box."""
        return self.low[star] + self.size[star] * position

    def position(self, star: Tensor, values: Tensor) -> Tensor:
        """Return positions in the unit box, on a face where values are outside."""
        return ((values - self.low[star]) / self.size[star]).clamp(0.0, 1.0)


def descend(objective: StarObjective, box: StarBox, start: Tensor) -> StarMinima:
    """Return the minima reached from positions `start` (B, S, P + 2) in the unit box.

    All starts take a few steps; then the best `KEPT` of each star go on until they converge.
    """
    stars, starts, size = start.shape
    state = _Descents(objective, box, torch.arange(stars).repeat_interleave(starts), start.flatten(0, 1))
    state.run(FIRST_STEPS)
    order = state.total.view(stars, starts).argsort(1)
    kept = order[:, : min(KEPT, starts)]
    chosen = (kept + starts * torch.arange(stars)[:, None]).flatten()
    state.keep(chosen)
    state.run(STEPS)
    shape = (stars, kept.shape[1])
    best = state.total.view(shape).argsort(1)
    rows = (best + shape[1] * torch.arange(stars)[:, None]).flatten()
    return StarMinima(
        state.position[rows].view(*shape, size),
        state.chi2[rows].view(shape),
        state.total[rows].view(shape),
        state.curvature[rows].view(*shape, size, size),
    )


class _Descents:
    def __init__(self, objective: StarObjective, box: StarBox, star: Tensor, position: Tensor) -> None:
        self.objective, self.box, self.star, self.position = objective, box, star, position.clone()
        found = self._at(star, self.position)
        self.chi2, self.total = found.chi2, found.total
        self.gradient, self.curvature = found.gradient, found.curvature
        self.damping = torch.full_like(self.total, DAMPING)

    def keep(self, rows: Tensor) -> None:
        for name in ("star", "position", "chi2", "total", "gradient", "curvature", "damping"):
            setattr(self, name, getattr(self, name)[rows])

    def run(self, steps: int) -> None:
        active = torch.arange(len(self.star))
        for _ in range(steps):
            now = self.position[active]
            free = free_labels(now, self.gradient[active], self.box.region.bounds(now))
            left = possible_decrease(self.curvature[active], self.gradient[active], free)
            active = active[(left > TOLERANCE) & (self.damping[active] < 1e6)]
            if not len(active):
                return
            self._step(active)

    def _step(self, rows: Tensor) -> None:
        now, gradient, curvature = self.position[rows], self.gradient[rows], self.curvature[rows]
        bounds = self.box.region.bounds(now)
        free = free_labels(now, gradient, bounds)
        step = bounded_step(curvature, gradient, free, self.damping[rows], now, bounds)
        trial = self.box.region.confined(now, now + step, gradient)
        found = self._at(self.star[rows], trial)
        gain = self.total[rows] - found.total
        better = gain > 0
        ratio = gain / promised_decrease(curvature, gradient, trial - now).clamp(min=1e-30)
        # Nielsen 1999, IMM-REP-1999-05.
        factor = torch.where(better, (1 - (2 * ratio - 1) ** 3).clamp(0.1, 4.0), 8.0)
        self.damping[rows] = (self.damping[rows] * factor).clamp(min=1e-10)
        moved = rows[better]
        self.position[moved] = trial[better]
        for name in ("chi2", "total", "gradient", "curvature"):
            getattr(self, name)[moved] = getattr(found, name)[better]

    def _at(self, star: Tensor, position: Tensor) -> Evaluation:
        found = self.objective.at(star, self.box.values(star, position))
        size = self.box.size[star]
        return Evaluation(
            found.chi2,
            found.total,
            found.gradient * size,
            found.curvature * size[:, :, None] * size[:, None, :],
        )
