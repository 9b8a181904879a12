"""TOML as specvit reads and writes it. Reading is `tomllib`; writing covers what a configuration holds."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from specvit.errors import ConfigError

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def dump_toml(values: Mapping[str, Any]) -> str:
    """Return nested tables of strings, numbers, booleans and lists as TOML; None values are left out.

    Raises:
        ConfigError: for a value of another type; names the key.
    """
    return "\n\n".join(_tables(values, ())) + "\n"


def load_toml(path: Path) -> tuple[dict[str, Any], str]:
    """Return the tables of a TOML file and its text.

    Raises:
        ConfigError: if the file cannot be read or is not TOML; names the file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text), text
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a UTF-8 text file") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def parse_value(text: str) -> Any:
    """Return `text` read as a TOML value, or `text` itself where it is none (a bare word is a string)."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def line_of(text: str, key: Sequence[str]) -> int | None:
    """Return the line of the TOML `text`, from 1, on which `key` (table names, then the key) is set."""
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?$", line):
            table = _split_key(header[1])
            found = table
        elif entry := re.match(r"\s*([A-Za-z0-9_.\"'-]+)\s*=", line):
            found = table + _split_key(entry[1])
        else:
            continue
        if found[: len(key)] == tuple(key):
            return number
    return None


def _split_key(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _tables(values: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    plain = {k: v for k, v in values.items() if v is not None and not isinstance(v, Mapping)}
    nested = {k: v for k, v in values.items() if isinstance(v, Mapping)}
    lines = [f"{_key(k)} = {_value(v, (*path, k))}" for k, v in plain.items()]
    if path and (lines or not nested):
        lines.insert(0, f"[{'.'.join(_key(part) for part in path)}]")
    blocks = ["\n".join(lines)] if lines else []
    for k, v in nested.items():
        blocks += _tables(v, (*path, k))
    return blocks


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    # JSON and TOML basic strings share their escapes, except that TOML also escapes DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _value(value: Any, path: tuple[str, ...]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Sequence):
        return f"[{', '.join(_value(item, path) for item in value)}]"
    raise ConfigError(f"{'.'.join(path)}: cannot be written to TOML: {type(value).__name__}")
