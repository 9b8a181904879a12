"""The gates by name, behind one face: features to weights of the components."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from specvit.documents.tensors import Tensors
from specvit.models.bundle import StoredBundle
from specvit.models.experts.options import GateKind
from specvit.models.experts.softmax_gate import SoftmaxGate
from specvit.models.experts.tree_gate import TreeGate

#: Hidden units of gates that have any.
HIDDEN = 64


class Gate(Protocol):
    """Weights of components from features."""

    def weights(self, features: Tensor) -> Tensor:
        """Return weights that sum to one, shape (B, M), float64, for features (B, F)."""


def make_gate(kind: GateKind, features: int, components: int, threads: int) -> SoftmaxGate | TreeGate:
    """Return an unfitted gate."""
    if kind == "lightgbm":
        return TreeGate(features, components, threads)
    return SoftmaxGate(features, components, HIDDEN if kind.endswith("mlp") else 0)


def gate_arrays(gate: SoftmaxGate | TreeGate) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the arrays and the texts a gate is stored as."""
    if isinstance(gate, TreeGate):
        return {}, gate.texts()
    return dict(gate.state_dict()), {}


def read_gate(gate: SoftmaxGate | TreeGate, bundle: StoredBundle, tensors: Tensors) -> SoftmaxGate | TreeGate:
    """Return a gate with what was stored of it; DataError for what does not fit."""
    return gate.read(bundle) if isinstance(gate, TreeGate) else gate.read(tensors)
