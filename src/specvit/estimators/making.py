"""Networks made by name: an estimator that `fit` trains, and the recipe of a name with options replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from specvit.estimators.architectures import architecture_of
from specvit.estimators.network_estimator import NetworkEstimator
from specvit.estimators.network_fitter import NetworkFitter
from specvit.estimators.spec import Listener
from specvit.models.inputs import label_names
from specvit.training.recipe import Recipe


def make_estimator(
    model: str = "subspace",
    size: str = "",
    *,
    labels: Sequence[str] | None = None,
    recipe: Recipe | None = None,
    options: Mapping[str, Any] | None = None,
    device: str | None = None,
    folder: Path | None = None,
    listen: Listener | None = None,
) -> NetworkEstimator:
    """Return an estimator that `fit` trains.

    Args:
        model: kind of network, see `known_names`.
        size: of it; "" takes the one that learns most in five minutes on two cores.
        labels: labels to estimate; None means all of the training set.
        recipe: None takes the network's own.
        options: fields of the architecture to replace, e.g. {"patch": 16, "head": "ordinal"}.
        device, folder, listen: see `NetworkFitter`.

    Raises:
        ConfigError: for an unknown kind, size or option.
        LabelError: for a string instead of names.
    """
    architecture = architecture_of(model)
    size = size or architecture.default_size
    config = architecture.size(size).with_options(dict(options or {}))
    wanted = label_names(labels, model) if labels else None
    fitter = NetworkFitter(config, recipe or architecture.recipe, wanted, device, folder, listen)
    return NetworkEstimator(f"{model}-{size}", fitter)


def split_options(model: str, size: str, options: Mapping[str, Any]) -> tuple[dict[str, Any], Recipe]:
    """Return which options are the architecture's, and the network's recipe with the others.

    Raises:
        ConfigError: for an option that neither has, or a value that neither takes; names the nearest.
    """
    architecture = architecture_of(model)
    return architecture.split_options(size or architecture.default_size, options)
