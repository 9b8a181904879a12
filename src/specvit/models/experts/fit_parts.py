"""Steps of the fit of a mixture that need no mixture: the gate, the errors of components, training spectra in two parts."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from specvit.models.experts.expert_inputs import ExpertInputs
from specvit.models.experts.gates import make_gate
from specvit.models.experts.linear_experts import LEAST_HELD
from specvit.models.experts.options import ExpertsOptions, GateKind
from specvit.models.experts.softmax_gate import SoftmaxGate
from specvit.models.experts.tree_gate import TreeGate
from specvit.models.scatter import ResidualScatter
from specvit.spectra import SpectraBatch, SpectraSource


def fit_gate(
    kind: GateKind,
    components: int,
    rows: tuple[Tensor, Tensor],
    unseen: tuple[Tensor, Tensor, Tensor] | None,
    held: tuple[Tensor, Tensor, Tensor, Tensor],
    seed: int,
    threads: int,
) -> SoftmaxGate | TreeGate:
    """Return a fitted gate of the K bins and the stars outside.

    Args:
        kind: which.
        components: K + 1.
        rows: features (N, F) and components (N,) of training spectra.
        unseen: features, estimates (n, K + 2, P) and truth (n, P) of spectra that no expert was fitted on, for a gate
            that weighs errors; else None.
        held: features, estimates, truth and components of held-out spectra.
        seed, threads: of the training.
    """
    gate = make_gate(kind, rows[0].shape[1], components, threads)
    features, estimates, truth, bins = held
    if unseen is None:
        return gate.fit_bins(*rows, features, bins, seed)
    assert isinstance(gate, SoftmaxGate)
    spread = truth.std(dim=0)

    def scaled(of: Tensor) -> Tensor:
        return (of / spread).float()

    check = (features, scaled(estimates[:, :components]), scaled(truth))
    return gate.fit_errors(unseen[0], scaled(unseen[1][:, :components]), scaled(unseen[2]), check, seed)


def component_scatters(snr: Tensor, residual: Tensor, bins: Tensor) -> list[ResidualScatter]:
    """Return the errors of every component from the held-out spectra of its bin, of few ones from all.

    Args:
        snr: observed, shape (V,).
        residual: truth less estimate of every component, the last that of all spectra, shape (V, M, P).
        bins: component of each spectrum, shape (V,).
    """
    of_all = ResidualScatter.fit(snr, residual[:, -1])
    scatters = []
    for k in range(residual.shape[1] - 1):
        inside = bins == k
        enough = int(inside.sum()) >= LEAST_HELD
        scatters.append(ResidualScatter.fit(snr[inside], residual[inside, k]) if enough else of_all)
    return [*scatters, of_all]


def split_at(source: SpectraSource, first: int, rows: int) -> Iterator[SpectraBatch]:
    """Yield all spectra in order, at most `rows` at a time, one batch of which begins at spectrum `first`."""
    for start, stop in ((0, first), (first, len(source))):
        for at in range(start, stop, rows):
            yield source.draw(at, min(at + rows, stop))


def sees_subspace(options: ExpertsOptions, inputs: ExpertInputs) -> bool:
    """Return whether the gate sees the coefficients that the experts see; pixels it does not see one by one."""
    return "subspace" in options.features and inputs.kind == "subspace"
