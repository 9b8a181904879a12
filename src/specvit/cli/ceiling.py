"""`specvit ceiling`: how well a label can be measured with an instrument, from the Fisher information."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from specvit.cli.observing import (
    ExposureCount,
    ExposureTime,
    FieldAngle,
    Magnitudes,
    Moon,
    Seeing,
    ZenithAngle,
    stated,
)
from specvit.cli.terminal import say

if TYPE_CHECKING:
    from torch import Tensor

    from specvit.instrument import Instrument
    from specvit.library import Emulator

DEFAULT_MAGNITUDES = "18,20,21.5,22,22.5,23"


def ceiling(
    instrument: Annotated[str, typer.Option(help="Preset name, or path of an instrument file.")] = "pfs_mr",
    mag: Magnitudes = DEFAULT_MAGNITUDES,
    labels: Annotated[
        int | None,
        typer.Option(
            help="Free labels: 3 (teff, log_g, m_h) or 5 (chemistry too); default: all of the library."
        ),
    ] = None,
    free_labels: Annotated[
        str | None, typer.Option("--free", help="Instead: any of the library's labels, e.g. log_g,teff,m_h.")
    ] = None,
    label: Annotated[str, typer.Option(help="The label whose error is asked for.")] = "log_g",
    stars: Annotated[
        str,
        typer.Option(
            help="nodes (the reference's 1260 low-T nodes, chemistry 0), all-nodes (30240, chemistry too) "
            "or prior."
        ),
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
    seeing: Seeing = None,
    zenith_angle: ZenithAngle = None,
    field_angle: FieldAngle = None,
    moon: Moon = None,
    exposure_time: ExposureTime = None,
    exposure_count: ExposureCount = None,
    library: Annotated[
        str, typer.Option(help="'builtin' or an emulator file made by `specvit library build`.")
    ] = "builtin",
    published: Annotated[
        bool, typer.Option("--published", help="Show the reference work's row below each of ours.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="CSV with one row per star and magnitude, correlations included.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Print the Cramér-Rao ceiling of a label against magnitude: R²_max, its spread over stars, and σ.

    R²_max = clip(1 - CRLB / variance, 0, 1) per star bounds unbiased estimates only; "shrunk" is the mean of
    V / (V + CRLB), which is comparable with the pooled R² of a model. "cond." is the median condition number
    of the Fisher matrix, kelvin and dex mixed.

    Examples:

        specvit ceiling --instrument pfs_mr --mag 18:23

        specvit ceiling --instrument pfs_mr_reference --labels 3 --variance reference --published

        specvit ceiling --stars all-nodes --variance reference --published

        specvit ceiling --mag 21 --exposure-count 24 --continuum 3 --velocity --out stars.csv

        specvit ceiling --instrument gaia_rvs --mag 10:14 --stars prior --count 500 --json
    """
    # Imported here: a help text, and a misspelt option, must not wait for torch.
    from specvit.cli.ceiling_table import print_json, print_table
    from specvit.cli.magnitudes import parse_magnitudes
    from specvit.errors import ConfigError
    from specvit.instrument import Instrument
    from specvit.limits import (
        FREE_LABELS,
        PUBLISHED_LABEL,
        Forecaster,
        FreeParameters,
        star_columns,
        summarise,
        sweep,
        variance_choices,
        write_star_table,
    )

    magnitudes = parse_magnitudes(mag)
    if published and label != PUBLISHED_LABEL:
        raise ConfigError(f"--published: the reference work's table is of {PUBLISHED_LABEL}, not of {label}")
    if published and free_labels is not None:
        raise ConfigError(
            "--published: the reference work's tables have 3 or 5 free labels; give --labels, not --free"
        )
    # Before the work, whose result would be lost.
    if out is not None and out.is_dir():
        raise ConfigError(f"--out {out}: is a folder; name a CSV file in it")
    if labels is not None and free_labels is not None:
        raise ConfigError("--labels and --free: give one of them")
    counted = None if labels is None else _choose(labels, FREE_LABELS, "--labels")
    emulator = open_emulator(library)
    space = emulator.label_space
    wanted = (
        counted
        or tuple(name.strip() for name in (free_labels or "").split(",") if name.strip())
        or space.names
    )
    _check_free(wanted, label, space.names)
    free = FreeParameters(
        label=label,
        labels=wanted,
        continuum_order=None if continuum < 0 else continuum,
        velocity=velocity,
        line_width=line_width,
    )
    overrides = stated(
        seeing=seeing,
        zenith_angle=zenith_angle,
        field_angle=field_angle,
        moon=moon,
        exposure_time=exposure_time,
        exposure_count=exposure_count,
    )
    spectrograph = Instrument.load(instrument)
    _check_conditions(spectrograph, magnitudes, overrides)
    variances = variance_choices(space, label)
    used = _variance(variance, variances)
    targets = _stars(stars, emulator, count, seed)
    forecaster = Forecaster(emulator, spectrograph.clipped_to(emulator.grid), free)
    forecasts = _with_bar(
        lambda update: sweep(forecaster, targets, magnitudes, update, **overrides), quiet=json_output
    )
    facts: dict[str, Any] = {
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
    if out is not None:
        tables = [
            star_columns(m, forecast, space.names, variances)
            for m, forecast in zip(magnitudes, forecasts, strict=True)
        ]
        facts |= {"rows_written": write_star_table(tables, out), "out": str(out)}
    rows = [summarise(m, forecast, used) for m, forecast in zip(magnitudes, forecasts, strict=True)]
    show = print_json if json_output else print_table
    show(facts, rows, len(free.labels) if published else None)


def _check_conditions(instrument: Instrument, magnitudes: list[float], overrides: dict[str, float]) -> None:
    """Raise ConfigError naming the option of a condition the instrument does not cover."""
    from specvit.errors import ConfigError, DataError

    wanted = [("mag", value) for value in magnitudes] + list(overrides.items())
    for name, value in wanted:
        try:
            instrument.fixed_conditions(1, **{name: value})
        except DataError as error:
            raise ConfigError(f"--{name.replace('_', '-')} {value:g}: {error}") from None


def open_emulator(library: str) -> Emulator:
    """Return the emulator that --library names."""
    from specvit.errors import ConfigError
    from specvit.library import Emulator

    if library == "builtin":
        return Emulator.builtin()
    if not Path(library).is_file():
        raise ConfigError(
            f"--library {library}: no such file; give builtin or an emulator made by `specvit library build`"
        )
    return Emulator.load(Path(library))


def _stars(stars: str, emulator: Emulator, count: int, seed: int) -> Tensor:
    """Return the labels of the stars, shape (N, P)."""
    import torch

    from specvit.errors import ConfigError
    from specvit.limits import grid_nodes, prior_draws

    space = emulator.label_space
    if stars in ("nodes", "all-nodes"):
        try:
            nodes = grid_nodes(space, chemistry=stars == "all-nodes")
        except ConfigError as error:
            raise ConfigError(f"--stars {stars}: {error}; or give --stars prior") from None
        if emulator.coverage is None:
            return nodes
        covered = nodes[torch.from_numpy(emulator.coverage.covers(nodes))]
        say(
            f"{len(nodes) - len(covered)} of {len(nodes)} nodes are left out: the library has no spectra around them"
        )
        return covered
    if stars != "prior":
        raise ConfigError(f"--stars {stars}: expected nodes, all-nodes or prior")
    if count < 1:
        raise ConfigError(f"--count {count}: expected at least 1 star")
    return prior_draws(space, count, seed, emulator.coverage)


def _check_free(free: tuple[str, ...], label: str, known: tuple[str, ...]) -> None:
    """Raise ConfigError unless the free labels are different ones of the library, the one asked for among them."""
    from specvit.errors import ConfigError

    for name in (*free, label):
        if name not in known:
            option = "--label" if name == label else "--free"
            raise ConfigError(f"{option} {name}: not a label of the library; choose from {', '.join(known)}")
    if len(set(free)) < len(free):
        raise ConfigError(f"--free {','.join(free)}: names a label twice")
    if label not in free:
        raise ConfigError(
            f"--label {label}: '{label}' is not among the free labels {', '.join(free)}; add it to --free"
        )


def _choose(value: int, choices: dict[int, tuple[str, ...]], option: str) -> tuple[str, ...]:
    from specvit.errors import ConfigError

    if value not in choices:
        raise ConfigError(f"{option} {value}: expected {' or '.join(map(str, choices))}")
    return choices[value]


def _variance(text: str, choices: dict[str, float]) -> float:
    import math

    from specvit.errors import ConfigError

    if text in choices:
        return choices[text]
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if 0 < value < math.inf:
        return value
    raise ConfigError(f"--variance {text}: expected {', '.join(choices)} or a positive number")


def _with_bar(work: Any, quiet: bool) -> Any:
    from specvit.cli.progress import RichProgress
    from specvit.cli.screen import Screen

    if quiet:
        return work(None)
    with RichProgress(Screen(stderr=True), transient=True) as progress, progress.task("stars") as update:
        return work(update)
