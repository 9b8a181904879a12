"""The keys of noise by table and of spectrographs with several arms; see `schema`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from specvit.documents import Section
from specvit.instrument.quantities import (
    Brightness,
    Electrons,
    Extinction,
    FluxDensity,
    Fraction,
    Number,
    Rate,
    SignalToNoise,
    Variance,
)
from specvit.instrument.schema_optics import GaussianLsf, GridSection, ProfileLsf


class NoiseSection(Section):
    """Noise as somebody else has computed it, for a flat-AB source under the conditions stated here."""

    mag: Annotated[Number, Field(ge=-50, le=60)] = Field(description="AB magnitude the numbers are for")
    exposure_time: float = Field(ge=1e-3, le=1e6, description="s, of one exposure the numbers are for")
    exposure_count: float = Field(
        default=1.0, ge=1, le=1e6, description="exposures that snr and sigma are for"
    )
    snr: SignalToNoise | None = Field(default=None, description="S/N per pixel; 0 marks a dead pixel")
    sigma: FluxDensity | None = Field(default=None, description="1 sigma per pixel, erg/s/cm²/Å")
    source_share: Fraction = Field(
        default=1.0, description="with snr or sigma: share of the variance that is the star's own photons"
    )
    electrons: Electrons | None = Field(default=None, description="the star's, per pixel and exposure")
    variance: Variance | None = Field(
        default=None, description="of everything but the star, e² per pixel and exposure"
    )

    @model_validator(mode="after")
    def _check(self) -> NoiseSection:
        stated = {key for key in ("snr", "sigma", "electrons", "variance") if getattr(self, key) is not None}
        if stated not in ({"snr"}, {"sigma"}, {"electrons", "variance"}, {"variance"}):
            raise ValueError("give snr, or sigma, or electrons and variance, or variance beside [object]")
        if isinstance(self.source_share, float) and not 0 < self.source_share <= 1:
            raise ValueError(f"source_share {self.source_share} is not above 0 and at most 1")
        return self

    @property
    def needs_object(self) -> bool:
        """Whether the star's electrons have to come from throughput and area."""
        return self.snr is None and self.sigma is None and self.electrons is None


class ArmSection(Section):
    """One arm: its pixels, and what differs from what the file says of the whole instrument."""

    name: str = Field(min_length=1, max_length=200, description="what the arm is called")
    grid: GridSection = Field(description="its pixels")
    lsf: GaussianLsf | ProfileLsf | None = Field(
        default=None, discriminator="kind", description="its line-spread function"
    )
    throughput: Fraction | None = Field(default=None, description="as object.throughput")
    transmission: Fraction | None = Field(default=None, description="as object.transmission")
    trace_fraction: Fraction | None = Field(default=None, description="as object.trace_fraction")
    extinction: Extinction | None = Field(default=None, description="as object.extinction")
    background: Rate | None = Field(default=None, description="as sky.background")
    line_rate: Rate | None = Field(default=None, description="as sky.line_rate")
    continuum: Brightness | None = Field(default=None, description="as sky.continuum")
    read_noise: float | None = Field(default=None, ge=0, le=1e5, description="as detector.read_noise")
    dark: float | None = Field(default=None, ge=0, le=1e6, description="as detector.dark")
    width: float | None = Field(default=None, ge=1e-2, le=1e5, description="as detector.width")
    noise: NoiseSection | None = Field(default=None, description="as noise")
