"""Where to put labels so that they do not overlap. Pure arithmetic on one axis."""

from __future__ import annotations

from collections.abc import Sequence


def spread_apart(wanted: Sequence[float], sizes: Sequence[float], low: float, high: float) -> list[float]:
    """Return centres as near as possible to `wanted` at which items of the given sizes do not overlap.

    Items that would overlap are joined to groups, each centred on the mean of what its members want (least
    squares; the pool-adjacent-violators algorithm, de Leeuw et al. 2009, JSS 32, 5). Groups are then kept
    within the axis where they fit.

    Args:
        wanted: wanted centres, increasing.
        sizes: extent of each item, in the same unit.
        low, high: ends of the axis.
    """
    # Subtracting the room the items before it need turns "do not overlap" into "do not decrease".
    room = [sum(sizes[:i]) + sizes[i] / 2 for i in range(len(sizes))]
    groups: list[list[float]] = []
    for place, before in zip(wanted, room, strict=True):
        groups.append([place - before])
        while len(groups) > 1 and _mean(groups[-2]) > _mean(groups[-1]):
            last = groups.pop()
            groups[-1] += last
    start = [_mean(group) for group in groups for _ in group]
    latest = max(low, high - sum(sizes))
    return [min(max(at, low), latest) + before for at, before in zip(start, room, strict=True)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
