"""`specvit library synthesize`: compute spectra from a line list and model atmospheres."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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


def synthesize(
    lines: Annotated[Path, typer.Option(help="Line list: VALD extract, or CSV.")],
    atmosphere: Annotated[
        list[Path], typer.Option(help="ATLAS9, MARCS or .npz file, or a folder; repeatable.")
    ],
    out: Out,
    design: Annotated[
        Path | None, typer.Option(help="CSV of points: teff, log_g, m_h[, alpha_m, c_m].")
    ] = None,
    sobol: Annotated[int | None, typer.Option(help="Instead: this many Sobol points inside --limit.")] = None,
    limit: LimitOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the Sobol sequence.")] = 0,
    start: Start = 7000.0,
    stop: Stop = 8950.0,
    resolution: Resolution = 20_000.0,
    microturbulence: Annotated[float, typer.Option(help="km/s")] = 2.0,
    hydrostatic: Annotated[
        bool,
        typer.Option("--hydrostatic", help="Compute the pressure of T(tau5000) models for each composition."),
    ] = False,
    work: Annotated[Path | None, typer.Option(help="Folder of finished points; default OUT.work.")] = None,
    workers: Workers = 1,
    timeout: Annotated[float, typer.Option(help="Give up a point after this many seconds.")] = 900.0,
    json_output: Json = False,
) -> None:
    """Compute a library with PySME/SMElib (LTE); a killed run continues, a point that fails is left out.

    Examples:

        specvit library synthesize --lines vald.lin --atmosphere marcs/ --design points.csv --out own.h5

        specvit library synthesize --lines vald.lin --atmosphere marcs/ --sobol 256 --limit teff=4000:5500
        --limit log_g=1:5 --limit m_h=-2:0 --out own.h5 --workers 8
    """
    import time

    from specvit.cli.progress import RichProgress
    from specvit.cli.screen import Screen
    from specvit.cli.terminal import say, show, show_json
    from specvit.errors import ConfigError
    from specvit.library import synthesis
    from specvit.library.importers import LibraryWindow

    if (design is None) == (sobol is None):
        raise ConfigError("give the points either with --design or with --sobol")
    limits = parse_limits(limit)
    if design is not None and limits:
        raise ConfigError("--limit belongs to --sobol; the points of --design are taken as they are")
    missing = [name for name in synthesis.REQUIRED if name not in limits]
    if sobol is not None and missing:
        raise ConfigError(f"--sobol: no limits for {missing[0]}; add --limit {missing[0]}=LOW:HIGH")
    check_at_least_one(workers=workers, sobol=sobol)
    check_out(out)
    points = (
        synthesis.sobol_design(limits, sobol or 0, seed) if design is None else synthesis.read_design(design)
    )
    plan = synthesis.SynthesisPlan(
        synthesis.read_lines(lines),
        synthesis.read_atmospheres(atmosphere),
        points,
        LibraryWindow(start, stop, resolution),
        microturbulence,
        hydrostatic,
    )
    work = work or out.with_name(out.name + ".work")
    say(
        f"{len(points)} points, {len(plan.lines)} lines, {len(plan.models)} model atmospheres; "
        f"finished points are kept in {work}"
    )
    began = time.perf_counter()
    with RichProgress(Screen(stderr=True)) as bars, bars.task("synthesize") as advance:
        report = synthesis.synthesize(plan, work, workers, timeout, advance)
    seconds = time.perf_counter() - began
    for index, reason in list(report.failures.items())[:10]:
        say(f"point {index} left out: {reason}")
    synthesis.gather(plan, work).save(out)
    outcome = {
        "path": str(out),
        "computed": report.computed,
        "found": report.found,
        "failed": len(report.failures),
        "seconds": round(seconds, 1),
    }
    if json_output:
        show_json(outcome | {"failures": report.failures})
    else:
        show(
            f"{out}: {report.computed + report.found - len(report.failures)} spectra "
            f"({report.computed} points computed in {seconds:.0f} s, {len(report.failures)} failed)"
        )
