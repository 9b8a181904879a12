"""What reads labels off vectors: Ridge, boosted trees, small networks, each with its size chosen by held-out rows.

Rows are in memory. Knows vectors, neither spectra nor networks; the fits are those of mixtures of experts, with one
expert for all rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from specvit.errors import DataError
from specvit.models.bundle import StoredBundle
from specvit.models.experts.fitters import PATIENCE, TREES
from specvit.models.experts.linear_experts import HeldOut, LinearExperts
from specvit.models.experts.network_experts import NetworkExperts, fit_networks
from specvit.models.experts.pools import RidgePath
from specvit.models.experts.row_experts import Experts, TreeExperts, fit_trees
from specvit.models.linear import DEFAULT_ALPHAS
from specvit.models.moments import Pool

ReadoutKind = Literal["ridge", "lightgbm", "mlp"]

#: The one that tells what is there linearly.
LINEAR: ReadoutKind = "ridge"

#: What is tried: leaves per tree, with at most this many trees, and hidden layers of this many units.
LEAVES, ROUNDS = (4, 15), 600
DEPTHS, WIDTH = (1, 2, 3), 128


@dataclass(frozen=True)
class Rows:
    """Vectors and their labels.

    Args:
        values: shape (N, F).
        labels: shape (N, P), float64.
    """

    values: Tensor
    labels: Tensor

    @property
    def held(self) -> HeldOut:
        """The same as rows of one component."""
        return HeldOut(self.values, self.labels, torch.zeros(len(self.values), dtype=torch.long))


@dataclass(frozen=True, eq=False)
class Readout:
    """A fitted readout.

    Args:
        kind: of it.
        expert: the model of all rows.
        choice: what held-out rows chose; "depth" of a network is part of its form.
    """

    kind: ReadoutKind
    expert: Experts
    choice: dict[str, Any]

    def __call__(self, values: Tensor) -> Tensor:
        """Return estimates (B, P), float64, for vectors (B, F)."""
        return self.expert(values)[:, 0]

    @classmethod
    def read(
        cls, bundle: StoredBundle, kind: ReadoutKind, choice: dict[str, Any], shape: tuple[int, int]
    ) -> Readout:
        """Return a stored readout of P labels and F inputs; DataError for what does not fit."""
        labels, inputs = shape
        part = bundle.tensors.part(STORED)
        part.sizes |= {"M": 1, "D": inputs, "P": labels}
        axes = (1, labels, inputs)
        expert: Experts
        if kind == "ridge":
            expert = LinearExperts.read(part)
        elif kind == "lightgbm":
            expert = TreeExperts.read(bundle, part, axes, threads=0)
        else:
            depth = choice.get("depth")
            if depth not in DEPTHS:
                raise bundle.problem(f"settings: depth is {depth!r}, expected one of {DEPTHS}")
            expert = NetworkExperts.read(part, axes, WIDTH, shared=False, depth=depth)
        part.finish()
        return cls(kind, expert, choice)

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the arrays by the names they are stored under."""
        return {STORED + name: values for name, values in self.expert.to_tensors().items()}


#: What the arrays of a readout are called among those of a saved estimator.
STORED = "readout."


def fit_readout(kind: ReadoutKind, train: Rows, held: Rows, seed: int = 0, threads: int = 0) -> Readout:
    """Return the readout of a kind with the least error on held-out rows, relative to the spread of each label.

    Args:
        kind: of it.
        train: fitted on.
        held: by which penalty, size and length are chosen.
        seed, threads: of trees and networks.

    Raises:
        DataError: for vectors that are not finite, or a constant label.
        MissingExtra, RunError: if LightGBM cannot be loaded.
    """
    for rows in (train, held):
        if not bool(rows.values.isfinite().all()):
            raise DataError(
                "readout: a vector holds values that are not finite; look at the layer they are from"
            )
    spread = held.labels.var(dim=0)
    if bool((spread == 0).any()):
        raise DataError("readout: a label is constant over the held-out rows; take others, or more")
    best, least = None, torch.inf
    for expert, choice in _candidates(kind, train, held, seed, threads):
        error = float(((expert(held.values)[:, 0] - held.labels).square().mean(dim=0) / spread).mean())
        if best is None or error < least:
            best, least = Readout(kind, expert, choice), error
    assert best is not None
    return best


def _candidates(
    kind: ReadoutKind, train: Rows, held: Rows, seed: int, threads: int
) -> Iterator[tuple[Experts, dict[str, Any]]]:
    if kind == "ridge":
        yield _ridge(train, held)
        return
    nowhere = train.held.bins
    if kind == "lightgbm":
        for leaves in LEAVES:
            settings = {**TREES, "num_leaves": leaves, "seed": seed, "num_threads": threads}
            trees = fit_trees(settings, ROUNDS, PATIENCE, bins=0, threads=threads)
            expert = trees(train.values.float(), train.labels, nowhere, [], held.held)
            yield expert, {"leaves": leaves, "rounds": expert.facts["all"]}
        return
    for depth in DEPTHS:
        network = fit_networks(0, WIDTH, shared=False, seed=seed, depth=depth)
        yield network(train.values, train.labels, nowhere, [], held.held), {"depth": depth}


def _ridge(train: Rows, held: Rows) -> tuple[LinearExperts, dict[str, Any]]:
    values, labels = train.values.double(), train.labels
    pool = Pool(values.mean(dim=0), labels.mean(dim=0))
    pool.add(values, labels)
    path = RidgePath.of(pool, standardise=True)
    errors = path.squared_errors(held.values.double(), held.labels, DEFAULT_ALPHAS)
    alphas = [DEFAULT_ALPHAS[k] for k in errors.argmin(dim=0).tolist()]
    weights = path.weights(alphas)
    return LinearExperts(weights[None], path.mean[None], path.mean_labels[None]), {"alpha": alphas}
