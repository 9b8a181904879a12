"""`specvit ceiling`: how well a label can be measured with an instrument, from the Fisher information."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from specvit.limits import Forecaster, SweepRow

DEFAULT_MAGNITUDES = "18,20,21.5,22,22.5,23"
TABLE_WIDTH = 110


def ceiling(
    instrument: Annotated[str, typer.Option(help="Preset name, or path of an instrument file.")] = "pfs_mr",
    mag: Annotated[
        str, typer.Option(help="Magnitudes: 20, 18,20,22 or FIRST:LAST[:STEP].")
    ] = DEFAULT_MAGNITUDES,
    labels: Annotated[
        int, typer.Option(help="Free labels: 3 (teff, log_g, m_h) or 5 (chemistry free too).")
    ] = 5,
    label: Annotated[str, typer.Option(help="The label whose error is asked for.")] = "log_g",
    stars: Annotated[
        str, typer.Option(help="nodes (the reference's 1260 low-T nodes, chemistry 0) or prior.")
    ] = "nodes",
    count: Annotated[int, typer.Option(help="Stars drawn with --stars prior.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of --stars prior.")] = 42,
    continuum: Annotated[
        int, typer.Option(help="Order of the free continuum; 0: flux scale only, -1: flux known.")
    ] = 0,
    velocity: Annotated[bool, typer.Option("--velocity", help="Radial velocity is free too.")] = False,
    line_width: Annotated[
        bool, typer.Option("--line-width", help="Width of the line-spread function is free too.")
    ] = False,
    variance: Annotated[
        str, typer.Option(help="Prior variance: uniform, lattice, reference or a number.")
    ] = "uniform",
    seeing: Annotated[float | None, typer.Option(help="arcsec FWHM; default: the instrument's.")] = None,
    zenith_angle: Annotated[float | None, typer.Option(help="deg")] = None,
    field_angle: Annotated[float | None, typer.Option(help="deg")] = None,
    moon: Annotated[float | None, typer.Option(help="Lunar phase, 0 is dark.")] = None,
    exposure_time: Annotated[float | None, typer.Option(help="s")] = None,
    exposure_count: Annotated[float | None, typer.Option(help="Number of exposures.")] = None,
    library: Annotated[
        str, typer.Option(help="'builtin' or an emulator file made by `specvit library build`.")
    ] = "builtin",
    published: Annotated[
        bool, typer.Option("--published", help="Show the reference work's table beside it.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="CSV with one row per star and magnitude, correlations included.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Print the Cramér-Rao ceiling of a label against magnitude: R²_max, its spread over stars, and σ.

    R²_max = clip(1 - CRLB / variance, 0, 1) per star bounds unbiased estimates only; "shrunk" is the mean of
    V / (V + CRLB), which is comparable with the pooled R² of a model.

    Examples:

        specvit ceiling --instrument pfs_mr --mag 18:23

        specvit ceiling --instrument pfs_mr_reference --labels 3 --variance reference --published

        specvit ceiling --mag 21 --exposure-count 24 --continuum 3 --velocity --out stars.csv

        specvit ceiling --instrument gaia_rvs --mag 10:14 --stars prior --count 500 --json
    """
    from specvit.cli.magnitudes import parse_magnitudes
    from specvit.limits import FREE_LABELS, FreeParameters, star_columns, summarise, sweep, write_star_table

    magnitudes = parse_magnitudes(mag)
    free = FreeParameters(
        label=label,
        labels=_choose(labels, FREE_LABELS, "--labels"),
        continuum_order=None if continuum < 0 else continuum,
        velocity=velocity,
        line_width=line_width,
    )
    forecaster, targets, variances = _world(library, instrument, free, stars, count, seed)
    used = _variance(variance, variances)
    given = {
        "seeing": seeing,
        "zenith_angle": zenith_angle,
        "field_angle": field_angle,
        "moon": moon,
        "exposure_time": exposure_time,
        "exposure_count": exposure_count,
    }
    overrides = {name: value for name, value in given.items() if value is not None}
    forecasts = _with_bar(
        lambda update: sweep(forecaster, targets, magnitudes, update, **overrides), quiet=json_output
    )
    rows = [summarise(m, forecast, used) for m, forecast in zip(magnitudes, forecasts, strict=True)]
    if out is not None:
        names = forecaster.label_space.names
        tables = [
            star_columns(m, forecast, names, variances)
            for m, forecast in zip(magnitudes, forecasts, strict=True)
        ]
        written = write_star_table(tables, out)
    facts = {
        "instrument": instrument,
        "label": label,
        "free_labels": list(free.labels),
        "continuum_order": free.continuum_order,
        "velocity": velocity,
        "line_width": line_width,
        "stars": len(targets),
        "drawn_from": stars,
        "prior_variance": used,
        "conditions": overrides,
    }
    if json_output:
        _print_json(facts, rows)
        return
    _print_table(facts, rows, labels if published else None)
    if out is not None:
        print(f"{written:,} rows written to {out}")


def _world(
    library: str, instrument: str, free: Any, stars: str, count: int, seed: int
) -> tuple[Forecaster, Any, dict[str, float]]:
    """Return forecaster, stars (N, P) and the named prior variances of the label."""
    from specvit.errors import ConfigError
    from specvit.instrument import Instrument
    from specvit.library import Emulator
    from specvit.limits import Forecaster, grid_nodes, prior_draws, variance_choices

    emulator = Emulator.builtin() if library == "builtin" else Emulator.load(Path(library))
    space = emulator.label_space
    variances = variance_choices(space, free.label)
    if stars == "nodes":
        targets = grid_nodes(space)
    elif stars == "prior":
        if count < 1:
            raise ConfigError(f"--count {count}: expected at least 1 star")
        targets = prior_draws(space, count, seed)
    else:
        raise ConfigError(f"--stars {stars}: expected nodes or prior")
    return Forecaster(emulator, Instrument.load(instrument), free), targets, variances


def _choose(value: int, choices: dict[int, tuple[str, ...]], option: str) -> tuple[str, ...]:
    from specvit.errors import ConfigError

    if value not in choices:
        raise ConfigError(f"{option} {value}: expected {' or '.join(map(str, choices))}")
    return choices[value]


def _variance(text: str, choices: dict[str, float]) -> float:
    from specvit.errors import ConfigError

    if text in choices:
        return choices[text]
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if value > 0:
        return value
    raise ConfigError(f"--variance {text}: expected {', '.join(choices)} or a positive number")


def _with_bar(work: Any, quiet: bool) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if quiet:
        return work(None)
    columns = (TextColumn("stars"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("stars", total=None)
        return work(lambda done, total: bar.update(task, completed=done, total=total))


def _print_json(facts: dict[str, Any], rows: list[SweepRow]) -> None:
    import json
    import math

    # JSON knows no infinity; null says "not bounded".
    table = [
        {name: value if math.isfinite(value) else None for name, value in row.to_dict().items()}
        for row in rows
    ]
    print(json.dumps({**facts, "rows": table}))


def _print_table(facts: dict[str, Any], rows: list[SweepRow], published: int | None) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from specvit.limits import published_row

    order = facts["continuum_order"]
    nuisances = ["flux known" if order is None else f"continuum of order {order}"]
    nuisances += [name for name in ("velocity", "line_width") if facts[name]]
    print(
        f"{facts['label']} with {facts['instrument']}: {facts['stars']} stars ({facts['drawn_from']}); "
        f"free: {', '.join(facts['free_labels'])}; {', '.join(nuisances)}; "
        f"prior variance {facts['prior_variance']:.4f}"
    )
    heads = ["mag", "S/N", "R²max", "mean", "p10", "p90", "shrunk", "=0 %", "σ med", "Schur"]
    heads += ["pub. R²max", "mean", "p90", "Schur"] if published else []
    table = Table(*heads, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in table.columns:
        column.justify = "right"
    for row in rows:
        r2 = (row.r2_median, row.r2_mean, row.r2_p10, row.r2_p90, row.r2_shrunk_mean)
        cells = [f"{row.mag:g}", f"{row.snr:.1f}", *(f"{value:.4f}" for value in r2)]
        cells += [f"{100 * row.zero_fraction:.1f}", f"{row.sigma_median:.4g}", f"{row.schur_median:.4f}"]
        theirs = published_row(published, row.mag) if published else None
        if theirs is not None:
            numbers = (theirs.r2_median, theirs.r2_mean, theirs.r2_p90, theirs.schur_median)
            cells += ["-" if value is None else f"{value:.4f}" for value in numbers]
        table.add_row(*cells)
    console = Console()
    # A pipe counts as 80 columns; a table cut to that would lose digits.
    Console(width=max(console.width, TABLE_WIDTH)).print(table)
    singular = max(row.singular for row in rows)
    if singular:
        print(f"{singular} stars have degenerate labels (singular Fisher matrix); they count as R2max = 0")
