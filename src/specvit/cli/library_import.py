"""`specvit library import`: files of other libraries to one library of specvit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from specvit.cli.library_options import (
    Json,
    LimitOption,
    Out,
    Resolution,
    Start,
    Stop,
    Workers,
    check_at_least_one,
    check_out,
    parse_limits,
)
from specvit.cli.progress import RichProgress
from specvit.cli.screen import Screen
from specvit.cli.terminal import say, show, show_json

#: Kind of library -> the options, beyond those of all, that its importer takes.
KINDS = {
    "bosz2017": ("source_resolution",),
    "bosz2024": ("atmosphere", "microturbulence", "source_resolution"),
    "phoenix": (),
    "marcs": ("atmosphere", "microturbulence"),
    "castelli": (),
    "pfsspec": ("source_resolution",),
}


def import_library(
    kind: Annotated[str, typer.Argument(help="bosz2017, bosz2024, phoenix, marcs, castelli or pfsspec.")],
    source: Annotated[Path, typer.Argument(help="Folder of the files, or the pfsspec HDF5 file.")],
    out: Out,
    start: Start = 7000.0,
    stop: Stop = 8950.0,
    resolution: Resolution = 20_000.0,
    limit: LimitOption = None,
    workers: Workers = 1,
    atmosphere: Annotated[
        str | None, typer.Option(help="bosz2024: keep only mp, ms, ap (commas); marcs: p or s.")
    ] = None,
    microturbulence: Annotated[
        float | None, typer.Option(help="bosz2024, marcs: keep only this, km/s.")
    ] = None,
    source_resolution: Annotated[
        float | None,
        typer.Option(
            help="pfsspec: resolution of its spectra, which the file does not say; bosz: keep only files of this one."
        ),
    ] = None,
    components: Annotated[
        int | None, typer.Option(help="Compress to this many principal components, errors below 5e-4.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Turn files of another library into one specvit library, at lower resolution on a log-wavelength grid.

    Examples:

        specvit library import bosz2017 downloads/bosz --out bosz.h5 --limit teff=3750:6000 --workers 2

        specvit library import pfsspec spectra.h5 --source-resolution 50000 --out grid.h5
    """
    from specvit.errors import ConfigError
    from specvit.library import importers

    if kind not in KINDS:
        raise ConfigError(f"'{kind}' is not a kind of library; choose from {', '.join(KINDS)}")
    given: dict[str, Any] = {
        "atmosphere": atmosphere,
        "microturbulence": microturbulence,
        "source_resolution": source_resolution,
    }
    options = {name: value for name, value in given.items() if value is not None}
    if foreign := [name for name in options if name not in KINDS[kind]]:
        raise ConfigError(f"--{foreign[0].replace('_', '-')}: says nothing of {kind} files; leave it out")
    if kind == "pfsspec" and source_resolution is None:
        raise ConfigError("pfsspec grids do not say their resolution; give --source-resolution")
    window = importers.LibraryWindow(start, stop, resolution)
    read = getattr(importers, f"import_{kind}")
    limits = parse_limits(limit)
    check_at_least_one(workers=workers, components=components)
    check_out(out)
    with RichProgress(Screen(stderr=True)) as bars, bars.task("import") as advance:
        library = read(source, window=window, limits=limits, workers=workers, progress=advance, **options)
    library.save(out, components)
    for reason, count in library.provenance["left_out"].items():
        say(f"left out: {count} {reason}")
    _report_library(out, json_output)


def _report_library(out: Path, json_output: bool) -> None:
    from dataclasses import asdict

    from specvit.library.catalogue import describe_library

    entry = describe_library(str(out))
    if json_output:
        show_json(asdict(entry))
    else:
        show(f"{out}: {entry.describe()}")
