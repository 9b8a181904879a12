"""What is found of many stars, on disk while it is found: parts that are whole or not there, and their index.

    OUT.parts/.lock                       held by the command that writes
    OUT.parts/UNIT-PART-TOKEN.jsonl       first line: which inputs, which of their targets; then one star a line

An input is known by its key, the digest of all its results depend on: what is done is not done again, and what was
asked otherwise, or whose file has changed, is. Parts of a killed command stay; the same command goes on.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from specvit.documents.opening import access_error, read_bytes
from specvit.errors import DataError
from specvit.runs.atomic import write_atomic
from specvit.runs.locks import only_command_in

#: After these targets of an input there are none, or more; or it could not be read this time and may be another time.
State = Literal["done", "more", "again"]
#: Parts that are held while rows are put in order: inputs that were at work together lie in different ones.
OPEN_PARTS = 16


@dataclass(frozen=True)
class PartEntry:
    """Some targets of one input.

    Args:
        key: of the input.
        first: number of the first target, in the order of the file.
        count: of targets, and lines.
        state: of the input after them.
    """

    key: str
    first: int
    count: int
    state: State


@dataclass(frozen=True)
class _Place:
    path: Path
    line: int
    entry: PartEntry


class PartsFolder:
    """The parts of one table.

    Args:
        folder: made when the first part is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder while the enclosed lines write; RunError if another process does."""
        with only_command_in(
            self.folder, "another process is at work for this table; wait for it or choose another --out"
        ):
            self._clear_partial()
            yield

    def next_unit(self) -> int:
        """Return a number that no part has yet: of two parts with the same targets the higher is the later."""
        return 1 + max((int(path.name[:8]) for path in self._paths()), default=-1)

    def write(
        self, unit: int, part: int, entries: Sequence[PartEntry], stars: Sequence[dict[str, Any]]
    ) -> None:
        """Write one part, whole or not at all; `stars` has one entry per target of `entries`, ready for JSON."""
        head = [[entry.key, entry.first, entry.count, entry.state] for entry in entries]
        lines = [json.dumps({"entries": head}), *(json.dumps(star) for star in stars)]
        # A worker of a killed command may still be writing; its parts have other names.
        name = f"{unit:08d}-{part:06d}-{secrets.token_hex(4)}.jsonl"
        write_atomic(self.folder / name, "\n".join(lines) + "\n")

    def index(self) -> PartsIndex:
        """Return what is there.

        Raises:
            DataError: for a part that was damaged; names it.
        """
        places: dict[str, list[_Place]] = {}
        for path in self._paths():
            line = 1
            for entry in _entries(path):
                places.setdefault(entry.key, []).append(_Place(path, line, entry))
                line += entry.count
        return PartsIndex(places)

    def remove(self) -> None:
        """Remove the parts: the table holds what they hold."""
        for path in (*self._paths(), self.folder / ".lock"):
            path.unlink(missing_ok=True)
        self._clear_partial()
        try:
            self.folder.rmdir()
        except OSError:  # somebody put a file there
            return

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.jsonl"))

    def _clear_partial(self) -> None:
        for leftover in self.folder.glob(".*.partial"):
            leftover.unlink(missing_ok=True)


class PartsIndex:
    """Which targets of which inputs lie where, as it was when it was made."""

    def __init__(self, places: dict[str, list[_Place]]) -> None:
        self._places = places

    def done(self, key: str) -> tuple[int, bool]:
        """Return how many targets of an input need not be done again, and whether these are all."""
        chain = self._chain(key)
        return sum(place.entry.count for place in chain), bool(chain) and chain[-1].entry.state == "done"

    def stars(self, keys: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yield what is kept of inputs, in their order and that of their targets."""
        read = lru_cache(OPEN_PARTS)(_lines)
        for key in keys:
            for place in self._chain(key) or self._places.get(key, [])[-1:]:
                lines = read(place.path)
                for line in lines[place.line : place.line + place.entry.count]:
                    star: dict[str, Any] = json.loads(line)
                    yield star

    def _chain(self, key: str) -> list[_Place]:
        """Return the places of the targets 0, 1, ... without a gap, the latest of each."""
        starts = {
            place.entry.first: place for place in self._places.get(key, ()) if place.entry.state != "again"
        }
        chain: list[_Place] = []
        at = 0
        while (place := starts.get(at)) is not None:
            chain.append(place)
            at += place.entry.count
            if place.entry.state == "done" or not place.entry.count:
                break
        return chain


def _lines(path: Path) -> list[str]:
    try:
        return read_bytes(path, "part of a table of stars", MEND).decode().splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read ({error}); {MEND}") from error


MEND = "move it away, and the same command does its stars again"


def _entries(path: Path) -> list[PartEntry]:
    try:
        with path.open(encoding="utf-8") as stream:
            entries = [PartEntry(*values) for values in json.loads(stream.readline())["entries"]]
        if not all(
            isinstance(one.key, str)
            and one.state in ("done", "more", "again")
            and one.first >= 0
            and one.count >= 0
            for one in entries
        ):
            raise ValueError("entries that are none")
    except OSError as error:
        raise access_error(path, error, "part of a table of stars") from error
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: is no part of a table of stars; {MEND}") from error
    return entries
