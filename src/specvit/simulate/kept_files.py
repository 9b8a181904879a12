"""The instrument and emulator files a world names, kept beside its shards.

A set of shards is then whole by itself: it can be moved, read and continued where the files it was made with are
not, and later changes of those files do not change what it says it is.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from specvit.documents import dump_toml
from specvit.documents.opening import read_bytes
from specvit.instrument.description import find_instrument_file, read_description
from specvit.runs.atomic import write_atomic
from specvit.simulate.simulator import World

#: The folder in the set's folder where they lie: nothing of the user's can be overwritten there.
KEPT = "world"


def kept_world(world: World) -> World:
    """Return the world with its files named as they are kept, relative to the set's folder."""
    return _renamed(world, lambda name: f"{KEPT}/{Path(name).name}")


def world_beside(world: World, folder: Path) -> World:
    """Return the world with the files that are kept in `folder` named by their paths: the inverse."""
    return _renamed(world, lambda name: str((folder / name).absolute()) if _is_kept(name) else name)


def keep_files(world: World, folder: Path) -> None:
    """Write the files that `world` names into `folder`, where `kept_world` expects them.

    Raises:
        ConfigError, DataError: if a file cannot be read; names it.
        RunError: if one cannot be written.
    """
    files, kept = _files(world), kept_world(world)
    if "instrument" in files:
        description, tables = _instrument(world)
        path = folder / kept.instrument
        if tables is not None:
            # The end of a name says what the file is: arrays, or an output of the PFS calculator.
            said = description["tables"]
            beside = path.with_name(path.stem + "".join(Path(said["file"]).suffixes))
            write_atomic(beside, tables)
            description["tables"] = {
                **said,
                "file": beside.name,
                "sha256": hashlib.sha256(tables).hexdigest(),
            }
        write_atomic(path, dump_toml(description))
    if "library" in files:
        write_atomic(
            folder / kept.library, read_bytes(Path(world.library), "file of an emulator", "give another file")
        )


def _files(world: World) -> dict[str, str]:
    """Return the fields of a world that name files, not what comes with specvit."""
    files = {"instrument": world.instrument} if world.instrument.endswith(".toml") else {}
    return files if world.library == "builtin" else files | {"library": world.library}


def _is_kept(name: str) -> bool:
    return Path(name).parts[:-1] == (KEPT,)


def _renamed(world: World, rename: Callable[[str], str]) -> World:
    names = {field: rename(name) for field, name in _files(world).items()}
    library, instrument = names.get("library", world.library), names.get("instrument", world.instrument)
    return dataclasses.replace(world, library=library, instrument=instrument)


def _instrument(world: World) -> tuple[dict[str, Any], bytes | None]:
    """Return the description with its `extends` resolved, and the bytes of its tables."""
    description, folder = read_description(find_instrument_file(world.instrument))
    tables = (
        None
        if description.tables is None
        else read_bytes(folder / description.tables.file, "table of the instrument", "give another file")
    )
    return description.model_dump(mode="json", exclude_unset=True), tables
