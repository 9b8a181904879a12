"""Older configuration files, brought to today's format by one numbered function per step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from specvit.errors import ConfigError
from specvit.jobs.config.sections import CONFIG_VERSION

Tables = dict[str, Any]

#: version -> function that turns the tables of that version into those of the next.
MIGRATIONS: dict[int, Callable[[Tables], Tables]] = {}


def migrate(
    tables: Tables,
    where: str,
    current: int = CONFIG_VERSION,
    migrations: Mapping[int, Callable[[Tables], Tables]] = MIGRATIONS,
) -> Tables:
    """Return `tables` in the format `current`; a file that states no version is taken to be current.

    Raises:
        ConfigError: if the stated version is not a whole number, newer than this specvit, or older than the
            oldest format it can still read; names the file.
    """
    version = tables.get("config_version", current)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ConfigError(
            f"{where}: config_version: expected a whole number from 1 to {current}, got {version!r}"
        )
    if version > current:
        raise ConfigError(
            f"{where}: written for config_version {version}, this specvit reads up to {current}: "
            "pip install --upgrade specvit"
        )
    for step in range(version, current):
        if step not in migrations:
            raise ConfigError(
                f"{where}: config_version {version} is no longer read; rewrite it from a preset"
            )
        tables = migrations[step](tables)
    return {**tables, "config_version": current}
