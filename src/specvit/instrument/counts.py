"""The numbers of the count formula, resolved from an instrument file to arrays. No conditions, no torch.

`noise` evaluates the formula; the formula itself is written out in `docs/instrument.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from specvit.errors import DataError
from specvit.instrument.quantities import BRIGHTNESS, FRACTION, WAVELENGTH
from specvit.instrument.schema import (
    ApertureSection,
    DetectorSection,
    InstrumentDescription,
    ObjectSection,
    ObscurationSection,
    SkySection,
)
from specvit.instrument.schema_arms import NoiseSection
from specvit.instrument.tables import Tables, in_range
from specvit.spectra import WavelengthGrid

HC_ERG_A = 1.98644586e-8  # h c, erg Å
AB0_ERG_A = 3.631e-20 * 2.997_924_58e18  # F_λ λ² of AB magnitude 0, erg/s/cm² Å
ARCSEC_PER_MICRON_AT_1M = 0.206264806
NM_PER_A = 0.1
CM2_PER_M2 = 1e4


@dataclass(frozen=True)
class ApertureTable:
    """Fraction of a point source's light in the aperture: values over (seeing, field angle, wavelength)."""

    seeing: np.ndarray
    field_angle: np.ndarray
    wavelength: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class CountTables:
    """Everything the count formula needs, per pixel (L,) unless said.

    Args:
        object_wavelength: where the object's counts are evaluated, Å.
        object_electrons: electrons per second per erg/s/cm²/Å above the atmosphere, at unit aperture factor,
            without continuum extinction and vignetting.
        object_extinction, sky_extinction: mag per airmass.
        sky_lines: e/s/arcsec² at unit airmass factor, without extinction.
        sky_continuum: e/s/arcsec² at unit airmass, without continuum extinction.
        sky_moon: e/s/arcsec² for unit moonlight factor, shape (phases, L), for the phases `moon_phase`.
        background: e/s whatever the conditions.
        aperture: table, or a constant.
        vignetting: (field angles, values).
        solid_angle: (field angles, focal lengths in m) with the fibre radius in µm, or a constant in arcsec².
        detectors: of the arms, in order; they differ in read noise, dark current and width at most.
        detector: which of them each pixel is on.
    """

    object_wavelength: np.ndarray
    object_electrons: np.ndarray
    object_extinction: np.ndarray
    sky_extinction: np.ndarray
    sky_lines: np.ndarray
    sky_continuum: np.ndarray
    sky_moon: np.ndarray
    moon_phase: np.ndarray
    background: np.ndarray
    aperture: ApertureTable
    vignetting: tuple[np.ndarray, np.ndarray]
    focal_length: tuple[np.ndarray, np.ndarray]
    solid_angle: float | None
    fibre_radius_um: float
    obscuration: ObscurationSection | None
    line_airmass: float
    moon_extinction: float
    detectors: tuple[DetectorSection, ...]
    detector: np.ndarray

    def covered_conditions(self) -> dict[str, tuple[float, float]]:
        """Return the range of each condition that has a table: beyond it the formula would extrapolate."""
        covered: dict[str, tuple[float, float]] = {}
        if self.aperture.seeing.size > 1:
            covered["seeing"] = (float(self.aperture.seeing[0]), float(self.aperture.seeing[-1]))
        # A single node is a constant, valid at any angle.
        highest = [float(axis[-1]) for axis in self._field_axes() if axis.size > 1]
        if highest:
            covered["field_angle"] = (0.0, min(highest))
        if self.moon_phase.size:
            covered["moon"] = (0.0, float(self.moon_phase[-1]))
        return covered

    def take(self, pixels: np.ndarray) -> CountTables:
        """Return the tables of the pixels where the mask (L,) is true."""
        detector = self.detector[pixels]
        left, numbered = np.unique(detector, return_inverse=True)
        changes: dict[str, Any] = {name: getattr(self, name)[..., pixels] for name in PER_PIXEL}
        return replace(self, **changes, detectors=tuple(self.detectors[k] for k in left), detector=numbered)

    def _field_axes(self) -> list[np.ndarray]:
        return [self.aperture.field_angle, self.vignetting[0], self.focal_length[0]]


#: The fields of `CountTables` whose last axis is that of the pixels.
PER_PIXEL = ("object_wavelength", "object_electrons", "object_extinction", "sky_extinction", "sky_lines",
             "sky_continuum", "sky_moon", "background")  # fmt: skip

#: What the file says of the star's way where `noise` says all of it: nothing is lost.
NO_OPTICS = ObjectSection(area=1.0, throughput=1.0)
#: Where `noise` says all of the variance, none of it is known to be the detector's.
NO_DETECTOR = DetectorSection(read_noise=0.0)


def join_counts(parts: Sequence[CountTables]) -> CountTables:
    """Return the tables of several arms, one after the other; what is not per pixel is that of all."""
    changes: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in PER_PIXEL
    }
    detectors = tuple(detector for part in parts for detector in part.detectors)
    number = np.concatenate([np.full(part.background.size, k) for k, part in enumerate(parts)])
    return replace(parts[0], **changes, detectors=detectors, detector=number)


def build_count_tables(
    description: InstrumentDescription, tables: Tables, grid: WavelengthGrid
) -> CountTables:
    """Return the resolved numbers of an instrument file without arms.

    Raises:
        DataError: if a table is missing, of the wrong shape, not finite or out of range; names file and key.
    """
    star, sky, noise = description.object or NO_OPTICS, description.sky, description.noise
    if noise is not None:
        # What a file that this one extends says of the star and the sky is in the stated noise.
        star, sky = star if noise.needs_object else NO_OPTICS, SkySection()
    centre, width = grid.wavelength, grid.width
    at = (
        centre
        if star.wavelength is None
        else in_range(
            tables.in_vacuum(
                tables.array(star.wavelength, "object.wavelength", centre.shape), "object.wavelength"
            ),
            "object.wavelength",
            WAVELENGTH,
        )
    )
    throughput = tables.per_pixel(star.throughput, "object.throughput", at) * tables.per_pixel(
        star.transmission, "object.transmission", at
    )
    trace = tables.per_pixel(star.trace_fraction, "object.trace_fraction", at)
    # λ/hc turns energy into photons; F_λ is per Å, so the pixel width is part of the number.
    electrons = at / HC_ERG_A * CM2_PER_M2 * star.area * throughput * trace * width
    if not description.arm and not electrons.any():
        raise DataError("object.throughput: no light reaches any pixel; give a throughput above 0")

    def of_sky(key: str) -> np.ndarray:
        stated = getattr(sky, key)
        quantity = getattr(star, key) if stated is None else stated
        return tables.per_pixel(quantity, f"sky.{key}", centre)

    # photon/s/m²/arcsec²/nm -> e/s/arcsec² per pixel
    sensitivity = star.area * of_sky("throughput") * of_sky("trace_fraction") * NM_PER_A * width
    continuum = tables.per_pixel(sky.continuum, "sky.continuum", centre)
    moon_phase, moon = _moon(sky, tables, centre.size)
    focal_length = (
        (np.zeros(1), np.ones(1))
        if sky.focal_length is None
        else tables.over_field(sky.focal_length, "sky.focal_length")
    )
    counts = CountTables(
        object_wavelength=at,
        object_electrons=electrons,
        object_extinction=tables.per_pixel(star.extinction, "object.extinction", at),
        sky_extinction=of_sky("extinction"),
        sky_lines=tables.per_pixel(sky.line_rate, "sky.line_rate", centre),
        sky_continuum=continuum * sensitivity * of_sky("transmission"),
        sky_moon=moon * sensitivity,
        moon_phase=moon_phase,
        background=tables.per_pixel(sky.background, "sky.background", centre),
        aperture=_aperture(star.aperture, tables),
        vignetting=tables.over_field(star.vignetting, "object.vignetting"),
        focal_length=focal_length,
        solid_angle=sky.solid_angle,
        fibre_radius_um=sky.fibre_radius_um or 0.0,
        obscuration=star.obscuration,
        line_airmass=sky.line_airmass,
        moon_extinction=sky.moon_extinction,
        detectors=(description.detector or NO_DETECTOR,),
        detector=np.zeros(centre.size, int),
    )
    return counts if noise is None else _as_stated(counts, noise, description, tables)


def _as_stated(
    counts: CountTables, noise: NoiseSection, description: InstrumentDescription, tables: Tables
) -> CountTables:
    """Return counts that give the noise a file states for a flat-AB source.

    The star's electrons go with its light and the time, the rest of the variance with the time, but for the read
    noise that [detector] states.
    """
    at, detector = counts.object_wavelength, description.detector or NO_DETECTOR
    density = AB0_ERG_A / at**2 * 10 ** (-0.4 * noise.mag)
    if noise.variance is not None:
        variance = tables.per_pixel(noise.variance, "noise.variance", at)
        electrons = counts.object_electrons * density * noise.exposure_time
        if noise.electrons is not None:
            electrons = tables.per_pixel(noise.electrons, "noise.electrons", at)
    else:
        # S/N of n exposures, whose noise is independent.
        snr = _stated_snr(noise, tables, at, density) / np.sqrt(noise.exposure_count)
        share = tables.per_pixel(noise.source_share, "noise.source_share", at)
        if not ((share > 0) & (share <= 1)).all():
            raise DataError(
                f"noise.source_share: {share.min():g} to {share.max():g} is not above 0 and at most 1"
            )
        # With N electrons of the star and variance V besides, S/N² = N² / (N + V) and the share is N / (N + V).
        electrons = snr**2 / share
        variance = electrons * (1 / share - 1)
    factor = detector.variance_factor
    constant = detector.width * (detector.dark * noise.exposure_time + detector.read_noise**2)
    # Of a dead pixel, which has no electrons, nothing is known but that it has noise.
    background = np.where(electrons > 0, (variance / factor - constant) / noise.exposure_time, 1.0)
    if (background < 0).any():
        pixel = int(np.argmin(background))
        raise DataError(
            f"noise: the variance besides the star's is {variance[pixel]:.4g} e² in pixel {pixel}, less than the "
            f"detector's own {constant * factor:.4g}; set detector.read_noise = 0, detector.dark = 0, or give the "
            "variance that contains them"
        )
    if not electrons.any():
        raise DataError("noise: no light reaches any pixel; give an S/N above 0")
    nothing = np.zeros_like(background)
    return replace(
        counts,
        object_electrons=electrons / (density * noise.exposure_time),
        sky_lines=nothing,
        sky_continuum=nothing,
        sky_moon=np.zeros((0, nothing.size)),
        moon_phase=np.zeros(0),
        background=background,
    )


def _stated_snr(noise: NoiseSection, tables: Tables, at: np.ndarray, density: np.ndarray) -> np.ndarray:
    if noise.snr is not None:
        return tables.per_pixel(noise.snr, "noise.snr", at)
    assert noise.sigma is not None
    snr: np.ndarray = density / tables.per_pixel(noise.sigma, "noise.sigma", at, infinite=True)
    return snr


def _moon(sky: SkySection, tables: Tables, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the phases, dark prepended, and the moonlight of each, shape (phases, pixels)."""
    if sky.moon is None:
        return np.zeros(0), np.zeros((0, pixels))
    # New moon gives no light: its row need not be in the file.
    phase = np.array([0.0, *sky.moon_phase])
    if (np.diff(phase) <= 0).any():
        raise DataError(f"sky.moon_phase: expected increasing phases above 0 (dark), got {sky.moon_phase}")
    light = tables.array(sky.moon, "sky.moon", (phase.size - 1, pixels))
    return phase, np.vstack([np.zeros(pixels), in_range(light, "sky.moon", BRIGHTNESS)])


def _aperture(section: float | ApertureSection, tables: Tables) -> ApertureTable:
    """Return the aperture factor at the instrument's offset; a constant becomes a table with single nodes."""
    if isinstance(section, float):
        return ApertureTable(np.zeros(1), np.zeros(1), np.zeros(1), np.full((1, 1, 1), section))
    names = ("offset", "seeing", "field_angle", "wavelength")
    axes = [tables.axis(getattr(section, name), f"object.aperture.{name}") for name in names]
    values = tables.array(section.table, "object.aperture.table", tuple(axis.size for axis in axes))
    in_range(values, "object.aperture.table", FRACTION)
    offset = axes[0]
    if not offset[0] <= section.at_offset <= offset[-1]:
        raise DataError(
            f"object.aperture.at_offset: expected {offset[0]:g} to {offset[-1]:g} arcsec, "
            f"got {section.at_offset}"
        )
    # The fibre offset is a property of the instrument, so its axis goes away here, once.
    position = np.interp(section.at_offset, offset, np.arange(offset.size))
    below = min(int(position), offset.size - 2)
    share = position - below
    return ApertureTable(axes[1], axes[2], axes[3], (1 - share) * values[below] + share * values[below + 1])
