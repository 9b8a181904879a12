"""`specvit instrument`: list and describe spectrographs, check an instrument file, print its S/N."""

from __future__ import annotations

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
from specvit.cli.terminal import show, show_json

if TYPE_CHECKING:
    from specvit.instrument import Instrument

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="List and describe spectrographs and their noise.",
)

Name = Annotated[str, typer.Argument(help="Preset name, or path of an instrument file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_instruments(json_output: Json = False) -> None:
    """List the instruments that ship with specvit.

    Example:

        specvit instrument list
    """
    from specvit.instrument import Instrument, instrument_names

    known = {name: Instrument.load(name).description for name in instrument_names()}
    if json_output:
        show_json(known)
        return
    width = max(map(len, known))
    for name, description in known.items():
        show(f"{name:{width}s}  {description}")


@app.command("show")
def show_instrument(name: Name, json_output: Json = False) -> None:
    """Describe one instrument: pixels, resolution, band, conditions, source of the numbers.

    Examples:

        specvit instrument show pfs_mr

        specvit instrument show my_spectrograph.toml
    """
    from specvit.instrument import Instrument

    _describe(Instrument.load(name), json_output)


@app.command()
def check(file: Name, json_output: Json = False) -> None:
    """Check an instrument file: its keys, its tables, and that the built-in library can be seen through it.

    Example:

        specvit instrument check my_spectrograph.toml
    """
    from specvit.instrument import Instrument
    from specvit.library import Emulator

    instrument = Instrument.load(file)
    instrument.observe(Emulator.builtin())
    _describe(instrument, json_output)


@app.command()
def snr(
    name: Name,
    mag: Magnitudes = "18:23",
    seeing: Seeing = None,
    zenith_angle: ZenithAngle = None,
    field_angle: FieldAngle = None,
    moon: Moon = None,
    exposure_time: ExposureTime = None,
    exposure_count: ExposureCount = None,
    json_output: Json = False,
) -> None:
    """Print the S/N per pixel of a source of flat AB spectrum: median, mean, 5 % and 95 % over the pixels.

    Examples:

        specvit instrument snr pfs_mr --mag 18:23

        specvit instrument snr pfs_mr --mag 21.5 --seeing 0.5 --zenith-angle 30 --field-angle 0
    """
    from specvit.cli.magnitudes import parse_magnitudes
    from specvit.instrument import Instrument

    instrument = Instrument.load(name)
    overrides = stated(
        seeing=seeing,
        zenith_angle=zenith_angle,
        field_angle=field_angle,
        moon=moon,
        exposure_time=exposure_time,
        exposure_count=exposure_count,
    )
    rows = _snr_rows(instrument, parse_magnitudes(mag), overrides)
    if json_output:
        show_json(rows)
        return
    show("   mag   median     mean      5 %     95 %")
    for row in rows:
        show(f"{row['mag']:6.2f} {row['median']:8.2f} {row['mean']:8.2f} {row['p5']:8.2f} {row['p95']:8.2f}")


def _describe(instrument: Instrument, json_output: bool) -> None:
    from specvit.instrument.conditions import CONDITIONS

    conditions: dict[str, Any] = {}
    for key, (low, high) in instrument.conditions.ranges.items():
        conditions[key] = {"low": low, "high": high, "default": instrument.conditions.defaults[key]}
    if json_output:
        facts = {
            "name": instrument.name,
            "description": instrument.description,
            "source": instrument.source,
            "pixels": instrument.grid.size,
            "start": instrument.grid.start,
            "stop": instrument.grid.stop,
            "medium": instrument.grid.medium,
            "resolution": instrument.resolution,
            "band": instrument.band.name,
            "band_pivot": instrument.band.pivot,
            "conditions": conditions,
        }
        show_json(facts)
        return
    show(f"{instrument.name}: {instrument.description}")
    show(f"  pixels      {instrument.grid.describe()}")
    middle = instrument.grid.wavelength[instrument.grid.size // 2]
    show(f"  resolution  {instrument.resolution:.0f} at {middle:.0f} Å")
    show(f"  band        {instrument.band.name} (AB), pivot {instrument.band.pivot:.1f} Å")
    for key, value in conditions.items():
        drawn = value["low"] < value["high"]
        span = (
            f"{value['low']:g} to {value['high']:g}, default {value['default']:g}"
            if drawn
            else f"{value['low']:g}"
        )
        show(f"  {key:15s} {span} {CONDITIONS[key][0]}")
    show(f"  source      {instrument.source}")


def _snr_rows(
    instrument: Instrument, magnitudes: list[float], overrides: dict[str, float]
) -> list[dict[str, float]]:
    import numpy as np
    import torch

    count = len(magnitudes)
    conditions = instrument.fixed_conditions(count, mag=np.array(magnitudes), **overrides)
    flux = torch.from_numpy(instrument.flat_source()).expand(count, -1)
    snr = (flux / instrument.noise_sigma(flux, conditions)).numpy()
    rows = []
    for mag, pixels in zip(magnitudes, snr, strict=True):
        low, median, high = np.percentile(pixels, [5, 50, 95])
        rows.append(
            {
                "mag": mag,
                "median": float(median),
                "mean": float(pixels.mean()),
                "p5": float(low),
                "p95": float(high),
            }
        )
    return rows
