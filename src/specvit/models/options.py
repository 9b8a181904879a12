"""Options by name: the fields of frozen configurations, set from text or values, with helpful refusals."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from specvit.errors import ConfigError


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
