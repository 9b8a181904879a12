"""TOML as specvit reads and writes it. Reading is `tomllib`; writing covers what a configuration holds.

What is read is plain afterwards: whole numbers of 64 bits, tables of limited depth, text that every file system
and terminal takes. Whoever uses the values need not think of documents made to break a program.
"""

from __future__ import annotations

import json
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from specvit.documents.opening import system_cause
from specvit.documents.words import one_line, shown, shown_key
from specvit.errors import AccessError, ConfigError

#: Bytes. The largest files people write, curves of thousands of nodes, have a tenth of it.
LARGEST_FILE = 1 << 20
#: Tables and lists within one another; the sections of specvit need five.
DEEPEST = 16
#: What TOML promises to hold; tomllib itself knows no limit.
LARGEST_INTEGER = 2**63 - 1

_WHOLE = f"whole numbers lie within ±{LARGEST_INTEGER}"
_NESTING = f"at most {DEEPEST} tables or lists may nest"

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
# tomllib takes a time that grows with the square of the number of parts. The words begin where a word can, so
# that the search is linear.
_ENDLESS_KEY = re.compile(
    r"""(?:(?:"[^"\n]*"|'[^'\n]*'|(?<![A-Za-z0-9_-])[A-Za-z0-9_-]+)[ \t]*\.[ \t]*){32}"""
)
_ENDLESS_NUMBER = re.compile(r"[0-9][0-9_]{1000}")


def dump_toml(values: Mapping[str, Any]) -> str:
    """Return nested tables and lists of tables of strings, numbers, booleans and lists as TOML, without None.

    Raises:
        ConfigError: for a value of another type; names the key.
    """
    return "\n\n".join(_tables(values, ())) + "\n"


def load_toml(path: Path) -> tuple[dict[str, Any], str]:
    """Return the tables of a TOML file and its text.

    Raises:
        AccessError: if the system does not give the file: forbidden, in use, out of reach.
        ConfigError: if the file is missing, is no TOML, or holds what no document means (numbers beyond 64
            bits, tables nested without end, text that cannot be shown); names the file and, if known, the line.
    """
    where = shown(path)
    text = _read_text(path, where)
    tables = _parsed(text, where)
    if problem := first_problem(tables):
        key, what = problem
        line = line_of(text, key)
        raise ConfigError(f"{shown_key(key)}: {what} ({where}{f':{line}' if line else ''})")
    return tables, text


def _parsed(text: str, where: str) -> dict[str, Any]:
    if endless := _ENDLESS_KEY.search(text):
        raise ConfigError(f"{where}:{_line_at(text, endless)}: a key of more than 32 parts; {_NESTING}")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not valid TOML: {one_line(str(error))}") from error
    except RecursionError:
        raise ConfigError(f"{where}: nested too deeply; {_NESTING}") from None
    except ValueError:
        # Beyond 4300 digits Python refuses; TOMLDecodeError, a ValueError too, is dealt with above.
        found = _ENDLESS_NUMBER.search(text)
        place = f"{where}:{_line_at(text, found)}" if found else where
        raise ConfigError(f"{place}: a number of thousands of digits; {_WHOLE}") from None


def _line_at(text: str, found: re.Match[str]) -> int:
    return text.count("\n", 0, found.start()) + 1


def parse_value(text: str) -> Any:
    """Return `text` read as a TOML value, or `text` itself where it is none (a bare word is a string).

    Raises:
        ConfigError: for a value that no document means, see `load_toml`; does not know whose it is.
    """
    try:
        tables = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        tables = {}
    except RecursionError:
        raise ConfigError(f"nested too deeply; {_NESTING}") from None
    except ValueError:
        raise ConfigError(f"a number of thousands of digits; {_WHOLE}") from None
    # A line break may begin a second entry: then the text was not one value.
    value = tables["value"] if tables.keys() == {"value"} else text
    if problem := first_problem({"value": value}):
        raise ConfigError(problem[1])
    return value


def first_problem(tables: Mapping[str, Any]) -> tuple[tuple[str, ...], str] | None:
    """Return the key of the first value that no document means, and what is wrong with it; None without one."""
    for key, value in _walk(tables):
        if len(key) > DEEPEST:
            return key[:DEEPEST], f"nested too deeply; {_NESTING}"
        names = [*key[-1:], value] if isinstance(value, str) else key[-1:]
        for text in names:
            if "\0" in text or (not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text)):
                return key, f"{shown(text)} is no text: it holds a NUL or half a character"
        if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            return key, f"{_WHOLE}, got one of {value.bit_length()} bits"
    return None


def _walk(tables: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every key and value, entries of lists under the key of their list; stops descending when too deep."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), tables)]
    while waiting:
        key, value = waiting.pop()
        if key:
            yield key, value
        if isinstance(value, Mapping):
            waiting += [((*key, name), inner) for name, inner in reversed(list(value.items()))]
        elif isinstance(value, list):
            waiting += [((*key, str(index)), inner) for index, inner in reversed(list(enumerate(value)))]


def line_of(text: str, key: Sequence[str]) -> int | None:
    """Return the line of the TOML `text`, from 1, on which `key` (table names, then the key) is set.

    Keys of inline tables count as the line of their table, entries of lists (numbers) as that of their list.
    """
    wanted = tuple(part for part in key if not part.isdigit())
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), start=1):
        if (header := _header(line)) is not None:
            table = found = header
        elif entry := re.match(r"\s*([A-Za-z0-9_.\"'-]+)\s*=", line[:1000]):
            found = table + _split_key(entry[1])
        else:
            continue
        if found[: len(wanted)] == wanted:
            return number
    return None


def _header(line: str) -> tuple[str, ...] | None:
    """Return the name of the table that `line` begins, or None."""
    name, closing, rest = line.strip().lstrip("[").partition("]")
    begins = line.lstrip().startswith("[") and closing and rest.lstrip("] \t")[:1] in ("", "#")
    return _split_key(name) if begins else None


def _split_key(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _read_text(path: Path, where: str) -> str:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a device or pipe"
            raise ConfigError(f"{where}: expected a TOML file, this is {kind}")
        with path.open("rb") as file:
            # One byte more than allowed shows that there are more.
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        said = error.strerror or str(error)
        if cause := system_cause(path, error.errno, said, "TOML file"):
            raise AccessError(f"{where}: {cause}") from error
        raise ConfigError(f"{where}: cannot be read: {said}") from error
    except ValueError as error:  # a NUL in the name
        raise ConfigError(f"{where}: cannot be the name of a file") from error
    if len(content) > LARGEST_FILE:
        raise ConfigError(
            f"{where}: larger than {LARGEST_FILE >> 20} MiB, expected a few lines of TOML; keep tables in an npz file"
        )
    try:
        # Editors on Windows begin with a byte-order mark and end lines with CRLF.
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{where}:{line}: not a UTF-8 text file; save it as UTF-8") from error


def _tables(values: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    listed = {k: v for k, v in values.items() if _is_list_of_tables(v)}
    plain = {
        k: v for k, v in values.items() if v is not None and not isinstance(v, Mapping) and k not in listed
    }
    nested = {k: v for k, v in values.items() if isinstance(v, Mapping)}
    lines = [f"{_key(k)} = {_value(v, (*path, k))}" for k, v in plain.items()]
    if path and (lines or not nested):
        lines.insert(0, f"[{'.'.join(_key(part) for part in path)}]")
    blocks = ["\n".join(lines)] if lines else []
    for k, v in nested.items():
        blocks += _tables(v, (*path, k))
    for k, tables in listed.items():
        header = f"[[{'.'.join(_key(part) for part in (*path, k))}]]"
        for table in tables:
            first, *others = _tables(table, (*path, k)) or [""]
            # The table's own lines come under the double brackets instead of its name.
            own, single = first.split("\n"), f"[{header[2:-2]}]"
            begins = own[0] == single
            blocks.append("\n".join([header, *(own[1:] if begins else [])]).rstrip())
            blocks += others if begins else [first, *others]
    return [block for block in blocks if block]


def _is_list_of_tables(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) > 0
        and all(isinstance(v, Mapping) for v in value)
    )


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    # JSON and TOML basic strings share their escapes, except that TOML also escapes DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _value(value: Any, path: tuple[str, ...]) -> str:
    # Before the numbers: a bool is an int.
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int | float):
        # The shortest text that reads back as the same float.
        return repr(value)
    if isinstance(value, Sequence):
        return f"[{', '.join(_value(item, path) for item in value)}]"
    raise ConfigError(f"{'.'.join(path)}: cannot be written to TOML: {type(value).__name__}")
