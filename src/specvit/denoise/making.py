"""Denoisers by name: what each takes of options in words, and how a saved one is read. Trains nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from specvit.denoise.bayes import BayesDenoiser
from specvit.denoise.learned import LearnedDenoiser
from specvit.denoise.learned.config import BASIS, RECIPE, split_options
from specvit.denoise.learned.learned_denoiser import NAMES
from specvit.denoise.protocol import Denoiser
from specvit.denoise.subspace import RECIPE as SUBSPACE_RECIPE
from specvit.denoise.subspace import SubspaceDenoiser, SubspaceOptions
from specvit.denoise.wiener import WienerDenoiser, WienerOptions
from specvit.documents import Section
from specvit.documents.problems import wrong_entry
from specvit.errors import ConfigError, DataError
from specvit.instrument import ObservedEmulator
from specvit.models.bundle import load_bundle
from specvit.models.options import unknown_option
from specvit.training.engine import Listener

WIENER, SUBSPACE, BAYES = WienerDenoiser.name, SubspaceDenoiser.name, BayesDenoiser.name

#: All that are fitted on spectra, in the order they are offered.
FITTED = (SUBSPACE, *NAMES, WIENER)

#: What every job gives to all its models, and a closed form has no use for.
GIVEN_TO_ALL = ("seed",)

#: Noise-free spectra of the world of a job; ConfigError where it has none.
Observed = Callable[[], ObservedEmulator]


def make_denoiser(
    name: str,
    options: Mapping[str, Any],
    observed: Observed,
    size: str = "",
    device: str | None = None,
    folder: Path | None = None,
    listen: Listener | None = None,
) -> Denoiser:
    """Return a denoiser to be fitted.

    Args:
        name: one of `FITTED`.
        options: of the denoiser and its recipe, by name; values may be texts.
        observed: called where a denoiser works by the emulator.
        size: of a network of pixels or coefficients; "" for its own.
        device, folder, listen: of a training, see `LearnedDenoiser`.

    Raises:
        ConfigError: for an unknown name, option or value.
    """
    if name in NAMES:
        basis = name == NAMES[1]
        asked = options.get("objective", BASIS if basis else "")
        if basis and asked != BASIS:
            raise ConfigError(
                f"objective: {name} has none but '{BASIS}', got '{asked}'; leave it out, or take {NAMES[0]} for others"
            )
        if asked == BASIS and not basis:
            raise ConfigError(
                f"objective: '{BASIS}' is that of {NAMES[1]}; take that model instead of {name}"
            )
        described, recipe = split_options({**options, **({"objective": BASIS} if basis else {})}, size)
        return LearnedDenoiser(described, recipe, device, folder, listen)
    if size:
        raise ConfigError(f"--size: {name} has no sizes")
    if name == WIENER:
        return WienerDenoiser(_section(WienerOptions, name, options, GIVEN_TO_ALL)[0].components)
    if name == SUBSPACE:
        sizes, rest = _section(SubspaceOptions, name, options)
        return SubspaceDenoiser(observed(), sizes, SUBSPACE_RECIPE.with_options(rest), folder, device, listen)
    raise ConfigError(f"model: '{name}' is no denoiser; choose {', '.join(FITTED)}")


def strongest(denoiser: Denoiser) -> float:
    """Return the largest strength a denoiser may be asked for: below 1 where it was trained with less of the noise."""
    return denoiser.strongest if isinstance(denoiser, LearnedDenoiser) else 1.0


def load_denoiser(folder: Path) -> Denoiser:
    """Read whichever denoiser `folder` holds; DataError if it is none, was changed or is incomplete."""
    kinds = {WIENER: WienerDenoiser, SUBSPACE: SubspaceDenoiser, BAYES: BayesDenoiser}
    saved_as = load_bundle(folder).estimator
    kind: Any = LearnedDenoiser if saved_as in NAMES else kinds.get(saved_as)
    if kind is None:
        raise DataError(
            f"{folder}: holds '{saved_as}', which is no denoiser; choose {', '.join((*FITTED, BAYES))}"
        )
    found: Denoiser = kind.load(folder)
    return found


def _section(
    kind: type[Any], name: str, options: Mapping[str, Any], recipe: Sequence[str] = RECIPE
) -> tuple[Any, dict[str, Any]]:
    """Return the denoiser's own options as a record, and those of the recipe; ConfigError names what is neither."""
    assert issubclass(kind, Section)
    own = list(kind.model_fields)
    for key in options:
        if key not in (*own, *recipe):
            raise unknown_option(name, key, [*own, *recipe])
    try:
        # Strings are what a command line gives.
        record = kind.model_validate(
            {key: value for key, value in options.items() if key in own}, strict=False
        )
    except ValidationError as error:
        raise ConfigError(f"{name}: {wrong_entry(error)}") from None
    return record, {key: value for key, value in options.items() if key not in own}
