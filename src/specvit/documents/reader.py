"""Reading a kind of document: preset or file, what it extends, overrides, and validation against its model.

A kind is stated once (`DocumentKind`): its model, its presets and its format. Precedence: overrides, then the
file, then what it extends, then a base preset, then the defaults of the model.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from specvit.documents.problems import explain, look_up, true_for_a_number
from specvit.documents.toml import DEEPEST, first_problem, line_of, load_toml, parse_value
from specvit.documents.versions import Format, Tables
from specvit.documents.words import did_you_mean, one_line, shown, shown_key
from specvit.errors import ConfigError

#: Files that extend one another; a longer chain is a mistake, or meant to exhaust.
LONGEST_CHAIN = 16
EXTENDS = "extends"

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Layer:
    """What one file or one override says.

    Args:
        tables: its entries, in today's format.
        where: what messages call it.
        text: of the file, to find lines in.
        path: the file, or None for an override.
    """

    tables: Tables
    where: str
    text: str = ""
    path: Path | None = None

    def place_of(self, key: Sequence[str]) -> str:
        """Return where `key` is set, with its line, or that of the table around it, if that is found."""
        lines = (line_of(self.text, key[:end]) for end in range(len(key), 0, -1))
        line = next((line for line in lines if line), None)
        return f"{self.where}:{line}" if line else self.where

    def sets(self, key: Sequence[str]) -> bool:
        """Return whether `key` has a value here."""
        return look_up(self.tables, key)[0]


@dataclass(frozen=True)
class Document(Generic[Model]):
    """A validated document.

    Args:
        value: the model's instance.
        layers: what it was made of, the uppermost first.
    """

    value: Model
    layers: tuple[Layer, ...]

    def folder_of(self, *key: str) -> Path | None:
        """Return the folder of the uppermost file that sets `key`; None if none does."""
        return next((layer.path.parent for layer in self.layers if layer.path and layer.sets(key)), None)


@dataclass(frozen=True)
class DocumentKind(Generic[Model]):
    """One kind of document.

    Args:
        noun: what messages call one with a name, e.g. "instrument".
        model: what its tables must be.
        presets: folder of those that ship with specvit.
        format: its version, and how older ones are read.
        whole: tables a file that extends another replaces as a whole, not key by key.
        example: an override, for messages.
    """

    noun: str
    model: type[Model]
    presets: Path
    format: Format
    whole: tuple[str, ...] = ()
    example: str = "section.key=value"

    def names(self) -> tuple[str, ...]:
        """Return the names of the presets."""
        return tuple(sorted(path.stem for path in self.presets.glob("*.toml")))

    def preset(self, name: str, hint: str = "") -> Path:
        """Return the file of a preset; ConfigError with the nearest name if there is none."""
        if name not in self.names():
            raise ConfigError(
                f"{self.noun} {shown(name)} is not known; choose {', '.join(self.names())}{hint}"
                f"{did_you_mean(name, self.names())}"
            )
        return self.presets / f"{name}.toml"

    def find(self, name: str | Path) -> Path:
        """Return the file of a preset's name or of the path of a .toml file.

        Raises:
            ConfigError: if there is no such preset or file.
        """
        path = Path(name)
        if path.suffix != ".toml":
            return self.preset(str(name), ", or give the path of a .toml file of your own")
        if not _exists(path):
            raise ConfigError(f"{self.noun} file {shown(path)} does not exist")
        return path

    def read(
        self, file: Path | None, overrides: Sequence[str] = (), base: str | None = None
    ) -> Document[Model]:
        """Return the document made of a file, what it extends, and `key.sub=value` overrides.

        Args:
            file: a TOML file, or None for the base alone.
            overrides: values are TOML, a bare word is a string.
            base: the preset that lies below a file which extends no preset; None for the model's defaults.

        Raises:
            ConfigError: for a file that cannot be read, an unknown key (with the nearest known one) or a value
                that is not valid; names the key and, where there is one, file and line.
        """
        below = [] if base is None else self._chain(self.preset(base))
        files = [] if file is None else self._chain(file)
        if not files or not self._is_preset(files[-1]):
            files += below
        # The last override wins.
        said = [self._override(text) for text in overrides][::-1]
        tables: Tables = {}
        for layer in reversed(files):
            tables = _merge(tables, layer.tables, self.whole)
        for layer in reversed(said):
            tables = _merge(tables, layer.tables, ())
        layers = (*said, *files)
        return Document(self._validated(tables, layers), layers)

    def _chain(self, file: Path) -> list[Layer]:
        """Return the layers of a file and all it extends, the uppermost first."""
        layers: list[Layer] = []
        seen: list[str] = []
        following: Path | None = file
        while following is not None:
            path, following = following, None
            tables, text = load_toml(path)
            where = f"{self.noun} {path.stem}" if path.parent == self.presets else shown(path)
            layer = Layer(tables, where, text, path)
            # By the file itself: links and `..` must not hide a circle.
            seen.append(os.path.realpath(path))
            if EXTENDS in tables:
                following = self._extended(layer, seen)
                del tables[EXTENDS]
            migrated = self.format.migrate(tables, layer.place_of([self.format.key]))
            layers.append(Layer(migrated, where, text, path))
        return layers

    def _extended(self, layer: Layer, seen: Sequence[str]) -> Path:
        """Return the file that `layer` extends."""
        assert layer.path is not None
        base, place = layer.tables[EXTENDS], layer.place_of([EXTENDS])
        if not isinstance(base, str):
            raise ConfigError(
                f"extends: expected the name of a preset or the path of a .toml file, got {shown(base)} ({place})"
            )
        # Beside the file that says so, not where the command was given.
        beside = layer.path.parent / base
        try:
            path = beside if beside.suffix == ".toml" and _exists(beside) else self.find(base)
        except ConfigError as error:
            raise ConfigError(f"extends: {error} ({place})") from None
        if os.path.realpath(path) in seen:
            raise ConfigError(f"extends: a file cannot extend itself, nor one that extends it ({place})")
        if len(seen) >= LONGEST_CHAIN:
            raise ConfigError(f"extends: more than {LONGEST_CHAIN} files upon one another ({place})")
        return path

    def _is_preset(self, layer: Layer) -> bool:
        return layer.path is not None and layer.path.parent == self.presets

    def _override(self, text: str) -> Layer:
        where = f"--set {one_line(text) if len(text) <= 200 else shown(text)}"
        name, equals, value_text = text.partition("=")
        parts = name.strip().split(".")
        if not equals or not all(parts) or len(parts) > DEEPEST:
            raise ConfigError(f"{where}: expected section.key=value, e.g. --set {self.example}")
        try:
            value: Any = parse_value(value_text.strip())
        except ConfigError as error:
            raise ConfigError(f"{shown_key(parts)}: {error} ({where})") from None
        for part in reversed(parts):
            value = {part: value}
        if problem := first_problem(value):
            raise ConfigError(f"{shown_key(problem[0])}: {problem[1]} ({where})")
        return Layer(self.format.migrate(value, where), where)

    def _validated(self, tables: Tables, layers: Sequence[Layer]) -> Model:
        def place_of(key: tuple[str, ...]) -> str:
            # What is missing is set nowhere; the table it belongs in may be.
            while key and not look_up(tables, key)[0]:
                key = key[:-1]
            layer = next((layer for layer in layers if layer.sets(key)), None)
            return layer.place_of(key) if layer else "defaults"

        if (key := true_for_a_number(self.model, tables)) is not None:
            raise ConfigError(f"{shown_key(key)}: expected a number, got true or false ({place_of(key)})")
        try:
            return self.model.model_validate(tables)
        except ValidationError as error:
            raise ConfigError(explain(error, self.model, tables, place_of, (EXTENDS,))) from None


def _exists(path: Path) -> bool:
    """Return whether `path` is there; a name no file can have is not."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _merge(base: Tables, changes: Tables, whole: Sequence[str]) -> Tables:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and key not in whole:
            merged[key] = _merge(old, value, whole)
        else:
            merged[key] = value
    return merged
