"""`specvit library`: list, describe, download, import and synthesise spectral libraries; build emulators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from specvit.cli.library_import import import_library
from specvit.cli.library_options import (
    Folder,
    Json,
    LimitOption,
    Yes,
    agree,
    check_at_least_one,
    check_out,
    parse_limits,
)
from specvit.cli.library_synthesize import synthesize
from specvit.cli.progress import RichProgress
from specvit.cli.screen import Screen
from specvit.cli.terminal import say, show, show_json

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="List, describe, download, import and synthesise spectral libraries; build emulators.",
)
app.command("synthesize")(synthesize)
app.command("import")(import_library)
download_app = typer.Typer(add_completion=False, rich_markup_mode=None, help="Fetch a published library.")
app.add_typer(download_app, name="download")

Library = Annotated[str, typer.Argument(help="'builtin', a name shown by `list`, or a path.")]


@app.command("list")
def list_libraries(json_output: Json = False) -> None:
    """List the built-in library and those in the cache folder.

    Example:

        specvit library list
    """
    from dataclasses import asdict

    from specvit.library.catalogue import cache_folder, known_libraries

    entries, problems = known_libraries()
    for problem in problems:
        say(f"left out: {problem}")
    if json_output:
        show_json([asdict(entry) for entry in entries])
        return
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        show(f"{entry.name:{width}s}  {entry.describe()}")
    show(f"(cache folder: {cache_folder()})")


@app.command()
def info(library: Library, json_output: Json = False) -> None:
    """Describe one library: range, labels, origin. Reads it whole, and so verifies its checksum.

    Examples:

        specvit library info builtin

        specvit library info bosz.h5 --json
    """
    from contextlib import ExitStack
    from dataclasses import asdict

    from specvit.library import SyntheticLibrary
    from specvit.library.catalogue import describe_library, library_path

    entry = describe_library(library)
    with ExitStack() as stack:
        SyntheticLibrary.load(library_path(library, stack))
    if json_output:
        show_json(asdict(entry))
        return
    show(f"{entry.name} ({entry.path}), checksum good")
    show(entry.describe())
    for key, value in entry.provenance.items():
        is_long = isinstance(value, list) and len(value) > 8
        show(f"  {key}: {f'{len(value)} values' if is_long else value}")


@app.command()
def build(
    library: Library,
    out: Annotated[Path, typer.Option(help="Emulator file to write (.safetensors).")],
    limit: LimitOption = None,
    components: Annotated[int, typer.Option(help="Principal components.")] = 128,
    steps: Annotated[int, typer.Option(help="Optimiser steps; fewer are faster and worse.")] = 30_000,
    held_out: Annotated[float, typer.Option(help="Fraction of the spectra kept for the stated error.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Seed of the split and the fit.")] = 20261121,
    coordinates: Annotated[
        str | None,
        typer.Option(
            help="What the network sees: chemical (needs teff) or labels; default: what the library allows."
        ),
    ] = None,
    nodes: Annotated[
        Path | None, typer.Option(help="CSV with the leave-one-out residual of every spectrum.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Fit an emulator to a library; `--limit` narrows the domain in which it will answer.

    Before the fit each spectrum is predicted from all others, and those that do not fit in are named: a wrong label, two
    files exchanged, a model that did not converge. The domain is the region that spectra cover: holes are left out.

    Examples:

        specvit library build bosz.h5 --out bosz.safetensors

        specvit library build builtin --out giants.safetensors --limit log_g=1:3.5
    """
    from contextlib import ExitStack
    from dataclasses import replace

    import numpy as np

    from specvit.errors import ConfigError
    from specvit.library import FitSettings, SyntheticLibrary, fit_emulator
    from specvit.library.catalogue import library_path
    from specvit.library.node_check import check_nodes, write_residuals

    check_out(out)
    if coordinates not in (None, "chemical", "labels"):
        raise ConfigError(f"--coordinates {coordinates}: expected chemical or labels")
    limits = parse_limits(limit, any_label=True)
    # Wrong numbers are told before the library is read.
    settings = FitSettings(components=components, steps=steps, held_out=held_out, seed=seed)
    with ExitStack() as stack:
        spectra = SyntheticLibrary.load(library_path(library, stack))
    known = spectra.label_space.names
    fitting = coordinates or ("chemical" if "teff" in known else "labels")
    settings = replace(settings, coordinates=fitting)  # type: ignore[arg-type]  # checked above
    for name in limits:
        if name not in known:
            raise ConfigError(f"--limit: unknown label '{name}'; this library has {', '.join(known)}")
    domain = spectra.label_space.replace(**limits)
    spectra.label_space.check(np.array([domain.low, domain.high]), "domain")
    found = check_nodes(spectra)
    for node in found.suspicious:
        say(f"suspicious: {node.describe(found.suspicious)}")
    if nodes is not None:
        write_residuals(found, spectra, nodes)
    with RichProgress(Screen(stderr=True)) as bars, bars.task("fit") as advance:
        emulator = fit_emulator(spectra, domain, settings, lambda done, total, _loss: advance(done, total))
    emulator.errors["nodes"] = found.to_dict()
    # The coefficients were fitted to the rounded basis, so the compact form costs nothing more.
    emulator.save(out, compact=True)
    if json_output:
        covered = 1.0 if emulator.coverage is None else emulator.coverage.share
        show_json({"path": str(out), "errors": emulator.errors, "covered": covered})
        return
    error = emulator.errors["native"]
    show(
        f"{out}: held-out error on {emulator.errors['held_out_spectra']} spectra: "
        f"median {error['median']:.3%}, 95th percentile {error['p95']:.2%}, 99th {error['p99']:.2%}"
    )
    show(
        f"each spectrum from all others: median residual {np.median(found.residuals):.3%}, largest "
        f"{found.residuals.max():.2%}; {len(found.suspicious)} suspicious"
    )
    if emulator.coverage is not None:
        show(
            f"the domain is {emulator.coverage.share:.1%} of the box of its labels; around the rest there are no spectra, and "
            "priors are cut there"
        )


@download_app.command("bosz")
def download_bosz(
    folder: Folder,
    release: Annotated[int, typer.Option(help="2017 (the reference work's) or 2024.")] = 2024,
    resolution: Annotated[
        int, typer.Option(help="Resolution of the files; 20000 is enough for PFS.")
    ] = 50_000,
    limit: LimitOption = None,
    atmosphere: Annotated[str, typer.Option(help="2024: model families, from mp, ms, ap.")] = "mp,ms",
    microturbulence: Annotated[int, typer.Option(help="km/s; 2024 has 0, 1, 2, 4.")] = 2,
    connections: Annotated[int, typer.Option(help="Files fetched at once.")] = 4,
    retries: Annotated[int, typer.Option(help="Further attempts per file.")] = 4,
    base_url: Annotated[str | None, typer.Option(help="Another address of the archive.")] = None,
    yes: Yes = False,
    json_output: Json = False,
) -> None:
    """Download a part of the BOSZ library from MAST; says what it will take, resumes, verifies.

    Without `--limit` the low-temperature box is taken (Teff 3750-6000 K, log g 1-5, all compositions).

    Examples:

        specvit library download bosz --folder downloads/bosz --release 2017 --limit alpha_m=0 --limit c_m=0

        specvit library download bosz --folder downloads/bosz2024 --resolution 20000 --limit m_h=-1:0 --yes
    """
    from specvit.library.download import download
    from specvit.library.importers.bosz_archive import plan_bosz

    check_at_least_one(connections=connections)
    limits = parse_limits(limit)
    plan = plan_bosz(release, folder, resolution, limits, atmosphere, microturbulence, base_url)
    remaining = len(plan.remaining)
    size = plan.bytes_needed
    say(
        f"{plan.title}: {len(plan.files)} files into {folder}, {len(plan.files) - remaining} there already; "
        f"{remaining} to fetch, "
        + (
            "size not stated by the server"
            if size is None
            else f"{size / 1e9:.2f} GB, {_duration(size)} at 10 MB/s"
        )
    )
    if remaining and not yes:
        agree("Start?")
    with RichProgress(Screen(stderr=True)) as bars, bars.task("download") as advance:
        report = download(plan, connections, retries, advance)
    outcome = {"fetched": report.fetched, "bytes": report.received, "not_on_server": len(report.missing)}
    if json_output:
        show_json(outcome | {"folder": str(folder)})
    else:
        show(
            f"{report.fetched} files fetched ({report.received / 1e6:.1f} MB), verified; "
            f"{len(report.missing)} not on the server"
        )


def _duration(size: float) -> str:
    seconds = size / 1e7
    return f"{seconds / 3600:.1f} h" if seconds > 5400 else f"{max(seconds / 60, 0.1):.1f} min"
