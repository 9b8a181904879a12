"""The keys of an instrument file, as validated sections; docs/instrument.md documents them for users.

Owns names, units, ranges, defaults and which keys exclude each other. Reads no file (`description`), loads no
table (`tables`) and knows no formula (`noise`, `lsf`).

Ranges are wide: they hold every spectrograph that could be built, and keep out the mistyped exponent and the value
that makes the count formula overflow float32. `soundness` sees to combinations of values that are each allowed.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import Discriminator, Field, Tag, model_validator

from specvit.documents import PathText, Section
from specvit.documents.problems import models_in
from specvit.instrument.quantities import (
    FRACTION,
    Brightness,
    Extinction,
    FocalLength,
    Fraction,
    Number,
    PixelWidth,
    Quantity,
    Rate,
    Wavelength,
    Width,
)

#: Format of instrument files. Raised, with a migration in `description`, when a key is renamed or moved.
FORMAT_VERSION = 1

TableName = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=2000)]


def _choice(expected: str) -> Discriminator:
    return Discriminator(_kind_of_entry, "wrong_kind", f"expected {expected}")


def _kind_of_entry(value: Any) -> str | None:
    if isinstance(value, dict):
        return "aperture_table" if "table" in value else "range"
    kinds: dict[type, str] = {int: "number", float: "number", Range: "range"}
    kinds[ApertureSection] = "aperture_table"
    return kinds.get(type(value))


class TablesSection(Section):
    """Where per-pixel tables are kept."""

    file: PathText = Field(description="npz file, relative to the TOML")
    sha256: str | None = Field(default=None, max_length=64, description="checksum of that file, in hex")


class GridSection(Section):
    """Pixel centres: `start`, `step`, `pixels`, or the name of a table."""

    start: Wavelength | None = Field(default=None, description="centre of the first pixel, Å")
    # Grids are told apart to 1e-4 Å (`WavelengthGrid.fingerprint`).
    step: float | None = Field(default=None, ge=1e-4, le=1e4, description="pixel width, Å")
    # A hundred times the pixels of one arm of PFS; a spectrum of this many fills 4 MB.
    pixels: int | None = Field(default=None, ge=2, le=1_000_000, description="number of pixels")
    table: TableName | None = Field(default=None, description="name of a table of pixel centres, Å")
    medium: Literal["vacuum", "air"] = Field(default="vacuum", description="what wavelengths are measured in")

    @model_validator(mode="after")
    def _check(self) -> GridSection:
        linear = [self.start, self.step, self.pixels]
        complete = all(v is not None for v in linear) and self.table is None
        if not complete and not (self.table is not None and linear == [None] * 3):
            raise ValueError("give either start, step and pixels, or table")
        return self

    def linear_centres(self) -> np.ndarray:
        """Return the pixel centres of `start`, `step` and `pixels`, Å."""
        assert self.start is not None
        assert self.step is not None
        assert self.pixels is not None
        return self.start + self.step * np.arange(self.pixels)


class GaussianLsf(Section):
    """A Gaussian line-spread function; its width by exactly one of the three keys."""

    kind: Literal["gaussian"] = Field(description="'gaussian'")
    resolving_power: float | None = Field(default=None, ge=1, le=1e7, description="λ/FWHM, constant")
    fwhm: Width | None = Field(default=None, description="FWHM, Å")
    fwhm_pix: PixelWidth | None = Field(default=None, description="FWHM, pixels")
    includes_pixel: bool = Field(
        default=True, description="whether the stated width contains the pixel's own"
    )

    @model_validator(mode="after")
    def _check(self) -> GaussianLsf:
        if sum(v is not None for v in (self.resolving_power, self.fwhm, self.fwhm_pix)) != 1:
            raise ValueError("give exactly one of resolving_power, fwhm, fwhm_pix")
        return self


class ProfileLsf(Section):
    """A tabulated line-spread function, without the pixel's own width."""

    kind: Literal["profile"] = Field(description="'profile'")
    wavelength: TableName = Field(description="table (K,) of node wavelengths, Å")
    offset_pix: TableName = Field(description="table (X,) of offsets from the line centre, pixels")
    profile: TableName = Field(description="table (K, X), any normalisation")


#: Width over wavelength; the response of a narrower band would be rounding.
NARROWEST_BAND = 1e-4


class BandSection(Section):
    """The photometric band of the magnitude: a top-hat in photon response with soft edges."""

    name: str = Field(max_length=200, description="what the band is called")
    blue: Wavelength = Field(description="half-response wavelength, Å")
    red: Wavelength = Field(description="half-response wavelength, Å")
    edge_width: float = Field(default=50.0, ge=1e-3, le=1e5, description="Gaussian sigma of both edges, Å")

    @model_validator(mode="after")
    def _check(self) -> BandSection:
        if not self.blue < self.red:
            raise ValueError(f"blue {self.blue} is not below red {self.red}")
        if self.red - self.blue < NARROWEST_BAND * self.red:
            raise ValueError(
                f"blue {self.blue} and red {self.red} are closer than {NARROWEST_BAND:g} of their value"
            )
        return self


class ApertureSection(Section):
    """Tabulated fraction of a point source's light that enters the aperture, multilinear."""

    table: TableName = Field(description="table (offset, seeing, field angle, wavelength)")
    offset: TableName = Field(description="table of offsets, arcsec")
    seeing: TableName = Field(description="table of seeing FWHM, arcsec")
    field_angle: TableName = Field(description="table of field angles, deg")
    wavelength: TableName = Field(description="table of wavelengths, Å")
    at_offset: float = Field(
        default=0.0, ge=0, le=1000, description="offset of the star from the aperture centre, arcsec"
    )


#: A constant, or a table over offset, seeing, field angle and wavelength.
Aperture = Annotated[
    Annotated[float, Field(ge=0, le=FRACTION.high), Tag("number")]
    | Annotated[ApertureSection, Tag("aperture_table")],
    _choice("a number, or a table with its four axes"),
]


class ObscurationSection(Section):
    """Field-dependent obscuration: (1 - lost(θ)) / reference, lost linear from centre to edge."""

    centre: float = Field(ge=0, lt=1, description="share lost on the axis")
    edge: float = Field(ge=0, lt=1, description="share lost at `edge_field_angle`")
    edge_field_angle: float = Field(ge=1e-4, le=90, description="deg")
    reference: float = Field(
        default=1.0, ge=1e-3, le=1, description="transmission already contained in the throughput"
    )


class ObjectSection(Section):
    """From the star above the atmosphere to electrons per pixel."""

    area: float = Field(ge=1e-8, le=1e6, description="collecting area, m²")
    throughput: Fraction = Field(description="optics and detector, 0-1")
    trace_fraction: Fraction = Field(default=1.0, description="flux fraction inside the extraction window")
    transmission: Fraction = Field(default=1.0, description="line transmission of the atmosphere")
    extinction: Extinction = Field(default=0.0, description="continuum extinction, mag per airmass")
    aperture: Aperture = Field(
        default=1.0, description="fraction of a point source's light entering the aperture"
    )
    vignetting: Fraction = Field(default=1.0, description="transmission over the field")
    obscuration: ObscurationSection | None = Field(default=None, description="light lost over the field")
    wavelength: TableName | None = Field(
        default=None, description="table: where object counts are evaluated, Å, if not the centres"
    )


class SkySection(Section):
    """Background counts. `background` needs no conditions; the other terms follow airmass and moon."""

    background: Rate = Field(
        default=0.0, description="e/s/pixel in the extraction window, whatever the conditions"
    )
    line_rate: Rate = Field(
        default=0.0, description="emission lines, e/s/pixel/arcsec² at unit airmass factor"
    )
    continuum: Brightness = Field(default=0.0, description="photon/s/m²/arcsec²/nm at unit airmass")
    moon: TableName | None = Field(default=None, description="table (phases, pixels), photon/s/m²/arcsec²/nm")
    moon_phase: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        default=[], max_length=1000, description="lunar phase of each row of `moon`; 0 is dark"
    )
    moon_extinction: float = Field(
        default=0.12, ge=0, le=5, description="mag per airmass of the moonlight formula"
    )
    line_airmass: float = Field(default=1.1, ge=1, le=40, description="airmass to which line_rate refers")
    solid_angle: float | None = Field(default=None, ge=1e-8, le=1e8, description="of the aperture, arcsec²")
    fibre_radius_um: float | None = Field(
        default=None, ge=1e-2, le=1e6, description="µm; with focal_length, instead of solid_angle"
    )
    focal_length: FocalLength | None = Field(default=None, description="m, over the field")
    trace_fraction: Fraction | None = Field(default=None, description="default: that of the object")
    throughput: Fraction | None = Field(default=None, description="default: that of the object")
    transmission: Fraction | None = Field(default=None, description="default: that of the object")
    extinction: Extinction | None = Field(default=None, description="default: that of the object")

    @model_validator(mode="after")
    def _check(self) -> SkySection:
        fibre = self.fibre_radius_um is not None and self.focal_length is not None
        needs = self.moon is not None or any(v != 0.0 for v in (self.line_rate, self.continuum))
        if needs and fibre == (self.solid_angle is not None):
            raise ValueError("sky brightness needs either solid_angle, or fibre_radius_um and focal_length")
        if self.moon is not None and not self.moon_phase:
            raise ValueError("moon needs moon_phase")
        return self


class DetectorSection(Section):
    """Detector and reduction terms of the variance."""

    read_noise: float = Field(ge=0, le=1e5, description="e per pixel and exposure")
    dark: float = Field(default=0.0, ge=0, le=1e6, description="e/s per pixel")
    width: float = Field(
        default=1.0, ge=1e-2, le=1e5, description="detector pixels read and summed across the trace"
    )
    stray: float = Field(
        default=0.0, ge=0, le=1, description="share of the mean sky counts scattered over the detector"
    )
    trace_pitch_pix: float = Field(
        default=1.0,
        ge=1e-2,
        le=1e5,
        description="pixels; distance between traces, over which stray light is spread",
    )
    sky_floor: float = Field(
        default=0.0, ge=0, le=1, description="relative sky-subtraction error, does not average down"
    )
    variance_factor: float = Field(
        default=1.0, ge=1e-2, le=1e4, description="empirical factor on all variance but the star's own"
    )


class PipelineSection(Section):
    """What a reduction pipeline is assumed to know of the star."""

    continuum_temperature: float = Field(
        default=4875.0, ge=500, le=1e6, description="K; Planck shape of the assumed continuum"
    )


class Range(Section):
    """How a condition is drawn (uniform between low and high) and its value when it is not drawn."""

    low: Number = Field(description="smallest value, in the unit of the condition")
    high: Number = Field(description="largest value, in the unit of the condition")
    default: Number | None = Field(default=None, description="value when it is not drawn; else the middle")

    @model_validator(mode="after")
    def _check(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        if self.default is not None and not self.low <= self.default <= self.high:
            raise ValueError(f"default {self.default} is outside {self.low} to {self.high}")
        return self

    @property
    def centre(self) -> float:
        """The value used when the condition is not drawn."""
        return 0.5 * (self.low + self.high) if self.default is None else self.default


#: A fixed value, or a range to draw from.
Condition = Annotated[
    Annotated[Number, Tag("number")] | Annotated[Range, Tag("range")],
    _choice("a number or { low = ..., high = ..., default = ... }"),
]


class ConditionsSection(Section):
    """The observing conditions; a number is a fixed value, a range is drawn uniformly.

    Which values can be meant is in `conditions`, beside the tables that narrow them.
    """

    mag: Condition = Field(description="AB, in the instrument's band")
    seeing: Condition = Field(default=0.8, description="arcsec FWHM")
    zenith_angle: Condition = Field(default=0.0, description="deg")
    field_angle: Condition = Field(default=0.0, description="deg")
    moon: Condition = Field(default=0.0, description="lunar phase, 0 is dark")
    exposure_time: Condition = Field(description="s, of one exposure")
    exposure_count: Condition = Field(description="number of exposures")


class InstrumentDescription(Section):
    """A whole instrument file."""

    format_version: Literal[1] = Field(description="format of this file")
    name: str = Field(min_length=1, max_length=200, description="what the instrument is called")
    description: Text = Field(description="one line for lists")
    source: Text = Field(default="", description="where the numbers are from")
    tables: TablesSection | None = Field(default=None, description="file of per-pixel tables")
    grid: GridSection = Field(description="pixels")
    lsf: GaussianLsf | ProfileLsf = Field(discriminator="kind", description="line-spread function")
    band: BandSection = Field(description="band of the magnitude")
    object: ObjectSection = Field(description="from the star to electrons")
    sky: SkySection = Field(default=SkySection(), description="background counts")
    detector: DetectorSection = Field(description="detector and reduction")
    pipeline: PipelineSection = Field(
        default=PipelineSection(), description="what a pipeline knows of a star"
    )
    conditions: ConditionsSection = Field(description="observing conditions")


def quantity_of(key: str) -> Quantity:
    """Return the range of a quantity by its key, e.g. "object.throughput"."""
    section, name = key.split(".")
    fields = [
        model.model_fields for model in models_in(InstrumentDescription.model_fields[section].annotation)
    ]
    (field,) = (known[name] for known in fields if name in known)
    # Of an optional field pydantic keeps the annotation inside the union.
    parts = [*field.metadata, *(m for part in get_args(field.annotation) for m in get_args(part))]
    return next(part for part in parts if isinstance(part, Quantity))
