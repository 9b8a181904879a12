"""The keys of pixels, line-spread function and photometric band of an instrument file; see `schema`."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from specvit.documents import Grown, PathText, Section
from specvit.instrument.quantities import (
    FRACTION,
    Nodes,
    PixelWidth,
    ResolvingPower,
    TableName,
    Wavelength,
    Width,
)
from specvit.spectra import SPEED_OF_LIGHT_KM_S


class TablesSection(Grown):
    """Where per-pixel tables are kept."""

    LATER = frozenset({"arm"})

    file: PathText = Field(
        description="npz file, or *.snc or *.noise output of the PFS calculator, relative to the TOML"
    )
    sha256: str | None = Field(default=None, max_length=64, description="checksum of that file, in hex")
    arm: int | None = Field(
        default=None,
        ge=0,
        le=99,
        description="number of the arm to take from an output of the PFS calculator",
    )


class GridSection(Grown):
    """Pixels: `start`, a step and `pixels`, or tables of their centres or edges."""

    LATER = frozenset({"log_step", "velocity_step", "edges", "arms"})

    start: Wavelength | None = Field(default=None, description="centre of the first pixel, Å")
    # Grids are told apart to 1e-4 Å (`WavelengthGrid.fingerprint`).
    step: float | None = Field(default=None, ge=1e-4, le=1e4, description="pixel width, Å")
    # A hundred times the pixels of one arm of PFS; a spectrum of this many fills 4 MB.
    pixels: int | None = Field(default=None, ge=2, le=1_000_000, description="number of pixels")
    table: TableName | None = Field(default=None, description="name of a table of pixel centres, Å")
    medium: Literal["vacuum", "air"] = Field(
        default="vacuum", description="what wavelengths of this file are measured in"
    )
    log_step: float | None = Field(default=None, ge=1e-8, le=0.1, description="step of log10 λ")
    velocity_step: float | None = Field(default=None, ge=1e-2, le=1e5, description="step of c ln λ, km/s")
    edges: TableName | None = Field(
        default=None, description="name of a table of pixel edges, Å: (pixels + 1,), or (2, pixels)"
    )
    arms: bool = Field(
        default=False, description="where the wavelengths of the table fall, another arm begins"
    )

    @model_validator(mode="after")
    def _check(self) -> GridSection:
        steps = [self.step, self.log_step, self.velocity_step]
        by_keys = [self.start, self.pixels, *steps]
        tabulated = self.table is not None or self.edges is not None
        complete = self.start is not None and self.pixels is not None
        if (tabulated and by_keys != [None] * 5) or (
            not tabulated and not (complete and sum(step is not None for step in steps) == 1)
        ):
            raise ValueError(
                "give either start, pixels and one of step, log_step and velocity_step, or table, or edges"
            )
        return self

    def stepped_centres(self) -> np.ndarray:
        """Return the pixel centres of `start`, `pixels` and the step, Å."""
        assert self.start is not None
        assert self.pixels is not None
        number = np.arange(self.pixels)
        if self.step is not None:
            return self.start + self.step * number
        per_pixel = (
            self.log_step * np.log(10.0)
            if self.log_step is not None
            else (self.velocity_step or 0.0) / SPEED_OF_LIGHT_KM_S
        )
        with np.errstate(over="ignore"):
            centres: np.ndarray = self.start * np.exp(per_pixel * number)
        return centres


class GaussianLsf(Section):
    """A Gaussian line-spread function; its width by exactly one of the three keys."""

    kind: Literal["gaussian"] = Field(description="'gaussian'")
    resolving_power: ResolvingPower | None = Field(default=None, description="λ/FWHM")
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

#: The band that reaches from the first pixel of the spectrograph to the last.
OWN_BAND = "grid"

Response = Annotated[Nodes | TableName, Field(union_mode="left_to_right")]


class BandSection(Grown):
    """The photometric band of the magnitude.

    A known name alone, a top-hat in photon response with soft edges, or a curve.
    """

    LATER = frozenset({"response", "wavelength"})

    name: str = Field(max_length=200, description="what the band is called")
    blue: Wavelength | None = Field(default=None, description="half-response wavelength, Å")
    red: Wavelength | None = Field(default=None, description="half-response wavelength, Å")
    edge_width: float = Field(default=50.0, ge=1e-3, le=1e5, description="Gaussian sigma of both edges, Å")
    response: Response | None = Field(
        default=None, description="photon response: a curve of nodes, or a table over `wavelength`"
    )
    wavelength: TableName | None = Field(
        default=None, description="table of the wavelengths of `response`, Å"
    )

    @model_validator(mode="after")
    def _check(self) -> BandSection:
        if (self.blue is None) != (self.red is None) or (self.red is not None and self.response is not None):
            raise ValueError("give both blue and red, or response, or neither for a band known by its name")
        if isinstance(self.response, Nodes):
            if self.response.wavelength is None or not all(
                0 <= value <= FRACTION.high for value in self.response.value
            ):
                raise ValueError(f"response: expected nodes over wavelength, from 0 to {FRACTION.high:g}")
            if max(self.response.value) <= 0:
                raise ValueError("response is zero everywhere")
        if isinstance(self.response, str) != (self.wavelength is not None):
            raise ValueError("a response by table needs the table of its wavelengths: give band.wavelength")
        if self.blue is None or self.red is None:
            return self
        if not self.blue < self.red:
            raise ValueError(f"blue {self.blue} is not below red {self.red}")
        if self.red - self.blue < NARROWEST_BAND * self.red:
            raise ValueError(
                f"blue {self.blue} and red {self.red} are closer than {NARROWEST_BAND:g} of their value"
            )
        return self
