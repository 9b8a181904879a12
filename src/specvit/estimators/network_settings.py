"""What a saved network says of itself beside its weights, typed, and the network read back from both."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Generic, TypeVar

import torch
from pydantic import Field

from specvit.documents import Section
from specvit.documents.records import read_record
from specvit.errors import ConfigError, DataError, SpecvitError
from specvit.estimators.architectures import ARCHITECTURES
from specvit.estimators.recalibration import Recalibration
from specvit.models.bundle import StoredBundle
from specvit.models.heads import HeadKind, Scaling
from specvit.models.manifest import MEND
from specvit.models.network import FrontConfig, NetworkConfig, SpectrumNetwork, build_network
from specvit.models.refinement import Refinement, RefinementConfig
from specvit.models.reweighting import Reweighting
from specvit.runs import TrueBins
from specvit.spectra import LabelSpace

#: Largest number in a description: far above any width, and small enough to count up to.
LARGEST = 100_000
#: Numbers that count layers; each has at least one tensor.
LAYERS = ("depth", "stages", "blocks", "readout")

Backbone = TypeVar("Backbone")


class ConfigEntry(Section, Generic[Backbone]):
    """A `NetworkConfig` whose kind of backbone is known."""

    model: str
    backbone: Backbone
    front: FrontConfig
    head: HeadKind
    scaling: Scaling
    bins: int
    shortcut: bool
    #: Absent in those that were saved before heads could be several, or have a peak.
    experts: int = 1
    peak: bool = False


class NetworkSettings(Section):
    """The settings of a saved network."""

    name: str = Field(min_length=1)
    network: dict[str, Any]
    labels: LabelSpace
    parameters: int
    normalisation: str
    metrics: dict[str, dict[str, float]]
    by_true_label: dict[str, TrueBins] = Field(
        default={},
        description="label -> scores in bins of its true value; absent from those saved before they were",
    )
    fingerprint: list[list[float]]
    #: Absent in those that are as they were trained.
    reweighted: bool = False
    #: Absent in those without one.
    refinement: RefinementConfig | None = None
    recalibration: Recalibration | None = None


def read_network(bundle: StoredBundle) -> tuple[NetworkSettings, SpectrumNetwork]:
    """Return the settings of a saved network, and the network with its weights.

    Raises:
        DataError: if description, labels and tensors do not go together; names the entry or the tensor.
    """
    settings = bundle.settings_as(NetworkSettings)
    config = _config(bundle, settings.network)
    _check_labels(bundle, settings.labels)
    if unknown := set(settings.by_true_label) - set(settings.labels.names):
        raise bundle.problem(f"settings: by_true_label: {sorted(unknown)[0]} is none of its labels")
    # Weights drawn here are overwritten at once; the caller's random numbers stay where they were.
    with torch.random.fork_rng(devices=[]):
        # Laid out without memory first: a damaged number must not be able to ask for all there is.
        with torch.device("meta"):
            outline = _built(bundle, config, settings)
        state = bundle.tensors.state_of(outline)
        network = _built(bundle, config, settings)
    scaling = network.head.labels_scaling
    stated = {"shift": scaling.shift.clone(), "width": scaling.width.clone()}
    network.load_state_dict(state)
    # Labels scaled by other bounds would give wrong estimates without any error.
    for name, value in stated.items():
        if not torch.allclose(getattr(scaling, name), value, rtol=1e-5):
            raise bundle.problem(f"settings: labels are not those whose '{name}' is among its tensors")
    reweighting = network.head.reweighting
    if reweighting is not None and reweighting.problem is not None:
        raise bundle.problem(f"tensors of the new prior: {reweighting.problem}")
    if network.parameter_count != settings.parameters:
        raise bundle.problem(
            f"settings: {settings.parameters} parameters, its tensors {network.parameter_count}"
        )
    return settings, network


def read_config(entries: dict[str, Any], where: str) -> NetworkConfig:
    """Return the description that `NetworkConfig.to_dict` gave, after JSON.

    Raises:
        DataError: if an entry is missing, unknown or of another type; names `where` and the entry.
    """
    model = entries.get("model")
    if not isinstance(model, str) or model not in ARCHITECTURES:
        raise DataError(f"{where}: model is {model!r}, expected {' or '.join(ARCHITECTURES)}; {MEND}")
    pattern, front = ARCHITECTURES[model].pattern, entries.get("front")
    if isinstance(front, dict):
        # Before fronts said of which kind they are, that followed from the kind of network.
        entries = {**entries, "front": {"kind": pattern.front.kind, **front}}
    entry: ConfigEntry[Any] = read_record(_entry_of(type(pattern.backbone)), entries, where, MEND)
    try:
        return NetworkConfig(**dict(entry))
    except ConfigError as error:
        raise DataError(f"{where}: {error}; {MEND}") from error


def _entry_of(backbone: Any) -> type[ConfigEntry[Any]]:
    return ConfigEntry[backbone]


def _config(bundle: StoredBundle, entries: dict[str, Any]) -> NetworkConfig:
    """Return the description of a network, with numbers a network can have."""
    config = read_config(entries, f"{bundle.where}: settings: network")
    tensors = len(bundle.tensors.names)
    for name, value in {
        **asdict(config.backbone),
        **asdict(config.front),
        "bins": config.bins,
        "experts": config.experts,
    }.items():
        most = tensors if name in LAYERS else LARGEST
        if isinstance(value, int | float) and not 0 <= value <= most:
            raise bundle.problem(f"settings: network: {name} is {value}, expected 0 to {most}")
    return config


def _check_labels(bundle: StoredBundle, labels: LabelSpace) -> None:
    """Raise DataError unless the labels of the network are a part of those of its training."""
    bundle.check_labels(labels.names, labels.names, {})
    if bundle.origin.label_space.select(labels.names) != labels:
        raise bundle.problem("settings: labels have other units or bounds than the label space")


def _built(bundle: StoredBundle, config: NetworkConfig, settings: NetworkSettings) -> SpectrumNetwork:
    try:
        network = build_network(config, bundle.origin.grid, settings.labels)
        if settings.refinement is not None:
            sizes = network.front.pixels, len(settings.labels)
            network.refinement = Refinement(settings.refinement, *sizes)
    except (SpecvitError, ArithmeticError, ValueError, RuntimeError) as error:
        # The layers of PyTorch have their own ways to refuse sizes that do not go together.
        raise bundle.problem(f"settings: network: there is none of this description ({error})") from error
    if settings.reweighted:
        network.head.reweighting = Reweighting(network.head.bin_edges)
    return network
