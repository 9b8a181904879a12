"""How labels are drawn: what a prior promises, and the two of the simulated world.

Every prior can be drawn from. What else one can do with it depends on its kind, and its type says so: a
`DensityPrior` has a density, a `LatticeLike` has nodes. Knows neither spectra nor noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from specvit.errors import ConfigError
from specvit.library import CoveredCells
from specvit.spectra import LabelSpace


@runtime_checkable
class Prior(Protocol):
    """A distribution over the labels of a LabelSpace, all of it inside the box."""

    @property
    def label_space(self) -> LabelSpace:
        """Names, units and box of the labels."""

    def sample(self, count: int, generator: np.random.Generator) -> Tensor:
        """Return `count` label vectors, shape (count, P), float32, drawn from `generator` alone."""

    def variance(self, name: str) -> float:
        """Return the prior variance of one label, in the label's unit squared."""


@runtime_checkable
class DensityPrior(Prior, Protocol):
    """A prior with a density over the box."""

    def log_density(self, labels: Tensor) -> Tensor:
        """Return ln p(labels), up to a constant, shape (...), for labels (..., P) on any device.

        -inf where the density is zero, as outside the box.
        """


@runtime_checkable
class LatticeLike(Prior, Protocol):
    """A prior without a density: labels lie on nodes on all axes but one, chosen with equal probability.

    On that axis the label is uniform between its first and last node; the others are drawn independently.
    """

    def nodes(self, name: str) -> np.ndarray:
        """Return the node values of one label, equally spaced and increasing, from face to face of the box."""

    def node_weights(self, name: str) -> np.ndarray:
        """Return the probability of each node given that the label lies on one."""


@runtime_checkable
class MarginalPrior(Prior, Protocol):
    """A prior that knows how each label is distributed on its own."""

    def cumulative(self, name: str, values: np.ndarray) -> np.ndarray:
        """Return the probability that label `name` lies below each of `values`, any shape."""


@runtime_checkable
class PriorWithHoles(Prior, Protocol):
    """A prior of which parts of the box are left out: those around which a library has no spectra."""

    @property
    def coverage(self) -> CoveredCells:
        """The part of the box that labels are drawn from."""


@runtime_checkable
class CuttablePrior(Prior, Protocol):
    """A prior that knows what it is in a part of its box."""

    def within(self, coverage: CoveredCells) -> Prior:
        """Return the prior given that labels lie in the covered part of its box."""


@dataclass(frozen=True)
class UniformPrior:
    """Independent, continuous, uniform labels in a box (a `DensityPrior`): the house default."""

    label_space: LabelSpace

    def sample(self, count: int, generator: np.random.Generator) -> Tensor:
        """Return `count` label vectors, shape (count, P), float32."""
        low, high = np.array(self.label_space.low), np.array(self.label_space.high)
        return torch.from_numpy((low + (high - low) * generator.random((count, len(low)))).astype(np.float32))

    def variance(self, name: str) -> float:
        """Return width²/12."""
        i = self.label_space.index(name)
        return (self.label_space.high[i] - self.label_space.low[i]) ** 2 / 12.0

    def cumulative(self, name: str, values: np.ndarray) -> np.ndarray:
        """Return (value - low) / (high - low), between 0 and 1."""
        i = self.label_space.index(name)
        low, high = self.label_space.low[i], self.label_space.high[i]
        return np.clip((np.asarray(values, dtype=np.float64) - low) / (high - low), 0.0, 1.0)

    def log_density(self, labels: Tensor) -> Tensor:
        """Return minus the log volume inside the box and -inf outside, shape (...)."""
        low = labels.new_tensor(self.label_space.low)
        high = labels.new_tensor(self.label_space.high)
        inside = ((labels >= low) & (labels <= high)).all(dim=-1)
        log_volume = torch.log(high - low).sum()
        return torch.where(inside, -log_volume, -torch.inf)

    def within(self, coverage: CoveredCells) -> CoveredPrior:
        """Return the uniform prior over the covered part of the box."""
        return CoveredPrior(self.label_space, coverage)


@dataclass(frozen=True)
class CoveredPrior:
    """Continuous, uniform labels in the part of a box that a library covers (a `DensityPrior` and `MarginalPrior`).

    Args:
        label_space: the box.
        coverage: its covered part.
    """

    label_space: LabelSpace
    coverage: CoveredCells

    def sample(self, count: int, generator: np.random.Generator) -> Tensor:
        """Return `count` label vectors, shape (count, P), float32."""
        cells, weights = self._cells()
        # Numbers of a label vector together, as for a box: more of them do not change the first.
        draws = generator.random((count, 1 + len(self.label_space)))
        chosen = cells[np.searchsorted(np.cumsum(weights)[:-1], draws[:, 0], side="right")]
        columns = [
            edges[at] + (edges[at + 1] - edges[at]) * draws[:, 1 + i]
            for i, (edges, at) in enumerate(zip(self.coverage.edges, chosen.T, strict=True))
        ]
        return torch.from_numpy(np.column_stack(columns).astype(np.float32))

    def variance(self, name: str) -> float:
        """Return the variance of the mixture of cells."""
        edges, share = self._marginal(name)
        middle, width = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
        mean = float(share @ middle)
        return float(share @ ((middle - mean) ** 2 + width**2 / 12.0))

    def cumulative(self, name: str, values: np.ndarray) -> np.ndarray:
        """Return the probability that a label lies below each of `values`: linear within a cell."""
        edges, share = self._marginal(name)
        below: np.ndarray = np.interp(values, edges, np.concatenate([[0.0], np.cumsum(share)]))
        return below

    def log_density(self, labels: Tensor) -> Tensor:
        """Return minus the log of the covered volume inside it and -inf outside, shape (...)."""
        low, high = labels.new_tensor(self.label_space.low), labels.new_tensor(self.label_space.high)
        inside = ((labels >= low) & (labels <= high)).all(dim=-1)
        covered = torch.from_numpy(self.coverage.covers(labels)).to(labels.device)
        log_volume = torch.log(high - low).sum() + np.log(self.coverage.share)
        return torch.where(inside & covered, -log_volume, -torch.inf)

    def _cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the covered cells, shape (M, P), and the probability of each."""
        cells = np.argwhere(self.coverage.filled)
        weights = self.coverage.volumes()[self.coverage.filled]
        return cells, weights / weights.sum()

    def _marginal(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the edges of one label's cells and the probability between them."""
        axis = self.label_space.index(name)
        volume = np.where(self.coverage.filled, self.coverage.volumes(), 0.0)
        share = volume.sum(axis=tuple(i for i in range(volume.ndim) if i != axis))
        return self.coverage.edges[axis], share / share.sum()


#: Node spacing of the reference library (BOSZ 2017) in the low-temperature box.
REFERENCE_STEPS = {"teff": 250.0, "log_g": 0.5, "m_h": 0.25, "alpha_m": 0.25, "c_m": 0.25}


@dataclass(frozen=True)
class LatticePrior:
    """The reference work's labels (a `LatticeLike`): uniform draws snapped to library nodes on all axes but one.

    Every label is drawn uniformly between the first and the last node and moved to its nearest node, except
    on one axis, chosen at random per spectrum, that keeps its value. End nodes therefore have half the weight
    of interior ones, and 1 - 1/P of the values of each label lie exactly on nodes.

    Source: `sample_mode=random, interp_param=random` of pfsspec (Subaru-PFS-GA), as the reference work ran it.
    """

    label_space: LabelSpace
    steps: tuple[float, ...]

    def __post_init__(self) -> None:
        space = self.label_space
        if len(self.steps) != len(space):
            raise ConfigError(f"lattice prior: expected {len(space)} steps, got {len(self.steps)}")
        for name, low, high, step in zip(space.names, space.low, space.high, self.steps, strict=True):
            cells = (high - low) / step
            if step <= 0 or abs(cells - round(cells)) > 1e-6:
                raise ConfigError(
                    f"lattice prior: {name} from {low:g} to {high:g} is not a whole number of steps {step:g}"
                )

    @classmethod
    def reference(cls, label_space: LabelSpace) -> LatticePrior:
        """Return the lattice with the node spacing of the reference library."""
        if unknown := [name for name in label_space.names if name not in REFERENCE_STEPS]:
            raise ConfigError(
                f"prior: the reference work's lattice has no label '{unknown[0]}'; choose 'uniform' for this library"
            )
        return cls(label_space, tuple(REFERENCE_STEPS[name] for name in label_space.names))

    def nodes(self, name: str) -> np.ndarray:
        """Return the node values of one label, increasing."""
        i = self.label_space.index(name)
        low, high, step = self.label_space.low[i], self.label_space.high[i], self.steps[i]
        return low + step * np.arange(round((high - low) / step) + 1)

    def node_weights(self, name: str) -> np.ndarray:
        """Return the probability of each node given that the label is snapped; end nodes weigh half."""
        weights = np.ones(len(self.nodes(name)))
        weights[[0, -1]] = 0.5
        probability: np.ndarray = weights / weights.sum()
        return probability

    def sample(self, count: int, generator: np.random.Generator) -> Tensor:
        """Return `count` label vectors, shape (count, P), float32."""
        low, high = np.array(self.label_space.low), np.array(self.label_space.high)
        step = np.array(self.steps)
        labels = low + (high - low) * generator.random((count, len(low)))
        free = generator.integers(len(low), size=count)
        snapped = low + step * np.round((labels - low) / step)
        on_node = np.arange(len(low)) != free[:, None]
        return torch.from_numpy(np.where(on_node, snapped, labels).astype(np.float32))

    def variance(self, name: str) -> float:
        """Return the variance of the mixture: snapped with probability 1 - 1/P, else uniform."""
        i = self.label_space.index(name)
        nodes, weights = self.nodes(name), self.node_weights(name)
        snapped = float(weights @ (nodes - weights @ nodes) ** 2)
        uniform = (self.label_space.high[i] - self.label_space.low[i]) ** 2 / 12.0
        free_share = 1.0 / len(self.label_space)
        return (1 - free_share) * snapped + free_share * uniform


def make_prior(
    kind: str, label_space: LabelSpace, coverage: CoveredCells | None = None
) -> UniformPrior | CoveredPrior | LatticePrior:
    """Return the prior named `kind` ('uniform' or 'lattice') over `label_space`.

    Args:
        kind: its name.
        label_space: the box.
        coverage: the part of a box around it from which labels may be drawn; None for all of it.

    Raises:
        ConfigError: for another name, or a lattice over a box with holes.
        DomainError: if nothing of the box is covered.
    """
    if kind not in ("uniform", "lattice"):
        raise ConfigError(f"prior: '{kind}' is not known; choose 'uniform' or 'lattice'")
    covered = None if coverage is None else coverage.cut(label_space)
    if kind == "uniform":
        uniform = UniformPrior(label_space)
        return uniform if covered is None else uniform.within(covered)
    if covered is not None:
        raise ConfigError(
            f"prior: the library has no spectra around {1 - covered.share:.1%} of the box, and a lattice needs all its "
            "nodes; choose 'uniform', or narrower bounds"
        )
    return LatticePrior.reference(label_space)


#: Labels drawn from a prior that does not state its marginals, to count them: 64 bins are then known to 0.8 %.
COUNTED = 1_000_000


def interval_probabilities(prior: Prior, edges: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return how probable each label alone is to lie in each of its intervals, label -> shape (K,).

    Exact for a `MarginalPrior`. Of a `LatticeLike` each node's probability is spread evenly over its cell, which
    makes the reference work's lattice uniform in its box. Of any other prior `COUNTED` labels are drawn, with a
    fixed seed, and counted. How labels depend on each other is not asked.

    Args:
        prior: of these labels and maybe others.
        edges: label -> K + 1 increasing edges that hold the prior's box.
    """
    if isinstance(prior, MarginalPrior):
        return {name: np.diff(prior.cumulative(name, values)) for name, values in edges.items()}
    if isinstance(prior, LatticeLike):
        return {name: np.diff(_smoothed(prior, name, values)) for name, values in edges.items()}
    labels = prior.sample(COUNTED, np.random.default_rng(0)).double().numpy()
    found = {}
    for name, values in edges.items():
        # Float32 labels drawn exactly on a bound may sit a rounding error outside it; and those on the upper one
        # belong to the last interval that has a width.
        drawn = labels[:, prior.label_space.index(name)].clip(values[0], np.nextafter(values[-1], values[0]))
        found[name] = np.histogram(drawn, values)[0] / COUNTED
    return found


def _smoothed(prior: LatticeLike, name: str, values: np.ndarray) -> np.ndarray:
    """Return the cumulative of one label of a lattice whose nodes are spread over their cells."""
    nodes, free = prior.nodes(name), 1.0 / len(prior.label_space)
    cells = np.concatenate([nodes[:1], 0.5 * (nodes[1:] + nodes[:-1]), nodes[-1:]])
    share = np.concatenate([[0.0], np.cumsum(prior.node_weights(name))])
    uniform = np.clip((values - nodes[0]) / (nodes[-1] - nodes[0]), 0.0, 1.0)
    smoothed: np.ndarray = (1 - free) * np.interp(values, cells, share) + free * uniform
    return smoothed
