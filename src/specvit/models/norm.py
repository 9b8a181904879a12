"""What is normal: how statistics of good spectra are spread at each noise level, and how far off is too far.

Statistics are brought to one scale, as a function of the noise level, by median and spread of held-out spectra; limits
are their largest values but for a share of `FALSE_ALARMS` of spectra, all statistics together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from specvit.documents.tensors import Tensors

#: Share of good spectra that are called strange.
FALSE_ALARMS = 0.01

#: Nodes over the noise level, and held-out spectra that each needs.
NODES, PER_NODE = 8, 100

#: Upper quantile that measures the spread: of the tail that counts, yet known from a hundred spectra.
UPPER = 0.9

#: Beyond the noise levels of held-out spectra by this much, in ln sigma, is still inside: sampling of the extremes.
MARGIN = 0.05


@dataclass(frozen=True)
class Norm:
    """Statistics of good spectra.

    Args:
        level: noise levels (ln sigma over the level of the spectrum) of the nodes, rising, shape (K,).
        bounds: lowest and highest noise level, shape (2,).
        centre: median of each statistic there, shape (S, K).
        spread: its `UPPER` quantile above the median, shape (S, K), > 0.
        limit: largest (statistic - centre) / spread that is not strange, shape (S,), > 0.
    """

    level: Tensor
    bounds: Tensor
    centre: Tensor
    spread: Tensor
    limit: Tensor

    @classmethod
    def unknown(cls) -> Self:
        """Return a norm that nothing was counted for; it is to be replaced."""
        zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
        # No noise level is outside it.
        bounds = torch.tensor([-torch.inf, torch.inf], dtype=torch.float64)
        return cls(zero, bounds, one, one, one[0])

    @classmethod
    def of(cls, level: Tensor, statistics: Tensor) -> Self:
        """Return the norm of N spectra.

        Args:
            level: their noise levels, shape (N,), float64.
            statistics: larger is stranger, shape (N, S), float64.
        """
        nodes = max(1, min(NODES, len(level) // PER_NODE))
        rows = [part for part in level.argsort().tensor_split(nodes) if len(part)]
        at = torch.stack([level[part].mean() for part in rows])
        quantiles = [
            torch.quantile(statistics[part], torch.tensor([0.5, UPPER]).double(), dim=0) for part in rows
        ]
        centre, upper = torch.stack(quantiles, dim=2).unbind(dim=0)
        spread = (upper - centre).clamp(min=1e-6)
        bounds = torch.stack([level.min() - MARGIN, level.max() + MARGIN])
        norm = cls(at, bounds, centre, spread, torch.ones(statistics.shape[1], dtype=torch.float64))
        scaled = norm.strangeness(level, statistics)
        return cls(at, bounds, centre, spread, _limits(scaled))

    def strangeness(self, level: Tensor, statistics: Tensor) -> Tensor:
        """Return statistics (N, S) over what is normal at noise levels (N,), shape (N, S); 1 is the limit."""
        lower, weight = self._between(level)
        centre, spread = (
            torch.lerp(table[:, lower], table[:, (lower + 1).clamp(max=len(self.level) - 1)], weight).T
            for table in (self.centre, self.spread)
        )
        # What is nearer to the centre than most is not strange at all.
        return ((statistics - centre) / (spread * self.limit)).clamp(min=0)

    def noise_strangeness(self, level: Tensor) -> Tensor:
        """Return 0 for noise levels (N,) inside the bounds; outside, 1 and how far."""
        outside = torch.maximum(self.bounds[0] - level, level - self.bounds[1])
        # A spectrum without any usable pixel has no noise level, and is not inside.
        return torch.where(outside <= 0, 0.0, 1.0 + outside.nan_to_num(nan=1.0).clamp(min=1e-6))

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the arrays by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def read(cls, tensors: Tensors) -> Self:
        """Return the norm stored as `to_tensors` gives it.

        Raises:
            DataError: if an array is missing, of another type or shape, or no norm of any spectra.
        """
        axes: dict[str, str | tuple[int]] = {"level": "K", "bounds": (2,), "limit": "S"}
        axes |= {"centre": "SK", "spread": "SK"}
        found = {name: tensors.take(name, axis, torch.float64) for name, axis in axes.items()}
        tensors.finish()
        for name in ("spread", "limit"):
            if not bool((found[name] > 0).all()):
                raise tensors.problem(f"tensor '{name}' has values that are not positive")
        if not len(found["level"]) or bool((found["level"].diff() < 0).any()):
            raise tensors.problem("tensor 'level' does not increase")
        return cls(**found)

    def _between(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Return the node below each level (N,), and how far it is towards the next; constant beyond the ends."""
        lower = (torch.searchsorted(self.level, level.contiguous()) - 1).clamp(0, max(len(self.level) - 2, 0))
        if len(self.level) == 1:
            return lower, torch.zeros_like(level)
        below, above = self.level[lower], self.level[lower + 1]
        return lower, ((level - below) / (above - below).clamp(min=1e-9)).clamp(0, 1).nan_to_num()


def _limits(scaled: Tensor) -> Tensor:
    """Return the limit of each statistic of N spectra (N, S): exceeded alike often, together by `FALSE_ALARMS`."""
    ordered = scaled.sort(dim=0, descending=True).values.clamp(min=1e-6)
    limit = ordered[0]
    for candidate in ordered[1:]:
        if (scaled > candidate).any(dim=1).double().mean() > FALSE_ALARMS:
            break
        limit = candidate
    # The largest of few spectra is less than what one in a hundred spectra exceeds: continued as a normal tail.
    wanted, known = FALSE_ALARMS / scaled.shape[1], 1 / (len(scaled) + 1)
    tails = torch.special.ndtri(1 - torch.tensor([wanted, known], dtype=torch.float64))
    found: Tensor = limit * (tails[0] / tails[1].clamp(min=0.5)).clamp(min=1)
    return found
