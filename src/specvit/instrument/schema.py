"""The keys of an instrument file, as validated sections; docs/instrument.md documents them for users.

Owns names, units, defaults and which keys exclude each other. Reads no file (`description`), loads no table
(`tables`) and knows no formula (`noise`, `lsf`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Discriminator, Field, Tag, model_validator

from specvit.documents import Section


class Nodes(Section):
    """A curve given at a few nodes and interpolated linearly; beyond the last node it is constant.

    Exactly one axis: `wavelength` in Å or `field_angle` in degrees.
    """

    wavelength: list[float] | None = None
    field_angle: list[float] | None = None
    value: list[float]

    @model_validator(mode="after")
    def _check(self) -> Nodes:
        axes = [axis for axis in (self.wavelength, self.field_angle) if axis is not None]
        if len(axes) != 1:
            raise ValueError("needs exactly one axis, wavelength or field_angle")
        if len(axes[0]) != len(self.value) or len(self.value) < 2:
            raise ValueError(
                f"needs as many values as nodes, at least 2; got {len(axes[0])} and {len(self.value)}"
            )
        if any(b <= a for a, b in zip(axes[0], axes[0][1:], strict=False)):
            raise ValueError("its nodes must increase")
        return self


def _kind_of_quantity(value: Any) -> str | None:
    if isinstance(value, dict):
        return "aperture_table" if "table" in value else "nodes"
    kinds: dict[type, str] = {int: "number", float: "number", str: "name", Nodes: "nodes", Range: "nodes"}
    kinds[ApertureSection] = "aperture_table"
    return kinds.get(type(value))


def _choice(expected: str) -> Discriminator:
    return Discriminator(_kind_of_quantity, "wrong_kind", f"expected {expected}")


Number = Annotated[float, Tag("number")]
TableName = Annotated[str, Tag("name")]

#: A number, the name of a table, or nodes: the three ways to give a quantity that may depend on wavelength.
Quantity = Annotated[
    Number | TableName | Annotated[Nodes, Tag("nodes")],
    _choice("a number, the name of a table, or { wavelength = [...], value = [...] }"),
]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class TablesSection(Section):
    """Where per-pixel tables are kept."""

    file: str = Field(description="npz file, relative to the TOML")
    sha256: str | None = Field(default=None, description="checksum of that file")


class GridSection(Section):
    """Pixel centres: `start`, `step`, `pixels`, or the name of a table."""

    start: Positive | None = Field(default=None, description="centre of the first pixel, Å")
    step: Positive | None = Field(default=None, description="pixel width, Å")
    pixels: int | None = Field(default=None, ge=2)
    table: str | None = Field(default=None, description="name of a table of pixel centres, Å")
    medium: Literal["vacuum", "air"] = "vacuum"

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

    kind: Literal["gaussian"]
    resolving_power: Positive | None = Field(default=None, description="λ/FWHM, constant")
    fwhm: Quantity | None = Field(default=None, description="FWHM, Å")
    fwhm_pix: Quantity | None = Field(default=None, description="FWHM, pixels")
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

    kind: Literal["profile"]
    wavelength: str = Field(description="table (K,) of node wavelengths, Å")
    offset_pix: str = Field(description="table (X,) of offsets from the line centre, pixels")
    profile: str = Field(description="table (K, X), any normalisation")


class BandSection(Section):
    """The photometric band of the magnitude: a top-hat in photon response with soft edges."""

    name: str
    blue: Positive = Field(description="half-response wavelength, Å")
    red: Positive = Field(description="half-response wavelength, Å")
    edge_width: Positive = Field(default=50.0, description="Gaussian sigma of both edges, Å")

    @model_validator(mode="after")
    def _check(self) -> BandSection:
        if not self.blue < self.red:
            raise ValueError(f"blue {self.blue} is not below red {self.red}")
        return self


class ApertureSection(Section):
    """Tabulated fraction of a point source's light that enters the aperture, multilinear."""

    table: str = Field(description="table (offset, seeing, field angle, wavelength)")
    offset: str = Field(description="table of offsets, arcsec")
    seeing: str = Field(description="table of seeing FWHM, arcsec")
    field_angle: str = Field(description="table of field angles, deg")
    wavelength: str = Field(description="table of wavelengths, Å")
    at_offset: NotNegative = Field(
        default=0.0, description="offset of the star from the aperture centre, arcsec"
    )


#: A constant, or a table over offset, seeing, field angle and wavelength.
Aperture = Annotated[
    Number | Annotated[ApertureSection, Tag("aperture_table")],
    _choice("a number, or a table with its four axes"),
]


class ObscurationSection(Section):
    """Field-dependent obscuration: (1 - lost(θ)) / reference, lost linear from centre to edge."""

    centre: NotNegative
    edge: NotNegative
    edge_field_angle: Positive = Field(description="deg")
    reference: Positive = Field(default=1.0, description="transmission already contained in the throughput")


class ObjectSection(Section):
    """From the star above the atmosphere to electrons per pixel."""

    area: Positive = Field(description="collecting area, m²")
    throughput: Quantity = Field(description="optics and detector, 0-1")
    trace_fraction: Quantity = Field(default=1.0, description="flux fraction inside the extraction window")
    transmission: Quantity = Field(default=1.0, description="line transmission of the atmosphere")
    extinction: Quantity = Field(default=0.0, description="continuum extinction, mag per airmass")
    aperture: Aperture = Field(
        default=1.0, description="fraction of a point source's light entering the aperture"
    )
    vignetting: Quantity = Field(default=1.0, description="transmission over the field")
    obscuration: ObscurationSection | None = None
    wavelength: str | None = Field(
        None, description="table: where object counts are evaluated, if not the centres"
    )


class SkySection(Section):
    """Background counts. `background` needs no conditions; the other terms follow airmass and moon."""

    background: Quantity = Field(
        default=0.0, description="e/s/pixel in the extraction window, whatever the conditions"
    )
    line_rate: Quantity = Field(
        default=0.0, description="emission lines, e/s/pixel/arcsec² at unit airmass factor"
    )
    continuum: Quantity = Field(default=0.0, description="photon/s/m²/arcsec²/nm at unit airmass")
    moon: str | None = Field(default=None, description="table (phases, pixels), photon/s/m²/arcsec²/nm")
    moon_phase: list[float] = Field(default=[], description="lunar phase of each row of `moon`; 0 is dark")
    moon_extinction: NotNegative = Field(default=0.12, description="mag per airmass of the moonlight formula")
    line_airmass: Positive = Field(default=1.1, description="airmass to which line_rate refers")
    solid_angle: Positive | None = Field(default=None, description="of the aperture, arcsec²")
    fibre_radius_um: Positive | None = Field(
        default=None, description="with focal_length, instead of solid_angle"
    )
    focal_length: Quantity | None = Field(default=None, description="m, over the field")
    trace_fraction: Quantity | None = Field(default=None, description="default: that of the object")
    throughput: Quantity | None = Field(default=None, description="default: that of the object")
    transmission: Quantity | None = Field(default=None, description="default: that of the object")
    extinction: Quantity | None = Field(default=None, description="default: that of the object")

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

    read_noise: NotNegative = Field(description="e per pixel and exposure")
    dark: NotNegative = Field(default=0.0, description="e/s per pixel")
    width: Positive = Field(default=1.0, description="detector pixels read and summed across the trace")
    stray: NotNegative = Field(
        default=0.0, description="share of the mean sky counts scattered over the detector"
    )
    trace_pitch_pix: Positive = Field(
        1.0, description="distance between traces, over which stray light is spread"
    )
    sky_floor: NotNegative = Field(
        default=0.0, description="relative sky-subtraction error, does not average down"
    )
    variance_factor: Positive = Field(
        default=1.0, description="empirical factor on all variance but the star's own"
    )


class PipelineSection(Section):
    """What a reduction pipeline is assumed to know of the star."""

    continuum_temperature: Positive = Field(
        default=4875.0, description="K; Planck shape of the assumed continuum"
    )


class Range(Section):
    """How a condition is drawn (uniform between low and high) and its value when it is not drawn."""

    low: float
    high: float
    default: float | None = None

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
    Number | Annotated[Range, Tag("nodes")],
    _choice("a number or { low = ..., high = ..., default = ... }"),
]


class ConditionsSection(Section):
    """The observing conditions; a number is a fixed value, a range is drawn uniformly."""

    mag: Condition
    seeing: Condition = 0.8
    zenith_angle: Condition = 0.0
    field_angle: Condition = 0.0
    moon: Condition = 0.0
    exposure_time: Condition
    exposure_count: Condition


class InstrumentDescription(Section):
    """A whole instrument file."""

    format_version: Literal[1]
    name: str
    description: str
    source: str = ""
    tables: TablesSection | None = None
    grid: GridSection
    lsf: Annotated[GaussianLsf | ProfileLsf, Field(discriminator="kind")]
    band: BandSection
    object: ObjectSection
    sky: SkySection = SkySection()
    detector: DetectorSection
    pipeline: PipelineSection = PipelineSection()
    conditions: ConditionsSection
