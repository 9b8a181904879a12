"""Reading an instrument file: finding it, inheritance by `extends`, messages that name file, line and key.

The keys themselves are in `schema`; the tables it names are loaded by `tables`.
"""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from specvit.documents.toml import line_of, load_toml
from specvit.errors import ConfigError
from specvit.instrument.schema import (
    ApertureSection,
    GaussianLsf,
    InstrumentDescription,
    Nodes,
    ObscurationSection,
    ProfileLsf,
    Range,
)

#: Replaced as a whole by a file that extends another: merging keys would mix two ways of saying one thing.
WHOLE = ("grid", "lsf", "tables", "band")

#: Parts of pydantic's locations that name a member of a union, not a key of the file.
UNION_TAGS = ("number", "name", "nodes", "aperture_table", "gaussian", "profile")


class _File(NamedTuple):
    path: Path
    text: str


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
        raise ConfigError(
            f"instrument '{name}' is not known; choose {', '.join(known)}, "
            f"or give the path of a .toml file of your own{_did_you_mean(str(name), known)}"
        )
    return preset_folder() / f"{name}.toml"


def read_description(path: Path) -> tuple[InstrumentDescription, Path]:
    """Return the validated description in `path`, and the folder its table file is relative to.

    A file may begin with `extends = "NAME or file.toml"`; it then states only what differs.

    Raises:
        ConfigError: if the file is not TOML, a key is unknown (with a suggestion) or a value is wrong.
    """
    raw, folder, files = _read_merged(path, ())
    try:
        return InstrumentDescription.model_validate(raw), folder
    except ValidationError as error:
        raise ConfigError(_explain(error, files)) from None


def _read_merged(path: Path, seen: tuple[Path, ...]) -> tuple[dict[str, Any], Path, list[_File]]:
    """Return the tables of `path` over those it extends, the folder of the table file, and all files read."""
    if path.resolve() in seen:
        raise ConfigError(f"extends: a file cannot extend itself ({path})")
    raw, text = load_toml(path)
    base = raw.pop("extends", None)
    if base is None:
        return raw, path.parent, [_File(path, text)]
    beside = path.parent / str(base)
    parent = beside if beside.suffix == ".toml" and beside.is_file() else find_instrument_file(str(base))
    inherited, folder, files = _read_merged(parent, (*seen, path.resolve()))
    return _merge(inherited, raw), path.parent if "tables" in raw else folder, [_File(path, text), *files]


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and key not in WHOLE:
            merged[key] = _merge(old, value)
        else:
            merged[key] = value
    return merged


def _explain(error: ValidationError, files: list[_File]) -> str:
    """Return one line for the first problem: the key, what is wrong, and where it is set."""
    problem = error.errors()[0]
    parts = [str(part) for part in problem["loc"] if not isinstance(part, int)]
    # The last part is a key even if it is spelled like a tag: `lsf.profile.profile`, `name`.
    key = [part for part in parts[:-1] if part not in UNION_TAGS] + parts[-1:]
    if parts[-1] in UNION_TAGS and len(parts) > 1 and problem["type"] not in ("missing", "extra_forbidden"):
        key = [part for part in parts if part not in UNION_TAGS]
    found = [(file, line) for file in files if (line := line_of(file.text, key))]
    place = f"{found[0][0].path.name}:{found[0][1]}" if found else files[0].path.name
    return f"{'.'.join(key) or 'file'}: {_what_is_wrong(problem, key)} ({place})"


def _what_is_wrong(problem: Any, key: list[str]) -> str:
    if problem["type"] == "extra_forbidden":
        return f"unknown key{_did_you_mean(key[-1], _known_keys(key[:-1]))}"
    if problem["type"] == "missing":
        return "is missing"
    message = problem["msg"].removeprefix("Value error, ")
    got = "" if isinstance(problem["input"], dict | BaseModel) else f", got {problem['input']!r}"
    return f"{message[0].lower()}{message[1:]}{got}"


def _did_you_mean(word: str, known: tuple[str, ...] | list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""


def _known_keys(table: list[str]) -> list[str]:
    """Return the keys allowed in the TOML table of that name."""
    fields = InstrumentDescription.model_fields
    if not table:
        return [*fields, "extends"]
    nested: dict[str, list[Any]] = {
        "lsf": [GaussianLsf, ProfileLsf],
        "aperture": [ApertureSection],
        "obscuration": [ObscurationSection],
    }
    section = fields[table[-1]].annotation if table[-1] in fields else Nodes
    models = nested.get(table[-1], [section])
    if table[0] == "conditions" and len(table) > 1:
        models = [Range]
    return [key for model in models for key in model.model_fields]
