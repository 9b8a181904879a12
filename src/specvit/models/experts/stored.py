"""What a mixture of experts is stored as, and how it is read back: every array asked for by name, type and shape."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from specvit.documents import Section
from specvit.documents.tensors import Tensors
from specvit.errors import ConfigError
from specvit.models.bundle import Bundle, StoredBundle, load_bundle
from specvit.models.calibration import Calibration
from specvit.models.experts.conditional import ConditionalExperts
from specvit.models.experts.expert_inputs import ExpertInputs
from specvit.models.experts.fit_parts import sees_subspace
from specvit.models.experts.gate_features import GateFeatures
from specvit.models.experts.gates import gate_arrays, make_gate, read_gate
from specvit.models.experts.linear_experts import LinearExperts
from specvit.models.experts.network_experts import NetworkExperts
from specvit.models.experts.options import ExpertsOptions
from specvit.models.experts.partition import Partition, check_axes, parse_partition
from specvit.models.experts.row_experts import Experts, TreeExperts
from specvit.models.heads import QUANTILES
from specvit.models.scatter import ResidualScatter

if TYPE_CHECKING:
    from specvit.models.experts.mixture_of_experts import MixtureOfExperts


class MixtureSettings(Section):
    """The settings of a saved mixture of experts."""

    names: tuple[str, ...]
    learnt: tuple[str, ...]
    asked: tuple[str, ...] | None
    options: ExpertsOptions
    partition: str
    coverage: float = Field(ge=0, le=1)
    missing: dict[int, str]
    seed: int
    threads: int = Field(ge=0)
    choice: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class StoredMixture:
    """A stored mixture, read and checked.

    Args:
        bundle: what it was read from.
        labels, seed, threads, options: with which it is made.
        parts: attribute -> fitted part.
    """

    bundle: StoredBundle
    labels: tuple[str, ...] | None
    seed: int
    threads: int
    options: ExpertsOptions
    parts: dict[str, Any]


def to_bundle(model: MixtureOfExperts) -> Bundle:
    """Return what a fitted mixture is stored as."""
    arrays, texts = gate_arrays(model.gate)
    parts: dict[str, Any] = {
        "features": model.features.to_tensors(),
        "experts": model.experts.to_tensors(),
        "gate": arrays,
        "correction": model.correction.state_dict(),
    }
    parts |= {f"scatter{k}": scatter.to_tensors() for k, scatter in enumerate(model.scatters)}
    # Copies: components may share the scatter of all spectra, and a file of tensors may not.
    tensors = {
        f"{part}.{name}": values.clone() for part, named in parts.items() for name, values in named.items()
    }
    settings = {
        **{"names": list(model.names), "learnt": list(model.learnt)},
        "asked": None if model.labels is None else list(model.labels),
        "options": model.options.model_dump(mode="json"),
        **{"partition": model.partition.text, "coverage": model.coverage},
        "missing": {str(k): reason for k, reason in model.experts.missing.items()},
        **{"seed": model.seed, "threads": model.threads, "choice": model.choice},
    }
    return Bundle(model.name, model.origin, settings, tensors, {**texts, **model.experts.texts()})


def read_mixture(folder: Path, name: str) -> StoredMixture:
    """Return the mixture in a folder.

    Raises:
        DataError: if the folder was changed, is incomplete or contradicts itself.
    """
    bundle = load_bundle(folder, name)
    settings, tensors = bundle.settings_as(MixtureSettings), bundle.tensors
    options = settings.options
    if bundle.settings["options"] != options.model_dump(mode="json"):
        raise bundle.problem("settings: options are not complete")
    names = bundle.check_labels(settings.names, settings.asked, settings.choice)
    partition = _partition(bundle, settings)
    components = len(partition) + 2
    features = _features(bundle, options)
    with bundle.naming_settings():
        inputs = ExpertInputs(options.inputs, options.rebin, bundle.origin)
    width = len(features.names) + (inputs.size if sees_subspace(options, inputs) else 0)
    gate = make_gate(options.gate, width, components - 1, settings.threads)
    part = tensors.part("gate.")
    gate = read_gate(gate, bundle, part)
    part.finish()
    experts = _experts(bundle, settings, (components, len(settings.learnt), inputs.size))
    experts.missing.update(settings.missing)
    if any(not 0 <= k < components - 1 for k in settings.missing):
        raise bundle.problem("settings: missing names a component that is not there")
    scatters = [_scatter(tensors, k, len(names)) for k in range(components)]
    calibration = Calibration(len(names), QUANTILES)
    calibration.load_state_dict(tensors.part("correction.").state_of(calibration))
    tensors.finish()
    parts = {
        **{"origin": bundle.origin, "names": names, "learnt": settings.learnt, "partition": partition},
        **{"features": features, "inputs": inputs, "gate": gate, "experts": experts, "scatters": scatters},
        **{"correction": calibration, "choice": settings.choice, "coverage": settings.coverage},
    }
    return StoredMixture(bundle, settings.asked, settings.seed, settings.threads, options, parts)


def _partition(bundle: StoredBundle, settings: MixtureSettings) -> Partition:
    with bundle.naming_settings():
        partition = parse_partition(settings.partition)
        check_axes(partition, settings.learnt, "settings")
        bundle.origin.label_space.select(settings.learnt)
        if any(axis.quantiles for axis in partition.axes):
            raise ConfigError("partition: a fitted one has edges, no quantiles")
        if not set(settings.names) <= set(settings.learnt):
            raise ConfigError("learnt: lacks a label that is estimated")
    return partition


def _features(bundle: StoredBundle, options: ExpertsOptions) -> GateFeatures:
    with bundle.naming_settings():
        features = GateFeatures(options.features, bundle.origin.grid, options.components)
    part = bundle.tensors.part("features.")
    part.sizes["L"] = bundle.origin.grid.size
    features.read(part)
    part.finish()
    return features


def _experts(bundle: StoredBundle, settings: MixtureSettings, shape: tuple[int, int, int]) -> Experts:
    part, options = bundle.tensors.part("experts."), settings.options
    part.sizes |= dict(zip("MPD", shape, strict=True))
    experts: Experts
    if options.expert == "ridge":
        experts = LinearExperts.read(part)
    elif options.expert == "conditional":
        if options.condition not in settings.learnt or shape[0] != 3:
            raise bundle.problem("settings: conditional experts need their label, and no partition")
        experts = ConditionalExperts.read(part, shape[2], settings.learnt.index(options.condition))
    elif options.expert == "lightgbm":
        experts = TreeExperts.read(bundle, part, shape, settings.threads)
    else:
        experts = NetworkExperts.read(part, shape, options.width, options.expert == "trunk")
    part.finish()
    return experts


def _scatter(tensors: Tensors, component: int, labels: int) -> ResidualScatter:
    part = tensors.part(f"scatter{component}.")
    # Bins in S/N are of each component's own number.
    part.sizes = {"P": labels}
    scatter = ResidualScatter.read(part)
    part.finish()
    return scatter
