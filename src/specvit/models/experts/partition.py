"""A partition of the stars into bins, as data: edges per label, written as one line of text.

    teff:3750/4500/5250/6000 m_h:-2/-1/0/0.5    nine bins, Teff the slower
    m_h:q5                                      five bins that hold as many training stars each
    snr:0/2/4/7/inf                             bins in the observed S/N

A bin holds its lower edge, the last of an axis both. Owns which bin a star is in; no model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product

import torch
from torch import Tensor

from specvit.errors import ConfigError
from specvit.spectra import LabelSpace

#: The axis that is no label: median flux / sigma of the spectrum as it was observed.
OBSERVED_SNR = "snr"

#: Partitions by name. The edges are those of the reference work.
PARTITIONS = {
    "teff-mh": "teff:3750/4500/5250/6000 m_h:-2/-1/0/0.5",
    "mh": "m_h:-2/-1/0/0.5",
    "teff": "teff:3750/4500/5250/6000",
    "snr": "snr:0/2/4/7/inf",
    "whole": "",
}

#: Bins at most: each needs spectra of its own.
MOST_BINS = 100

_AXIS = re.compile(r"([A-Za-z_][A-Za-z0-9_]*):(.+)")
_QUANTILES = re.compile(r"q(\d{1,3})")


@dataclass(frozen=True)
class Axis:
    """Bins in one quantity.

    Args:
        name: a label, or "snr".
        edges: rising; empty while `quantiles` wait for the training stars.
        quantiles: number of bins with as many training stars each, or 0.
    """

    name: str
    edges: tuple[float, ...] = ()
    quantiles: int = 0

    def __len__(self) -> int:
        return self.quantiles if not self.edges else len(self.edges) - 1

    @property
    def text(self) -> str:
        """As it is written."""
        return f"{self.name}:{'/'.join(map(_written, self.edges)) if self.edges else f'q{self.quantiles}'}"

    def at(self, values: Tensor) -> Tensor:
        """Return the bin of every value (B,), -1 outside; NaN is outside."""
        edges = torch.tensor(self.edges, dtype=torch.float64, device=values.device)
        values = values.double().contiguous()
        bins = torch.searchsorted(edges, values, right=True) - 1
        bins = torch.where(values == edges[-1], len(self) - 1, bins)
        return torch.where(values.isnan() | (bins < 0) | (bins >= len(self)), -1, bins)


@dataclass(frozen=True)
class Partition:
    """Bins in the product of some axes, the first the slowest; without an axis one bin holds all stars."""

    axes: tuple[Axis, ...]

    def __len__(self) -> int:
        return torch.Size([len(axis) for axis in self.axes]).numel()

    @property
    def text(self) -> str:
        """The line that `parse_partition` reads."""
        return " ".join(axis.text for axis in self.axes)

    @property
    def names(self) -> tuple[str, ...]:
        """What a reader calls the bins."""
        parts = [
            [f"{axis.name} {_told(low)} to {_told(high)}" for low, high in pairwise(axis.edges)]
            for axis in self.axes
        ]
        return tuple(", ".join(chosen) or "all" for chosen in product(*parts))

    @property
    def labels(self) -> tuple[str, ...]:
        """The axes that are labels."""
        return tuple(axis.name for axis in self.axes if axis.name != OBSERVED_SNR)

    def bins_of(self, values: Mapping[str, Tensor], count: int) -> Tensor:
        """Return the bin of each of `count` stars, shape (count,), -1 for those in none.

        Args:
            values: of every axis, by name, each shape (count,).
            count: number of stars.
        """
        device = next(iter(values.values())).device if values else None
        bins = torch.zeros(count, dtype=torch.long, device=device)
        outside = torch.zeros(count, dtype=torch.bool, device=device)
        for axis in self.axes:
            at = axis.at(values[axis.name])
            outside |= at < 0
            bins = bins * len(axis) + at.clamp(min=0)
        return torch.where(outside, -1, bins)

    def resolved(self, values: Mapping[str, Tensor]) -> Partition:
        """Return the partition with edges where it asked for quantiles of the training stars.

        Raises:
            ConfigError: if values repeat so often that two edges would be one.
        """
        return Partition(tuple(_resolved(axis, values) for axis in self.axes))

    def opened(self) -> Partition:
        """Return the partition whose outermost bins reach to infinity, so that no star is outside."""

        def open_ended(axis: Axis) -> Axis:
            return replace(axis, edges=(-torch.inf, *axis.edges[1:-1], torch.inf)) if axis.edges else axis

        return Partition(tuple(open_ended(axis) for axis in self.axes))

    def share_of(self, space: LabelSpace) -> float | None:
        """Return which share of the box of some labels the bins hold; None with an axis in S/N."""
        share = 1.0
        for axis in self.axes:
            if axis.name == OBSERVED_SNR:
                return None
            at = space.index(axis.name)
            low, high = max(axis.edges[0], space.low[at]), min(axis.edges[-1], space.high[at])
            share *= max(high - low, 0.0) / (space.high[at] - space.low[at])
        return share


def parse_partition(text: str) -> Partition:
    """Return the partition of a name, or of a line of axes.

    Raises:
        ConfigError: for what is neither; says what was expected.
    """
    line = PARTITIONS.get(text, text)
    axes: list[Axis] = []
    for word in line.split():
        found = _AXIS.fullmatch(word)
        if found is None:
            raise _problem(text, f"'{word}' is no axis")
        name, edges = found.groups()
        if name in {axis.name for axis in axes}:
            raise _problem(text, f"'{name}' is given twice")
        axes.append(_axis(text, name, edges))
    partition = Partition(tuple(axes))
    if len(partition) > MOST_BINS:
        raise _problem(text, f"{len(partition)} bins are more than {MOST_BINS}")
    return partition


def check_axes(partition: Partition, known: Sequence[str], where: str) -> None:
    """Raise ConfigError unless every axis is one of the labels `known`, or the S/N."""
    for axis in partition.axes:
        if axis.name not in (*known, OBSERVED_SNR):
            raise ConfigError(
                f"{where}: partition: '{axis.name}' is no label of the training set; choose "
                f"{', '.join((*known, OBSERVED_SNR))}"
            )


def _axis(text: str, name: str, edges: str) -> Axis:
    if quantiles := _QUANTILES.fullmatch(edges):
        if int(quantiles[1]) < 1:
            raise _problem(text, f"{name}: needs at least one bin")
        return Axis(name, quantiles=int(quantiles[1]))
    try:
        values = tuple(float(edge) for edge in edges.split("/"))
    except ValueError:
        raise _problem(text, f"{name}: '{edges}' are no numbers") from None
    if len(values) < 2 or not all(low < high for low, high in pairwise(values)):
        raise _problem(text, f"{name}: expected at least two rising edges, got {edges}")
    return Axis(name, values)


def _resolved(axis: Axis, values: Mapping[str, Tensor]) -> Axis:
    if not axis.quantiles:
        return axis
    inner = torch.arange(1, axis.quantiles, dtype=torch.float64) / axis.quantiles
    # Sorted by hand: torch.quantile refuses more than 16 million values.
    ordered = values[axis.name].double().cpu().sort().values
    edges = ordered[(inner * len(ordered)).long()].tolist()
    if any(low >= high for low, high in pairwise(edges)):
        raise ConfigError(
            f"partition: {axis.name} takes too few values for {axis.quantiles} quantile bins; give edges"
        )
    # Open at both ends: every star has a bin.
    return replace(axis, edges=(-torch.inf, *edges, torch.inf), quantiles=0)


def _told(edge: float) -> str:
    return f"{edge:.4g}"


def _written(edge: float) -> str:
    """Return the shortest text that is read back as the same number."""
    short = f"{edge:g}"
    return short if float(short) == edge else repr(edge)


def _problem(text: str, what: str) -> ConfigError:
    return ConfigError(
        f"partition: {what} in '{text}'; expected {', '.join(PARTITIONS)}, or axes such as "
        "teff:3750/4500/6000 m_h:q3"
    )
