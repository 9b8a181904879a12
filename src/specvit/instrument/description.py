"""Reading an instrument file: finding it, inheritance by `extends`, and messages that name file and key.

The keys themselves are in `schema`; the tables it names are loaded by `tables`.
"""

from __future__ import annotations

import difflib
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from specvit.errors import ConfigError
from specvit.instrument.schema import (
    ApertureSection,
    GaussianLsf,
    InstrumentDescription,
    ObscurationSection,
    ProfileLsf,
    Range,
)


def preset_folder() -> Path:
    """Return the folder of the instruments that ship with specvit."""
    return Path(str(resources.files("specvit.instrument") / "presets"))


def instrument_names() -> tuple[str, ...]:
    """Return the names of the instruments that ship with specvit."""
    return tuple(sorted(path.stem for path in preset_folder().glob("*.toml")))


def find_instrument_file(name: str | Path) -> Path:
    """Return the TOML of a preset name or a path.

    Raises:
        ConfigError: if there is no such preset or file.
    """
    path = Path(name)
    if path.suffix == ".toml":
        if not path.is_file():
            raise ConfigError(f"instrument file {path} does not exist")
        return path
    known = instrument_names()
    if str(name) not in known:
        close = difflib.get_close_matches(str(name), known, 1, 0.5)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise ConfigError(
            f"unknown instrument '{name}': {hint}known are {', '.join(known)}; "
            "for an instrument of your own give the path of its .toml file"
        )
    return preset_folder() / f"{name}.toml"


def read_description(path: Path) -> tuple[InstrumentDescription, Path]:
    """Return the validated description in `path`, and the folder its table file is relative to.

    A file may begin with `extends = "NAME or file.toml"`; it then states only what differs.

    Raises:
        ConfigError: if the file is not readable TOML, a key is unknown (with a suggestion) or a value is wrong.
    """
    raw, folder = _read_merged(path, ())
    try:
        return InstrumentDescription.model_validate(raw), folder
    except ValidationError as error:
        raise ConfigError(f"{path.name}: {_explain(error)}") from error


def _read_merged(path: Path, seen: tuple[Path, ...]) -> tuple[dict[str, Any], Path]:
    if path.resolve() in seen:
        raise ConfigError(f"{path.name}: extends itself")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path.name}: not a readable TOML file: {error}") from error
    base = raw.pop("extends", None)
    if base is None:
        return raw, path.parent
    local = path.parent / str(base)
    parent = local if local.suffix == ".toml" and local.is_file() else find_instrument_file(str(base))
    inherited, folder = _read_merged(parent, (*seen, path.resolve()))
    return _merge(inherited, raw), path.parent if "tables" in raw else folder


#: Replaced as a whole by a file that extends another: merging keys would mix two ways of saying one thing.
WHOLE = ("grid", "lsf", "tables", "band")


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merge(old, value) if both and key not in WHOLE else value
    return merged


#: Parts of pydantic's locations that are no keys of the file.
UNION_TAGS = ("number", "nodes", "name", "aperture_table")


def _explain(error: ValidationError) -> str:
    """Return one line for the first problem: the key, what is wrong, and the nearest known key."""
    problem = error.errors()[0]
    place = [str(part) for part in problem["loc"] if part not in UNION_TAGS]
    if place[:1] == ["lsf"]:
        del place[1:2]
    key = ".".join(place) or "file"
    if problem["type"] == "extra_forbidden":
        close = difflib.get_close_matches(place[-1], _known_keys(place[:-1]), 1, 0.5)
        return f"unknown key '{key}'" + (f": did you mean '{close[0]}'?" if close else "")
    if problem["type"] == "missing":
        return f"'{key}' is missing"
    message = problem["msg"].removeprefix("Value error, ")
    got = problem["input"]
    return f"{key}: {message}" + ("" if isinstance(got, dict | BaseModel) else f"; got {got!r}")


def _known_keys(place: list[str]) -> list[str]:
    """Return the keys allowed in the TOML table at `place`."""
    if not place:
        return list(InstrumentDescription.model_fields)
    sections = {
        "lsf": [GaussianLsf, ProfileLsf],
        "aperture": [ApertureSection],
        "obscuration": [ObscurationSection],
        **{name: [field.annotation] for name, field in InstrumentDescription.model_fields.items() if name != "lsf"},
    }
    if place[0] == "conditions" and len(place) > 1:
        return list(Range.model_fields)
    return [key for section in sections.get(place[-1], []) for key in getattr(section, "model_fields", {})]
