"""The keys of an instrument file, as validated sections; docs/instrument.md documents them for users.

Owns names, units, ranges, defaults and which keys exclude each other. Reads no file (`description`), loads no
table (`tables`) and knows no formula (`noise`, `lsf`).

Ranges are wide: they hold every spectrograph that could be built, and keep out the mistyped exponent and the value
that makes the count formula overflow float32. `soundness` sees to combinations of values that are each allowed.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Field, Tag, model_validator

from specvit.documents import Grown, Section
from specvit.documents.problems import models_in
from specvit.instrument.quantities import (
    FRACTION,
    Brightness,
    Extinction,
    FocalLength,
    Fraction,
    Number,
    Quantity,
    Rate,
    TableName,
)
from specvit.instrument.schema_arms import ArmSection, NoiseSection
from specvit.instrument.schema_optics import (
    BandSection,
    GaussianLsf,
    GridSection,
    ProfileLsf,
    TablesSection,
)

#: Format of instrument files. Raised, with a migration in `description`, when a key is renamed or moved.
FORMAT_VERSION = 1

Text = Annotated[str, Field(max_length=2000)]


def _choice(expected: str) -> Discriminator:
    return Discriminator(_kind_of_entry, "wrong_kind", f"expected {expected}")


def _kind_of_entry(value: Any) -> str | None:
    if isinstance(value, dict):
        return "aperture_table" if "table" in value else "range"
    kinds: dict[type, str] = {int: "number", float: "number", Range: "range"}
    kinds[ApertureSection] = "aperture_table"
    return kinds.get(type(value))


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


class InstrumentDescription(Grown):
    """A whole instrument file."""

    LATER = frozenset({"clip", "noise", "arm"})

    format_version: Literal[1] = Field(description="format of this file")
    name: str = Field(min_length=1, max_length=200, description="what the instrument is called")
    description: Text = Field(description="one line for lists")
    source: Text = Field(default="", description="where the numbers are from")
    tables: TablesSection | None = Field(default=None, description="file of per-pixel tables")
    grid: GridSection | None = Field(default=None, description="pixels; not with `arm`")
    lsf: GaussianLsf | ProfileLsf = Field(discriminator="kind", description="line-spread function")
    band: BandSection = Field(description="band of the magnitude")
    object: ObjectSection | None = Field(
        default=None, description="from the star to electrons; needed unless `noise` says it"
    )
    sky: SkySection = Field(default=SkySection(), description="background counts")
    detector: DetectorSection | None = Field(
        default=None, description="detector and reduction; needed unless `noise` says it"
    )
    pipeline: PipelineSection = Field(
        default=PipelineSection(), description="what a pipeline knows of a star"
    )
    conditions: ConditionsSection = Field(description="observing conditions")
    clip: bool = Field(
        default=False, description="use the pixels that the library covers, where it does not cover all"
    )
    noise: NoiseSection | None = Field(default=None, description="noise as a table or S/N, not from optics")
    arm: list[ArmSection] = Field(
        default=[], max_length=100, description="arms with pixels, LSF and noise of their own, in order"
    )

    @model_validator(mode="after")
    def _check(self) -> InstrumentDescription:
        if (self.grid is None) != bool(self.arm):
            raise ValueError("expected either grid, or one [[arm]] or more with a grid each")
        stated = [part.noise if part.noise is not None else self.noise for part in self.arm] or [self.noise]
        # What is not per pixel, as the light lost in the aperture, is that of all arms.
        if len({None if noise is None else noise.needs_object for noise in stated}) > 1:
            raise ValueError(
                "arms with stated noise beside others; state noise in the same way for all, or for none"
            )
        if self.object is None and any(noise is None or noise.needs_object for noise in stated):
            raise ValueError("object is missing; give [object] with area and throughput, or [noise] with snr")
        if self.detector is None and None in stated:
            raise ValueError("detector is missing; give [detector] with read_noise, or [noise] with snr")
        return self


def quantity_of(key: str) -> Quantity:
    """Return the range of a quantity by its key, e.g. "object.throughput"."""
    section, name = key.split(".")
    models = models_in(InstrumentDescription.model_fields[section].annotation)
    fields = [model.model_fields for model in models]
    (field,) = (known[name] for known in fields if name in known)
    # Of an optional field pydantic keeps the annotation inside the union.
    parts = [*field.metadata, *(m for part in get_args(field.annotation) for m in get_args(part))]
    return next(part for part in parts if isinstance(part, Quantity))
