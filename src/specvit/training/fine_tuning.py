"""What of a trained network is trained further, and how fast: frozen parts, and rates that fall towards the input.

Layers nearer to the input say what is common to all spectra, those nearer to the output what a task wants of them.
Source: Howard & Ruder 2018, ACL (arXiv:1801.06146), rates that fall by layer.
"""

from __future__ import annotations

from torch import nn

from specvit.errors import ConfigError
from specvit.models.cnn import CNN
from specvit.models.mlp import MLP
from specvit.models.network import Body, SpectrumNetwork
from specvit.models.swin import Swin
from specvit.models.vit import SpecViT


def stages_of(body: Body) -> list[list[nn.Module]]:
    """Return the trainable parts of a body from the input to the head, the layers of each step together.

    Parameters that belong to no module of these (positions, tokens of their own) count with the first.
    """
    backbone = body.backbone
    last: list[nn.Module] = [body.head, *([body.shortcut] if body.shortcut is not None else [])]
    if isinstance(backbone, SpecViT):
        first = [backbone.tokenisers, *([backbone.level] if backbone.level is not None else [])]
        *blocks, final = backbone.blocks
        return [first, *([block] for block in blocks), [final, backbone.norm], [backbone.readout], last]
    if isinstance(backbone, Swin):
        *stages, final = backbone.stages
        readout: list[nn.Module] = [backbone.readout] if backbone.readout is not None else []
        first = [backbone.tokeniser, backbone.level]
        return [first, *([stage] for stage in stages), [final, backbone.norm], readout, last]
    if isinstance(backbone, CNN):
        return [*([layer] for layer in backbone.stages), [backbone.norm, backbone.hidden], last]
    if isinstance(backbone, MLP):
        return [*([layer] for layer in backbone.layers if list(layer.parameters())), last]
    raise ConfigError(f"frozen, layer_decay: not known of a {type(backbone).__name__}")


def freeze(network: SpectrumNetwork, frozen: str) -> None:
    """Fix weights of a network for the training that follows.

    Args:
        network: in place.
        frozen: "none"; "encoder" fixes all that comes before the pooled features are read: readout layers and head learn
            alone (of an MLP or CNN, its last layer and the head); "all-but-last" leaves the last block free too.
    """
    if frozen == "none":
        return
    stages = stages_of(network.body)
    # The readout, or the last layer before the head, and with it the last block if that is wanted.
    free = stages[-2:] if frozen == "encoder" else stages[-3:]
    network.body.requires_grad_(False)
    for stage in free:
        for module in stage:
            module.requires_grad_(True)


def rate_factors(body: nn.Module, decay: float) -> dict[int, float]:
    """Return the factor on the rate of every parameter by `id`: 1 at the head, times `decay` for each step before it."""
    own = body if isinstance(body, Body) else next(m for m in body.modules() if isinstance(m, Body))
    stages = stages_of(own)
    lowest = decay ** (len(stages) - 1)
    factors = {id(parameter): lowest for parameter in own.parameters()}
    for step, stage in enumerate(reversed(stages)):
        for module in stage:
            factors |= {id(parameter): decay**step for parameter in module.parameters()}
    # What is trained beside the body, as a map to a teacher's features, learns at the full rate.
    return {id(parameter): 1.0 for parameter in body.parameters()} | factors
