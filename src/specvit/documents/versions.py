"""Documents of an older format, brought to today's by one numbered function per step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from specvit.documents.words import shown
from specvit.errors import ConfigError

Tables = dict[str, Any]
Migration = Callable[[Tables], Tables]


@dataclass(frozen=True)
class Format:
    """The format of a kind of document.

    Args:
        key: the entry that states the version, e.g. "config_version".
        current: the version this specvit writes.
        migrations: version -> function that turns the tables of that version into those of the next.
    """

    key: str
    current: int
    migrations: Mapping[int, Migration] = field(default_factory=dict)

    def migrate(self, tables: Tables, where: str) -> Tables:
        """Return `tables` in the current format; a document that states no version is taken to be current.

        Raises:
            ConfigError: if the stated version is not a whole number, newer than this specvit, or older than the
                oldest format it can still read; names the entry and `where`.
        """
        if self.key not in tables:
            return tables
        version = tables[self.key]
        # A bool is an int.
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise ConfigError(
                f"{self.key}: expected a whole number from 1 to {self.current}, got {shown(version)} ({where})"
            )
        if version > self.current:
            raise ConfigError(
                f"{self.key}: this specvit reads up to {self.current}, got {version}: pip install --upgrade specvit "
                f"({where})"
            )
        for step in range(version, self.current):
            if step not in self.migrations:
                raise ConfigError(
                    f"{self.key}: version {version} is no longer read; rewrite the file from a preset ({where})"
                )
            tables = self.migrations[step](tables)
        return {**tables, self.key: self.current}
