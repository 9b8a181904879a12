"""Options by name: the fields of frozen configurations, set from text or values, with helpful refusals."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from specvit.errors import ConfigError

#: Smallest and largest value that can be meant, by option; a name means the same in every network.
BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("width", "readout_width", "channels"), (1, 65_536)),
    **dict.fromkeys(("patch", "segments", "kernel", "reach"), (1, 1_000_000)),
    **dict.fromkeys(("stride", "coarse_patch", "chunk"), (0, 1_000_000)),
    **dict.fromkeys(("depth", "readout"), (0, 1000)),
    **dict.fromkeys(("blocks", "heads", "experts", "dilation"), (1, 1000)),
    **dict.fromkeys(("stages", "scales"), (1, 32)),
    "window": (2, 1_000_000),
    "components": (1, 100_000),
    "patterns": (1, 10_000),
    "bins": (2, 10_000),
    "linear": (0, 100_000),
    "steps_of_sampler": (2, 100_000),
    "ratio": (0.01, 1000),
    # All features dropped leave nothing to learn from.
    "dropout": (0, 0.99),
    **dict.fromkeys(("noisiest", "low", "high"), (0, 1)),
}


def check_bounds(config: Any) -> None:
    """Raise ConfigError if a numeric field of a frozen configuration is outside `BOUNDS`; names it."""
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name not in BOUNDS or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        low, high = BOUNDS[field.name]
        # In this form a NaN is refused too.
        if not low <= value <= high:
            raise ConfigError(f"{field.name}: expected {low:g} to {high:,.10g}, got {value:g}")


def as_type_of(current: Any, name: str, value: Any) -> Any:
    """Return `value`, which may be text from a command line, as the type of the option's current value.

    Raises:
        ConfigError: if it cannot be read as that type; names the option.
    """
    kind = type(current)
    try:
        if kind is tuple:
            items = value.split(",") if isinstance(value, str) else value
            return tuple(type(current[0])(item) for item in items)
        if kind is bool and isinstance(value, str):
            # bool("false") is True.
            return {"true": True, "false": False}[value.lower()]
        return kind(value)
    except (KeyError, TypeError, ValueError):
        raise ConfigError(f"{name}: expected a {kind.__name__} such as {current!r}, got '{value}'") from None


def unknown_option(what: str, name: str, known: Iterable[str]) -> ConfigError:
    """Return the error for an option nobody has, with the nearest that somebody has."""
    near = difflib.get_close_matches(name, list(known), 1)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(sorted(known))}"
    return ConfigError(f"{what}: unknown option '{name}'; {hint}")


def split_by_owner(
    what: str, options: Mapping[str, Any], ours: Sequence[str], theirs: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return which options are among `ours`, and the others, which must be among `theirs`.

    Raises:
        ConfigError: for an option that is in neither; names the nearest known one.
    """
    for name in options:
        if name not in (*ours, *theirs):
            raise unknown_option(what, name, [*theirs, *ours])
    own = {name: value for name, value in options.items() if name in ours}
    return own, {name: value for name, value in options.items() if name not in own}
