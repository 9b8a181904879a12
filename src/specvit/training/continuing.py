"""A training that starts from a trained network, for other spectra: more stars, a wider range of S/N, real ones.

What the first network has learned is taken over as it is, pixel for pixel; only how noise levels are scaled follows the
new spectra, and the layers that read them are rewritten so that nothing is lost.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import torch
from torch import nn

from specvit.errors import ConfigError
from specvit.models.cnn import CNN
from specvit.models.conditioning import STRANGEST
from specvit.models.mlp import MLP
from specvit.models.network import FrontConfig, NetworkConfig, SpectrumNetwork
from specvit.models.swin import Swin
from specvit.models.vit import SpecViT
from specvit.spectra import SpectraBatch, WavelengthGrid


def check_same_kind(
    network: SpectrumNetwork, first: SpectrumNetwork, grid: WavelengthGrid, theirs: WavelengthGrid
) -> None:
    """Raise ConfigError unless `network` can take over the weights of `first`; says what differs.

    Bins may be a multiple of the first network's: each is then divided. A peak of the head may be new (see `grown`).
    """
    theirs.check_matches(grid, "the network to start from")
    if first.label_space != network.label_space:
        raise ConfigError(
            f"start: the network to start from estimates {_box(first)}, this training {_box(network)}; "
            "train for the same labels and bounds"
        )
    ours, other = _used(network.config), _used(first.config)
    found, wanted = _options(ours), _options(grown(replace(other, bins=ours.bins, peak=ours.peak), other))
    differing = [name for name in dict.fromkeys([*found, *wanted]) if found.get(name) != wanted.get(name)]
    if differing:
        theirs_say, ours_say = (
            ", ".join(f"{name} = {options.get(name)}" for name in differing) for options in (wanted, found)
        )
        raise ConfigError(
            f"start: the network to start from has {theirs_say}, this training {ours_say}; give the same model, size "
            "and options (bins may be a multiple, peak new)"
        )


def grown(config: NetworkConfig, first: NetworkConfig) -> NetworkConfig:
    """Return the description of a network that goes on from one described as `first`.

    What the first has beyond the description asked for is kept: its peak, and its bins where these do not come to a
    multiple.
    """
    bins = config.bins if config.bins % first.bins == 0 else first.bins
    return replace(config, bins=bins, peak=config.peak or first.peak)


#: Levels of noise, in units of their spread in the first training, up to which its layers are carried on along a line:
#: twice where they are bounded, which stars of S/N 300 keep to after a training on those of 2 to 30.
FAR = 2 * STRANGEST

#: ln precision, in scaled labels, of a peak that is new.
FLAT = -5.0


@torch.no_grad()
def start_from_network(network: SpectrumNetwork, first: SpectrumNetwork, sample: SpectraBatch) -> None:
    """Give a network the weights of another of its kind (see `check_same_kind`).

    Args:
        network: in place; its front end need not be fitted.
        first: the trained one, on the CPU.
        sample: training spectra, which set the scale of the noise levels.
    """
    network.front.load_state_dict(first.front.state_dict())
    weights = first.body.state_dict()
    split = network.config.bins // first.config.bins
    if network.config.head == "ordinal" and split > 1:
        _divide_bins(weights, network, split)
    if first.head.peak is None:
        weights.update(_flat_peak(network))
    network.body.load_state_dict(weights)
    front, old_centre, old_scale = network.front, first.front.level_centre, first.front.level_scale
    front.fit_level(sample.flux, sample.sigma)
    # Far beyond what the first was trained on its layers read the bound; they would be carried on along a straight
    # line into nonsense, as where a spectrograph leaves pixels dead. There levels stay what they were.
    beyond = (front.level_centre - old_centre).abs() + 2 * front.level_scale > FAR * old_scale
    front.level_centre.copy_(torch.where(beyond, old_centre, front.level_centre))
    front.level_scale.copy_(torch.where(beyond, old_scale, front.level_scale))
    scale, shift = front.level_scale / old_scale, (front.level_centre - old_centre) / old_scale
    # level before = scale · level now + shift, so a layer W level + b becomes (W scale) level + (b + W shift).
    for layer, first_column in _level_layers(network):
        columns = layer.weight[:, first_column:]
        layer.bias.add_(columns @ shift)
        columns.mul_(scale)


def _used(config: NetworkConfig) -> NetworkConfig:
    """Return the description with the options of the other kind of front end at their defaults."""
    front, plain = config.front, FrontConfig()
    if front.kind == "pixels":
        front = replace(front, components=plain.components, patterns=plain.patterns)
    else:
        front = replace(front, channels=plain.channels, chunk=plain.chunk)
    return replace(config, front=front)


def _options(config: NetworkConfig) -> dict[str, Any]:
    """Return the options of a description, wherever they live."""
    found = asdict(config)
    return {**found.pop("backbone"), **found.pop("front"), **found}


def _divide_bins(weights: dict[str, torch.Tensor], network: SpectrumNetwork, split: int) -> None:
    """Replace the outputs of every bin by those of its parts, which have the same density."""
    labels = network.head.experts * len(network.label_space)
    for name in ("head.linear.weight", "head.linear.bias"):
        per_label = weights[name].unflatten(0, (labels, -1))
        weights[name] = per_label.repeat_interleave(split, dim=1).flatten(0, 1)
    fresh = network.body.state_dict()
    weights["head.edges"] = fresh["head.edges"]
    # The correction of stated errors is fitted after the training.
    weights.update({name: value for name, value in fresh.items() if name.startswith("head.calibration.")})


def _flat_peak(network: SpectrumNetwork) -> dict[str, torch.Tensor]:
    """Return the weights of a peak that says nothing beside what the bins say; none for a network without one."""
    peak, labels = network.head.peak, len(network.label_space)
    if peak is None:
        return {}
    weight, bias = torch.zeros_like(peak.weight), torch.zeros_like(peak.bias)
    bias[labels:] = FLAT
    return {"head.peak.weight": weight, "head.peak.bias": bias}


def _level_layers(network: SpectrumNetwork) -> list[tuple[nn.Linear, int]]:
    """Return the layers that read noise levels, each with the column at which these begin."""
    backbone, levels = network.body.backbone, network.front.shape[2]
    layers: list[tuple[nn.Linear, int]] = []
    if isinstance(backbone, MLP):
        entry = backbone.layers[0]
        assert isinstance(entry, nn.Linear)
        layers.append((entry, entry.in_features - levels))
    elif isinstance(backbone, CNN):
        layers.append((backbone.hidden, backbone.hidden.in_features - levels))
    elif isinstance(backbone, SpecViT | Swin) and backbone.level is not None:
        layers.append((backbone.level, 0))
    if network.head.sharpness is not None:
        layers.append((network.head.sharpness, 0))
    return layers


def _box(network: SpectrumNetwork) -> str:
    space = network.label_space
    return ", ".join(
        f"{n} {low:g} to {high:g}" for n, low, high in zip(space.names, space.low, space.high, strict=True)
    )
