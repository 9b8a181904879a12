"""Networks that can be fitted: an architecture, a recipe and the engine in one `Estimator`.

Owns what comes before the first step: the front end fitted to a sample, the linear shortcut started from
Ridge.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from specvit.errors import DataError
from specvit.models.conditioning import Conditioning
from specvit.models.linear import Ridge
from specvit.models.network import NetworkConfig, SpectrumNetwork, build_network
from specvit.models.network_estimator import NetworkEstimator
from specvit.models.options import unknown_option
from specvit.models.sizes import network_config
from specvit.simulate.simulator import SimulatedSource
from specvit.spectra import MemorySource, SpectraBatch, SpectraSource, collect
from specvit.training.distributed import join_world
from specvit.training.engine import Listener, Trainer
from specvit.training.feeds import Share, make_feed
from specvit.training.recipe import RECIPES, Recipe

#: Training spectra from which the front end is fitted: normalisation per pixel, or the subspace.
SAMPLE = 1024


@dataclass(frozen=True)
class NetworkFitter:
    """Trains one architecture by one recipe; see `NetworkEstimator` for the contract.

    Args:
        config: the architecture.
        recipe: the training.
        labels: labels to estimate; None means all of the training set.
        ridge: spectra for a Ridge fit from which the linear shortcut starts; 0 starts it at zero.
        device: "cpu", "cuda", ...; None takes a GPU if there is one.
        folder: where checkpoints go and are looked for.
        listen: see `Trainer`.
    """

    config: NetworkConfig
    recipe: Recipe
    labels: tuple[str, ...] | None = None
    ridge: int = 0
    device: str | None = None
    folder: Path | None = None
    listen: Listener | None = None

    def __call__(
        self, train: SpectraSource, validation: SpectraSource
    ) -> tuple[SpectrumNetwork, dict[str, Any]]:
        """Return the trained network, with its best weights, and the training record."""
        began = time.monotonic()
        world = join_world(self.device)
        torch.manual_seed(self.recipe.seed)
        space = train.label_space.select(self.labels) if self.labels else train.label_space
        network = build_network(self.config, train.grid, space)
        fit_front(network, take(train, SAMPLE))
        held_out = collect(validation)
        if self.ridge:
            start_from_ridge(network, take(train, self.ridge), held_out, train)
        share = Share(self.recipe.batch, world.rank, world.size)
        feed = make_feed(train, share, world.device, self.recipe.seed, self.recipe.compile)
        trainer = Trainer(
            network, feed, train.label_space, held_out, self.recipe, world, self.folder, self.listen, began
        )
        return network, trainer.run()


def make_estimator(
    model: str = "subspace",
    size: str = "small",
    *,
    labels: Sequence[str] | None = None,
    recipe: Recipe | None = None,
    options: dict[str, Any] | None = None,
    ridge: int = 0,
    device: str | None = None,
    folder: Path | None = None,
    listen: Listener | None = None,
) -> NetworkEstimator:
    """Return an estimator that `fit` trains.

    Args:
        model, size: see `models.sizes`.
        labels: labels to estimate; None means all of the training set.
        recipe: None takes the model's own from `RECIPES`.
        options: fields of the architecture to replace, e.g. {"patch": 16, "head": "ordinal"}.
        ridge, device, folder, listen: see `NetworkFitter`.

    Raises:
        ConfigError: for an unknown model, size or option.
    """
    config = network_config(model, size).with_options(options or {})
    fitter = NetworkFitter(
        config,
        recipe or RECIPES[model],
        tuple(labels) if labels else None,
        ridge,
        device,
        folder,
        listen,
    )
    return NetworkEstimator(f"{model}-{size}", fitter)


def split_options(model: str, size: str, options: dict[str, Any]) -> tuple[dict[str, Any], Recipe]:
    """Return which options are the architecture's, and the model's recipe with the others.

    Raises:
        ConfigError: for an option that neither has, with the nearest known name.
    """
    config, recipe = network_config(model, size), RECIPES[model]
    known = [*recipe.to_dict(), *config.option_names]
    for name in options:
        if name not in known:
            raise unknown_option(f"{model}-{size}", name, known)
    architecture = {name: value for name, value in options.items() if name in config.option_names}
    training = {name: value for name, value in options.items() if name not in architecture}
    return architecture, recipe.with_options(training)


def take(source: SpectraSource, count: int) -> SpectraBatch:
    """Return the first `count` spectra (or all there are), with truth if the source can give it."""
    if isinstance(source, SimulatedSource):
        return source.simulator.draw(source.split, source.seed, 0, min(count, source.count))
    parts, held = [], 0
    for batch in source.batches(min(count, 1024)):
        parts.append(batch)
        held += len(batch)
        if held >= count:
            break
    return SpectraBatch.concatenate(parts)[:count]


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
        DataError: if the network has no shortcut on pixels.
    """
    shortcut, front = network.body.shortcut, network.front
    if shortcut is None or not isinstance(front, Conditioning) or front.chunk:
        raise DataError("ridge: only a network with shortcut = true on unchunked pixels can start from Ridge")
    names = network.label_space.names
    train = MemorySource(sample, like.grid, like.label_space)
    ridge = Ridge(names).fit(train, MemorySource(validation, like.grid, like.label_space))
    scaling = network.head.labels_scaling
    width = scaling.width.double()
    # Ridge reads flux, the shortcut (flux - centre) / scale; Ridge gives labels, the shortcut scaled ones.
    offset = ridge.mean_labels + (front.centre.double() - ridge.mean_flux) @ ridge.weights
    shortcut.weight.copy_((front.scale.double()[:, None] * ridge.weights / width).T)
    shortcut.bias.copy_((offset - scaling.shift.double()) / width)
