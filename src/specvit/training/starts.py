"""Where a training starts: the front end fitted to a sample, and first layers that already know the spectra.

A network drawn at random has to find out which pixels matter, from noise; what the library says about that is
known beforehand. Starts are initial values only: every weight they set is trained on.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from specvit.errors import ConfigError, DataError
from specvit.models.conditioning import Conditioning
from specvit.models.linear import Ridge
from specvit.models.mlp import MLP
from specvit.models.network import SpectrumNetwork
from specvit.models.subspace import SubspaceProjection
from specvit.models.swin import Swin
from specvit.models.vit import SpecViT
from specvit.models.vit.tokens import LocalMap, Tokeniser
from specvit.spectra import MemorySource, SpectraBatch, SpectraSource, take

#: Training spectra from which the front end is fitted: normalisation per pixel, or the subspace.
SAMPLE = 1024

#: Training spectra for a start from Ridge.
RIDGE_SPECTRA = 20_000

#: Components a first layer starts with, at most; further features start at random.
COMPONENTS = 48

#: Of the mean spectrum: lengths of directions that are those of rounding errors. The 48th of the built-in library is
#: a hundred times as long.
ROUNDING = 1e-6


def prepare(network: SpectrumNetwork, train: SpectraSource, validation: SpectraBatch, start: str) -> str:
    """Fit the front end and set the first weights as `start` says (see `Recipe`); return the start used."""
    sample = take(train, SAMPLE)
    fit_front(network, sample)
    if start == "auto":
        possible = filter_layer(network) is not None and sample.truth is not None
        start = "components" if possible else "random"
    if start == "components":
        start_from_components(network, sample)
    elif start == "ridge":
        start_from_ridge(network, take(train, RIDGE_SPECTRA), validation, train)
    return start


def fit_front(network: SpectrumNetwork, sample: SpectraBatch) -> None:
    """Fit the front end of a network to a sample of training spectra.

    Raises:
        DataError: if a subspace network is given spectra without their noise-free flux.
    """
    if isinstance(network.front, Conditioning):
        network.front.fit(sample.flux, sample.sigma)
    elif sample.truth is None:
        raise DataError(
            "subspace: needs noise-free spectra to find the subspace; train on the fly, or store the "
            "training set with `specvit simulate --truth`"
        )
    else:
        network.front.fit(sample.truth.flux, sample.flux, sample.sigma)


@torch.no_grad()
def start_from_ridge(
    network: SpectrumNetwork, sample: SpectraBatch, validation: SpectraBatch, like: SpectraSource
) -> None:
    """Set the linear shortcut to a Ridge fit on `sample`, its penalty chosen on `validation`.

    Raises:
        ConfigError: if the network has no shortcut on pixels.
    """
    shortcut, front = network.body.shortcut, network.front
    if shortcut is None or not isinstance(front, Conditioning) or front.chunk or not front.view.is_plain:
        raise ConfigError(
            "start: only a network with shortcut = true on unchunked pixels without a view can start from Ridge"
        )
    names = network.label_space.names
    train = MemorySource(sample, like.grid, like.label_space)
    ridge = Ridge(names).fit(train, MemorySource(validation, like.grid, like.label_space))
    scaling = network.head.labels_scaling
    width = scaling.width.double()
    # Ridge reads flux, the shortcut (flux - centre) / scale; Ridge gives labels, the shortcut scaled ones.
    offset = ridge.mean_labels + (front.centre.double() - ridge.mean_flux) @ ridge.weights
    shortcut.weight.copy_((front.scale.double()[:, None] * ridge.weights / width).T)
    shortcut.bias.copy_((offset - scaling.shift.double()) / width)


def filter_layer(network: SpectrumNetwork) -> nn.Linear | Tokeniser | None:
    """Return the layer that can start from components: it has weights per pixel; None if there is none."""
    backbone, front = network.body.backbone, network.front
    if not isinstance(front, Conditioning) or front.chunk or not front.view.keeps_level:
        return None
    if isinstance(backbone, MLP):
        return cast(nn.Linear, backbone.layers[0])
    if isinstance(backbone, SpecViT) and backbone.config.tokeniser == "local":
        return cast(Tokeniser, backbone.tokenisers[0])
    if isinstance(backbone, Swin) and backbone.readout is not None and backbone.tokeniser.form == "local":
        return backbone.tokeniser
    return None


@torch.no_grad()
def start_from_components(network: SpectrumNetwork, sample: SpectraBatch) -> None:
    """Make the first features of the first layer the matched filters of the principal components.

    In an MLP each is one hidden unit; in a SpecViT or Swin with local patches the sum over tokens is the
    filter, so that mean pooling hands the readout what a subspace network starts from.

    Raises:
        ConfigError: if the network has no such layer, or the sample no noise-free spectra.
    """
    layer, front = filter_layer(network), network.front
    if layer is None or sample.truth is None or not isinstance(front, Conditioning):
        raise ConfigError(
            "start: components need an mlp, a vit with tokeniser = local, or a swin with that and a readout, "
            "on unchunked pixels, and spectra whose noise-free flux is known"
        )
    filters = matched_filters(front, sample)
    if isinstance(layer, Tokeniser):
        _set_local_filters(layer, filters, len(front.channels))
    else:
        count = min(len(filters), 3 * layer.out_features // 4)
        layer.weight[:count] = 0.0
        layer.weight[:count, : front.pixels] = filters[:count]
        layer.bias[:count] = 0.0


def matched_filters(front: Conditioning, sample: SpectraBatch) -> Tensor:
    """Return filters on the flux channel whose outputs over the sample have unit variance, shape (K, L).

    K is no more than the directions in which the noise-free spectra differ; 0 where all are the same.
    """
    count = min(COMPONENTS, len(sample) // 4)
    clean, flux, sigma = sample.known_truth().flux, sample.flux, sample.sigma
    if not front.view.is_plain:
        seen = front.viewed(flux, sigma)
        clean, flux = (clean - seen.offset) / seen.divisor, seen.flux
        sigma = seen.sigma.masked_fill(~seen.usable, torch.inf)
    space = SubspaceProjection(front.pixels, count, 1).fit(clean, flux, sigma)
    # What is left of directions that a small library does not have is rounding, or nothing.
    unit = space.reference.sqrt()
    basis = space.basis[(unit * space.basis).norm(dim=1) > ROUNDING * (unit * space.mean).norm()]
    # Weighed by 1/σ² as a matched filter is; `scale` undoes the division of the flux channel.
    filters = space.reference * basis * front.scale
    values = front(sample.flux, sample.sigma).values[:, 0] @ filters.T
    # PyTorch warns of the deviation of nothing.
    scaled: Tensor = filters / values.std(dim=0)[:, None] if len(filters) else filters
    return scaled


def _set_local_filters(tokeniser: Tokeniser, filters: Tensor, channels: int) -> None:
    """Set the first features of each patch to its part of the filters, scaled for the mean over tokens."""
    local = tokeniser.map
    assert isinstance(local, LocalMap)
    tokens, inputs, width = local.weight.shape
    count = min(len(filters), 3 * width // 4)
    beyond = tokeniser.pixels + tokeniser.padding - filters.shape[1]
    padded = nn.functional.pad(filters[:count], (0, beyond))
    patches = padded.unfold(1, tokeniser.patch, tokeniser.stride)
    # Overlapping patches share their pixels.
    covered = torch.zeros(padded.shape[1])
    for token in range(tokens):
        covered[token * tokeniser.stride :][: tokeniser.patch] += 1
    share = covered.unfold(0, tokeniser.patch, tokeniser.stride)
    local.weight[..., :count] = 0.0
    local.weight[:, : inputs // channels, :count] = (tokens * patches / share).permute(1, 2, 0)
