"""Networks in a run: those that come with specvit, saved ones, and ones trained in the run itself.

Owns which name means which, and what is checked before one is used; training is that of `specvit.training`.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

from specvit.errors import ConfigError, DataError, WavelengthRangeError
from specvit.estimators import make_estimator
from specvit.estimators.network_estimator import NetworkEstimator
from specvit.estimators.pretrained import find_bundle, pretrained_names
from specvit.jobs.config import Config
from specvit.jobs.progress import Update
from specvit.models.sizes import PRESETS
from specvit.simulate import Simulator
from specvit.training import RECIPES, endless

#: Estimators that are no networks, in the order they are offered.
CLASSICAL = ("ridge", "pca_ridge", "pls", "lightgbm", "template", "posterior")

#: Share of the progress bar for the training; the rest is for the correction of the stated errors.
TRAINING_SHARE = 0.97


def trained_here(name: str) -> tuple[str, str] | None:
    """Return (model, size) if `name` is that of a network to be trained in the run, e.g. "mlp-nano"."""
    model, dash, size = name.partition("-")
    return (model, size) if dash and size in PRESETS.get(model, {}) else None


def check_names(names: tuple[str, ...]) -> None:
    """Raise ConfigError for a name that is no estimator, or two that would share a file; names it."""
    known = [*CLASSICAL, *pretrained_names(), *(f"{m}-{s}" for m, sizes in PRESETS.items() for s in sizes)]
    for name in names:
        if name in known:
            continue
        try:
            find_bundle(name)
        except DataError:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"choose {', '.join(known)}"
            raise ConfigError(
                f"models.names: '{name}' is neither an estimator nor the folder of a saved one; {hint}"
            ) from None
    files = [slug(name) for name in names]
    for file in files:
        if files.count(file) > 1:
            raise ConfigError(f"models.names: two estimators would be called '{file}'; rename a folder")


def slug(name: str) -> str:
    """Return what files and tables call an estimator: its name, or the last part of its folder's path."""
    return Path(name).name


def unsuitable(name: str, simulator: Simulator, target: str) -> str | None:
    """Return why a saved network cannot estimate `target` of these spectra; None if it can, or is none."""
    if name in CLASSICAL or trained_here(name):
        return None
    model = load_saved(name)
    try:
        model.grid.check_matches(simulator.grid, model.name)
    except WavelengthRangeError as error:
        return str(error)
    known = model.label_space.names
    return None if target in known else f"it estimates {', '.join(known)}, not {target}"


def explained(names: list[str]) -> str | None:
    """Return the network a run explains: the first SpecViT, else the first network; None without one."""
    networks = [name for name in names if name not in CLASSICAL]
    return next(
        (name for name in networks if slug(name).startswith("vit")), networks[0] if networks else None
    )


def load_saved(name: str) -> NetworkEstimator:
    """Return a saved network by the name of one that comes with specvit, or its folder.

    Raises:
        DataError: if the folder holds something else, or was changed.
    """
    return NetworkEstimator.load(find_bundle(name))


def other_world(model: NetworkEstimator, simulator: Simulator) -> dict[str, str]:
    """Return in what the world a network was trained in differs from this one, field -> "theirs, not ours"."""
    theirs = model.origin.training.world
    if theirs is None or simulator.world is None:
        return {}
    # Through JSON, as theirs went: a bound is a list there.
    ours = json.loads(json.dumps(simulator.world.to_dict()))
    return {key: f"{theirs[key]}, not {ours[key]}" for key in ours if theirs.get(key) != ours[key]}


def train(name: str, config: Config, simulator: Simulator, folder: Path, update: Update) -> NetworkEstimator:
    """Train a network named MODEL-SIZE on spectra drawn on the fly; continues from a checkpoint in `folder`."""
    found = trained_here(name)
    assert found is not None
    model, size = found
    networks, split = config.models.networks, config.simulate
    length = {"steps": networks.steps, "minutes": 0.0} if networks.steps else {"minutes": networks.minutes}
    recipe = RECIPES[model].with_options({**length, "seed": split.seed})

    def listen(record: dict[str, Any]) -> None:
        after = record["event"] == "calibration"
        first, length = (TRAINING_SHARE, 1 - TRAINING_SHARE) if after else (0, TRAINING_SHARE)
        update(round(1000 * (first + length * record["progress"])), 1000)

    estimator = make_estimator(model, size, recipe=recipe, folder=folder, listen=listen)
    validation = simulator.source("validation", split.seed, split.validation)
    return estimator.fit(endless(simulator, split.seed), validation)
