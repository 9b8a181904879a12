"""`specvit instrument`: list, describe, check and plot spectrographs, print their S/N and the exposures it takes."""

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
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="section.key=value, in place of what the file says.")
]
Library = Annotated[str, typer.Option(help="builtin, or an emulator made by `specvit library build`.")]
Clip = Annotated[
    bool, typer.Option(help="Use the pixels that the library covers, as `clip = true` in the file.")
]


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
def show_instrument(name: Name, overrides: Overrides = None, json_output: Json = False) -> None:
    """Describe one instrument: pixels, resolution, band, counts, noise, conditions, source of the numbers.

    Examples:

        specvit instrument show pfs_mr

        specvit instrument show my_spectrograph.toml --set conditions.mag=18
    """
    from specvit.instrument import Instrument

    _describe(Instrument.load(name, overrides or ()), json_output)


@app.command()
def check(
    file: Name,
    library: Library = "builtin",
    clip: Clip = False,
    overrides: Overrides = None,
    json_output: Json = False,
) -> None:
    """Check an instrument file: its keys, its tables, and that a library can be seen through it.

    Examples:

        specvit instrument check my_spectrograph.toml

        specvit instrument check my_spectrograph.toml --clip --library bosz.safetensors
    """
    from specvit.cli.ceiling import open_emulator
    from specvit.instrument import Instrument

    stated = [*(overrides or ()), *(["clip=true"] if clip else [])]
    emulator = open_emulator(library)
    instrument = Instrument.load(file, stated).clipped_to(emulator.grid)
    instrument.observe(emulator)
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
    overrides: Overrides = None,
    json_output: Json = False,
) -> None:
    """Print the S/N per pixel of a source of flat AB spectrum: median, mean, 5 % and 95 % over the pixels.

    Dead pixels do not count.

    Examples:

        specvit instrument snr pfs_mr --mag 18:23

        specvit instrument snr pfs_mr --mag 21.5 --seeing 0.5 --zenith-angle 30 --field-angle 0
    """
    from specvit.cli.magnitudes import parse_magnitudes
    from specvit.instrument import Instrument

    instrument = Instrument.load(name, overrides or ())
    conditions = stated(
        seeing=seeing,
        zenith_angle=zenith_angle,
        field_angle=field_angle,
        moon=moon,
        exposure_time=exposure_time,
        exposure_count=exposure_count,
    )
    rows = _snr_rows(instrument, parse_magnitudes(mag), conditions)
    if json_output:
        show_json(rows)
        return
    show("   mag   median     mean      5 %     95 %")
    for row in rows:
        show(f"{row['mag']:6.2f} {row['median']:8.2f} {row['mean']:8.2f} {row['p5']:8.2f} {row['p95']:8.2f}")


@app.command()
def exposure(
    name: Name,
    snr: Annotated[float, typer.Option(help="Median S/N per pixel that is wanted.")],
    mag: Annotated[str, typer.Option(help="Magnitudes: 20, 18,20,22 or FIRST:LAST[:STEP].")],
    seeing: Seeing = None,
    zenith_angle: ZenithAngle = None,
    field_angle: FieldAngle = None,
    moon: Moon = None,
    exposure_time: ExposureTime = None,
    overrides: Overrides = None,
    json_output: Json = False,
) -> None:
    """Print how many exposures give a median S/N per pixel, for a source of flat AB spectrum.

    Examples:

        specvit instrument exposure pfs_mr --snr 20 --mag 19

        specvit instrument exposure pfs_mr --snr 10 --mag 20:22 --exposure-time 1800
    """
    from specvit.cli.magnitudes import parse_magnitudes
    from specvit.instrument import Instrument

    instrument = Instrument.load(name, overrides or ())
    conditions = stated(
        seeing=seeing,
        zenith_angle=zenith_angle,
        field_angle=field_angle,
        moon=moon,
        exposure_time=exposure_time,
    )
    rows = [_exposure_row(instrument, snr, each, conditions) for each in parse_magnitudes(mag)]
    if json_output:
        show_json(rows)
        return
    show("   mag  exposures    of s  hours in all     S/N")
    for row in rows:
        show(
            f"{row['mag']:6.2f} {row['exposures']:10d} {row['exposure_time']:7g} {row['hours']:13.2f} "
            f"{row['snr']:7.1f}"
        )


def _exposure_row(
    instrument: Instrument, snr: float, mag: float, conditions: dict[str, float]
) -> dict[str, Any]:
    import math

    import numpy as np

    from specvit.instrument.performance import curves, exposures_for

    given = {**conditions, "mag": mag}
    exact = exposures_for(instrument, snr, given)
    # Of the bisection's rounding no exposure more is made.
    count = math.ceil(exact * (1 - 1e-6))
    seen = curves(instrument, {**given, "exposure_count": count})
    time = conditions.get("exposure_time", instrument.conditions.defaults["exposure_time"])
    return {
        "mag": mag,
        "exposures": count,
        "exact": exact,
        "exposure_time": time,
        "hours": count * time / 3600,
        "snr": float(np.median(seen.snr[instrument.live])),
    }


@app.command()
def plot(
    name: Name,
    out: Annotated[Path, typer.Option("--out", "-o", help="The image, a .png.")],
    mag: Annotated[float | None, typer.Option(help="Default: the instrument's.")] = None,
    seeing: Seeing = None,
    zenith_angle: ZenithAngle = None,
    field_angle: FieldAngle = None,
    moon: Moon = None,
    exposure_time: ExposureTime = None,
    exposure_count: ExposureCount = None,
    overrides: Overrides = None,
) -> None:
    """Draw an instrument: throughput, sky, sigma, resolving power and S/N of a source of flat AB spectrum.

    Example:

        specvit instrument plot pfs_mr -o pfs_mr.png --mag 21
    """
    from specvit.errors import ConfigError
    from specvit.instrument import Instrument
    from specvit.instrument.performance import curves
    from specvit.report.figure_panels import Panel, panels_over_wavelength
    from specvit.report.style import save_png

    if out.suffix != ".png" or out.is_dir():
        raise ConfigError(
            f"--out {out}: expected the name of an image, e.g. -o {out.stem or 'instrument'}.png"
        )
    instrument = Instrument.load(name, overrides or ())
    conditions = stated(
        mag=mag,
        seeing=seeing,
        zenith_angle=zenith_angle,
        field_angle=field_angle,
        moon=moon,
        exposure_time=exposure_time,
        exposure_count=exposure_count,
    )
    seen = curves(instrument, conditions)
    area = _area(instrument)
    panels = [
        Panel("effective area (m²)", seen.effective_area) if area is None
        else Panel("throughput", seen.effective_area / area),
        Panel("not the star (e²)", seen.sky, logarithmic=True),
        Panel("sigma (erg/s/cm²/Å)", seen.sigma, logarithmic=True),
        Panel("λ/FWHM", seen.resolving_power),
        Panel("S/N per pixel", seen.snr),
    ]  # fmt: skip
    brightness = conditions.get("mag", instrument.conditions.defaults["mag"])
    title = f"{instrument.name}, flat source of {brightness:g} mag ({instrument.band.name})"
    figure = panels_over_wavelength(title, instrument.grid.wavelength, instrument.grid.segments, panels)
    show(f"wrote {save_png(figure, out)}")


def _area(instrument: Instrument) -> float | None:
    """Return the collecting area, m²; None where the file states the noise instead."""
    star, noise = instrument.settings.object, instrument.settings.noise
    return None if star is None or (noise is not None and not noise.needs_object) else star.area


def _facts(instrument: Instrument) -> dict[str, Any]:
    """Return everything there is to say of an instrument, JSON-ready."""
    import numpy as np

    from specvit.instrument.performance import curves

    grid, live = instrument.grid, instrument.live
    seen = curves(instrument, {})
    area = _area(instrument)

    def span(values: np.ndarray) -> dict[str, float]:
        low, median, high = np.percentile(values[live], [0, 50, 100])
        return {"low": float(low), "median": float(median), "high": float(high)}

    conditions = {
        key: {"low": low, "high": high, "default": instrument.conditions.defaults[key]}
        for key, (low, high) in instrument.conditions.ranges.items()
    }
    stated = [instrument.settings.grid, *(arm.grid for arm in instrument.settings.arm)]
    return {
        "name": instrument.name,
        "description": instrument.description,
        "source": instrument.source,
        "pixels": grid.size,
        "start": grid.start,
        "stop": grid.stop,
        "medium": grid.medium,
        "stated_in_air": any(section is not None and section.medium == "air" for section in stated),
        "segments": [[float(value) for value in grid.wavelength[s][[0, -1]]] for s in grid.segments],
        "arms": len(instrument.arms),
        "dead_pixels": int((~live).sum()),
        "clip": instrument.settings.clip,
        "resolution": instrument.resolution,
        "resolving_power": span(seen.resolving_power),
        "step": span(grid.width),
        "throughput": None if area is None else span(seen.effective_area / area),
        "effective_area": span(seen.effective_area),
        "star": span(seen.star),
        "sky": span(seen.sky),
        "sigma": span(seen.sigma),
        "snr": span(seen.snr),
        "band": instrument.band.name,
        "band_pivot": instrument.band.pivot,
        "conditions": conditions,
    }


def _describe(instrument: Instrument, json_output: bool) -> None:
    from specvit.instrument.conditions import CONDITIONS

    facts = _facts(instrument)
    if json_output:
        show_json(facts)
        return

    def told(key: str, form: str = ".3g") -> str:
        found = facts[key]
        return f"{found['median']:{form}} ({found['low']:{form}} to {found['high']:{form}})"

    show(f"{instrument.name}: {instrument.description}")
    converted = ", converted from air" if facts["stated_in_air"] else ""
    show(f"  pixels      {instrument.grid.describe()}{converted}")
    if facts["dead_pixels"]:
        show(f"  dead        {facts['dead_pixels']} pixels, without light: their sigma is infinite")
    if facts["clip"]:
        show("  clip        only pixels that the library covers are used")
    show(f"  step        {told('step', '.4g')} Å")
    show(f"  resolution  {told('resolving_power', '.0f')}")
    show(f"  band        {instrument.band.name} (AB), pivot {instrument.band.pivot:.1f} Å")
    if facts["throughput"] is not None:
        show(f"  throughput  {told('throughput')}, with atmosphere and aperture")
    show(f"  star        {told('star')} e, flat source, default conditions, all exposures")
    show(f"  other       {told('sky')} e², variance besides the star's")
    show(f"  sigma       {told('sigma')} erg/s/cm²/Å")
    show(f"  S/N         {told('snr')} per pixel")
    for key, value in facts["conditions"].items():
        drawn = value["low"] < value["high"]
        span = (
            f"{value['low']:g} to {value['high']:g}, default {value['default']:g}"
            if drawn
            else f"{value['low']:g}"
        )
        show(f"  {key:15s} {span} {CONDITIONS[key][0]}")
    show(f"  source      {instrument.source}")


def _snr_rows(
    instrument: Instrument, magnitudes: list[float], given: dict[str, float]
) -> list[dict[str, float]]:
    import numpy as np
    import torch

    count = len(magnitudes)
    conditions = instrument.fixed_conditions(count, mag=np.array(magnitudes), **given)
    flux = torch.from_numpy(instrument.flat_source()).expand(count, -1)
    snr = (flux / instrument.noise_sigma(flux, conditions)).numpy()[:, instrument.live]
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
