"""The simulated world of a job: from its configuration, and how another world differs from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch

from specvit.errors import ConfigError, DataError, LabelError, SpecvitError
from specvit.estimators import Choice
from specvit.instrument import Instrument
from specvit.jobs.config import InstrumentSection, LibrarySection, StarsSection
from specvit.simulate import Simulator, World


def world_of(library: LibrarySection, instrument: InstrumentSection, stars: StarsSection) -> World:
    """Return the world that three sections of a configuration describe."""
    return World(
        library=library.name,
        instrument=instrument.name,
        prior=stars.prior,
        bounds={name: (low, high) for name, (low, high) in stars.bounds.items()},
        noise_level=stars.noise_level,
        normalisation=stars.normalisation,
    )


def build_world(world: World, bounds: str = "simulate.bounds") -> Simulator:
    """Return the simulator of a world.

    Args:
        world: which.
        bounds: what users know its bounds as.

    Raises:
        ConfigError, DataError: naming the field of the configuration, and the bound or the file, that cannot be.
    """
    try:
        return world.build()
    except LabelError as error:
        raise ConfigError(f"{bounds}: {error}") from None
    except (ConfigError, DataError) as error:
        field = _field_at_fault(world)
        raise error if field is None else type(error)(f"{field}: {error}") from None


def _field_at_fault(world: World) -> str | None:
    """Return which field of a configuration names a file that cannot be used; None if none does."""
    for field, load in (
        ("library.name", world.emulator),
        ("instrument.name", lambda: Instrument.load(world.instrument)),
    ):
        try:
            load()
        except SpecvitError:
            return field
    return None


def changed_world(world: World, changes: Mapping[str, Any]) -> World:
    """Return a world with some of its fields replaced; ConfigError names one that is unknown or wrong."""
    known = [part.name for part in fields(World)]
    for name in changes:
        if name not in known:
            raise ConfigError(f"world: '{name}' is not known of a world; choose {', '.join(known)}")
    return World.from_dict({**world.to_dict(), **changes})


def in_words(world: World) -> str:
    """Return a world as a reader is told of it."""
    boxes = "".join(f", {name} {low:g} to {high:g}" for name, (low, high) in world.bounds.items())
    return (
        f"library {world.library}, instrument {world.instrument}, prior {world.prior}{boxes}, noise level "
        f"{world.noise_level:g}"
    )


def unsuitable(choice: Choice, simulator: Simulator, target: str) -> str | None:
    """Return why a saved estimator cannot estimate `target` of these spectra; None if it can, or is fitted here."""
    if choice.is_fitted_here:
        return None
    model = choice.load()
    origin = model.origin
    if origin.grid.fingerprint != simulator.grid.fingerprint:
        return f"it is for other pixels: {origin.purpose}; these have {simulator.grid.describe()}"
    if target in model.names:
        return None
    return f"it estimates {', '.join(model.names)}, not {target}; it is for {origin.purpose}"


def differences(choice: Choice, simulator: Simulator) -> dict[str, str]:
    """Return in what the world a saved estimator was made in differs from this one, field -> "theirs, not ours".

    Empty for one that is fitted here, or whose world is not known.
    """
    if choice.is_fitted_here or simulator.world is None:
        return {}
    estimator = choice.load()
    # The stars its errors are right for: of its training, unless they were corrected for others since.
    since = getattr(estimator, "recalibration", None)
    theirs = estimator.origin.training.world if since is None else since.world
    return {} if theirs is None else world_differences(theirs, simulator)


def world_differences(theirs: Mapping[str, Any], simulator: Simulator) -> dict[str, str]:
    """Return in what a world, as a saved model states it, differs from this one, field -> "theirs, not ours"."""
    if simulator.world is None:
        return {}
    # Through JSON, as theirs went: a bound is a list there.
    ours = json.loads(json.dumps(simulator.world.to_dict()))
    wider = World.from_dict(dict(theirs)).widening
    # What a training had beside the survey's own is no difference, and some noise levels are among it.
    del ours["widening"]
    if (
        wider is not None
        and wider.noise_factor[0] <= ours["noise_level"] / theirs["noise_level"] <= wider.noise_factor[1]
    ):
        del ours["noise_level"]
    return {key: f"{theirs[key]}, not {ours[key]}" for key in ours if theirs.get(key, ours[key]) != ours[key]}


def set_threads(threads: int) -> None:
    """Use `threads` CPU threads (0: as many as PyTorch found)."""
    if threads > 0:
        torch.set_num_threads(threads)
