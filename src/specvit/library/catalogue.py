"""Which libraries there are on this machine: the built-in one and those in the user's cache folder."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from specvit.errors import AccessError, DataError
from specvit.library.builtin import BUILTIN_LIBRARY
from specvit.library.library_file import open_library_file
from specvit.runs.user_cache import user_cache
from specvit.spectra import WavelengthGrid

BUILTIN = "builtin"


@dataclass(frozen=True)
class LibraryEntry:
    """What a library file says of itself without reading its spectra."""

    name: str
    path: str
    spectra: int
    pixels: int
    start: float
    stop: float
    resolution: float
    labels: dict[str, tuple[float, float]]
    provenance: dict[str, Any]

    def describe(self) -> str:
        """Return one line for people."""
        labels = ", ".join(f"{name} {low:g}..{high:g}" for name, (low, high) in self.labels.items())
        window = f"{self.start:.0f}-{self.stop:.0f} Å (vacuum), R = {self.resolution:g}"
        return f"{self.spectra} spectra, {window}; {labels}"


def cache_folder() -> Path:
    """Return the user's folder of libraries, see `user_cache`."""
    return user_cache("libraries")


def known_libraries() -> tuple[list[LibraryEntry], list[str]]:
    """Return the built-in library and those in the cache folder, and what is wrong with its other files."""
    entries, problems = [describe_library(BUILTIN)], []
    for path in sorted(cache_folder().glob("*.h5")):
        try:
            entries.append(describe_library(str(path)))
        except DataError as error:
            problems.append(str(error))
    return entries, problems


def library_path(name: str, stack: ExitStack) -> Path:
    """Return the file of a library: 'builtin', a name in the cache folder, or a path.

    Raises:
        DataError: if there is no such library; lists where it was looked for.
    """
    if name == BUILTIN:
        packaged = resources.files("specvit.library") / "data" / BUILTIN_LIBRARY
        return stack.enter_context(resources.as_file(packaged))
    for path in (Path(name), cache_folder() / name, cache_folder() / f"{name}.h5"):
        if path.is_file():
            return path
    raise DataError(
        f"library '{name}': no such file, and not in {cache_folder()}; see `specvit library list`, "
        "or make one with `specvit library import`"
    )


def describe_library(name: str) -> LibraryEntry:
    """Return the entry of a library by name or path, without decoding its spectra.

    Raises:
        AccessError: if the system does not give the file.
        DataError: if it does not exist or is not a specvit library.
    """
    with ExitStack() as stack:
        path = library_path(name, stack)
        try:
            with open_library_file(path) as (file, record):
                space = record.label_space
                spectra = file.dataset("labels", (None, len(space))).shape[0]
                grid = WavelengthGrid(file.array("wavelength", (None,)), record.medium)
        except AccessError:
            raise
        except DataError as error:
            # A library made long ago, or a file that is none: said in the words of the command that lists them.
            raise DataError(f"{path}: not a specvit library ({_without(path, error)})") from error
    extent = zip(space.names, zip(space.low, space.high, strict=True), strict=True)
    return LibraryEntry(
        name if name == BUILTIN else path.stem,
        name if name == BUILTIN else str(path),
        spectra,
        grid.size,
        grid.start,
        grid.stop,
        record.resolution,
        dict(extent),
        record.provenance,
    )


def _without(path: Path, error: DataError) -> str:
    return str(error).removeprefix(f"{path}: ")
