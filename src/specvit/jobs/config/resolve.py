"""From preset, file and command line to one validated `Config`.

Precedence: `--set` on the line, then the file, then the preset, then the defaults of the sections.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from specvit.documents.toml import line_of, load_toml, parse_value
from specvit.errors import ConfigError
from specvit.jobs.config.migrate import migrate
from specvit.jobs.config.sections import Config

_PRESETS = files("specvit.jobs.config") / "presets"


def preset_names() -> tuple[str, ...]:
    """Return the names of the shipped presets."""
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in _PRESETS.iterdir()))


def resolve(
    preset: str | None = "laptop", file: Path | str | None = None, overrides: Sequence[str] = ()
) -> Config:
    """Return the configuration made of a preset, a TOML file and `section.key=value` overrides.

    Args:
        preset: name of a shipped preset, or None for the bare defaults.
        file: TOML file, or None.
        overrides: e.g. `["simulate.train=5000"]`; values are TOML, a bare word is a string.

    Raises:
        ConfigError: for an unknown preset, key or override (with the nearest known name), or a value that is
            not valid; names the key and, where there is one, file and line.
    """
    tables: dict[str, Any] = {}
    if preset is not None:
        _merge(tables, _checked(*_preset(preset)))
    if file is not None:
        _merge(tables, _checked(*load_toml(Path(file)), str(file)))
    for override in overrides:
        key, value = _split(override)
        _merge(tables, _checked(_nested(key, value), "", f"--set {override}"))
    return _validated(tables, "", "configuration")


def _preset(name: str) -> tuple[dict[str, Any], str, str]:
    if name not in preset_names():
        raise ConfigError(f"preset '{name}' is not known; choose {', '.join(preset_names())}")
    tables, text = load_toml(Path(str(_PRESETS / f"{name}.toml")))
    return tables, text, f"preset {name}"


def _checked(tables: dict[str, Any], text: str, where: str) -> dict[str, Any]:
    """Return migrated `tables` once they are valid by themselves: errors then name where they come from."""
    tables = migrate(tables, where)
    _validated(tables, text, where)
    return tables


def _validated(tables: dict[str, Any], text: str, where: str) -> Config:
    try:
        return Config.model_validate(tables)
    except ValidationError as error:
        problem = error.errors()[0]
        path = tuple(str(part) for part in problem["loc"])
        line = line_of(text, [part for part in path if not part.isdigit()])
        place = f"{where}:{line}" if line else where
        raise ConfigError(f"{'.'.join(path)}: {_explain(problem, path)} ({place})") from None


def _explain(problem: Any, path: tuple[str, ...]) -> str:
    if problem["type"] == "extra_forbidden":
        return f"unknown key{_did_you_mean(path)}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{message[0].lower()}{message[1:]}, got {problem['input']!r}"


def _did_you_mean(path: tuple[str, ...]) -> str:
    siblings = [known[-1] for known in _known_keys(Config) if known[:-1] == path[:-1]]
    if near := difflib.get_close_matches(path[-1], siblings, n=1, cutoff=0.6):
        return f"; did you mean '{near[0]}'?"
    # The key may be right and the section wrong: `train = 5000` at the top of a file.
    if elsewhere := [".".join(known) for known in _known_keys(Config) if known[-1] == path[-1]]:
        return f"; did you mean '{elsewhere[0]}'?"
    return f"; known here: {', '.join(siblings)}" if siblings else ""


def _known_keys(model: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        yield (*prefix, name)
        for candidate in (field.annotation, *get_args(field.annotation)):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                yield from _known_keys(candidate, (*prefix, name))


def _split(override: str) -> tuple[list[str], Any]:
    key, equals, value = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"--set {override}: expected section.key=value, e.g. --set simulate.train=5000")
    return parts, parse_value(value.strip())


def _nested(key: Sequence[str], value: Any) -> dict[str, Any]:
    for part in reversed(key):
        value = {part: value}
    return value


def _merge(base: dict[str, Any], update: dict[str, Any]) -> None:
    for key, value in update.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = value
