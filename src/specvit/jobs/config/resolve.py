"""From preset, file and command line to one validated `Config`; the reading itself is that of `documents`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from specvit.documents import DocumentKind, Format
from specvit.documents.versions import Migration, Tables
from specvit.jobs.config.sections import CONFIG_VERSION, Config


def _options_by_name(tables: Tables) -> Tables:
    """Version 1 had a section for the one estimator whose options could be set; now each has one."""
    models = dict(tables.get("models", {}))
    trees = models.pop("lightgbm", None)
    if trees is not None:
        models["options"] = {**models.get("options", {}), "lightgbm": trees}
    return {**tables, "models": models} if models else tables


#: version -> function that turns the tables of that version into those of the next.
MIGRATIONS: dict[int, Migration] = {1: _options_by_name}

CONFIGURATION = DocumentKind(
    noun="preset",
    model=Config,
    presets=Path(str(files("specvit.jobs.config") / "presets")),
    format=Format("config_version", CONFIG_VERSION, MIGRATIONS),
    example="simulate.train=5000",
)


def resolve(
    preset: str | None = "laptop", file: Path | str | None = None, overrides: Sequence[str] = ()
) -> Config:
    """Return the configuration made of a preset, a TOML file and `section.key=value` overrides.

    Precedence: overrides, then the file and what it `extends`, then the preset, then the defaults of the
    sections. A file that extends a preset stands on that one, not on `preset`.

    Args:
        preset: name of a shipped preset, or None for the bare defaults.
        file: TOML file, or None.
        overrides: e.g. `["simulate.train=5000"]`; values are TOML, a bare word is a string.

    Raises:
        ConfigError: for an unknown preset, key or override (with the nearest known name), or a value that is
            not valid; names the key and, where there is one, file and line.
    """
    return CONFIGURATION.read(None if file is None else Path(file), overrides, preset).value
