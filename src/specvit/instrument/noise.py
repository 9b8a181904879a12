"""Counts and noise of a batch of spectra under per-spectrum conditions, as a few matrix products.

Owns the evaluation of the count formula (docs/instrument.md). The formula is rearranged, not approximated:
everything that depends on wavelength and conditions is a sum of (scalar of the conditions) x (vector over
pixels), so that the response to the star and the sky counts are each one small matrix product. The only
series is that of the extinction, exp(-k y), whose order is chosen for 1e-6.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from specvit.errors import DataError
from specvit.instrument.conditions import CONDITIONS
from specvit.instrument.counts import ARCSEC_PER_MICRON_AT_1M, CountTables

#: Relative error allowed to the series of the extinction, over the whole range of zenith angles.
SERIES_TOLERANCE = 1e-6

MAG_TO_EXPONENT = 0.4 * math.log(10.0)  # flux factor of 1 mag is exp(-0.921)
SKY_LINE_MAG = 1.086  # the calculator rounds 2.5/ln 10 in the extinction of sky lines
VAN_RHIJN = 0.96  # (R_earth / (R_earth + h_airglow))²; Krisciunas & Schaefer 1991, PASP 103, 1033


class _Series:
    """exp(-k(λ) y) = Σ_p coefficient_p(y) basis_p(λ), for a range of y."""

    def __init__(self, extinction: np.ndarray, low: float, high: float) -> None:
        self.middle = 0.5 * (low + high)
        self.k0 = 0.5 * float(extinction.min() + extinction.max())
        offset = extinction - self.k0
        largest = float(np.abs(offset).max()) * 0.5 * (high - low)
        self.terms = 1
        while largest**self.terms / math.factorial(self.terms) > SERIES_TOLERANCE:
            self.terms += 1
        grey = np.exp(-extinction * self.middle)
        self.basis = np.stack([grey * offset**p / math.factorial(p) for p in range(self.terms)])

    def coefficients(self, y: Tensor) -> Tensor:
        """Return shape (B, terms) for y of shape (B,)."""
        step = self.middle - y
        grey = torch.exp(self.k0 * step)
        return torch.stack([grey * step**p for p in range(self.terms)], dim=1)


@dataclass(frozen=True)
class _Multipliers:
    """Per spectrum: multipliers of the response and sky rows, and the variance equal in all pixels (B,)."""

    response: Tensor
    sky: Tensor
    constant: Tensor


@dataclass(frozen=True)
class NoiseTerms:
    """The noise of B spectra as a function of their flux.

    Args:
        response: the star's electrons in all exposures per unit of band-normalised flux, shape (B, L).
        variance: of everything but the star, in all exposures together, e², shape (B, L).
    """

    response: Tensor
    variance: Tensor

    def sigma(self, flux: Tensor) -> Tensor:
        """Return 1 σ in units of band-normalised flux, shape (B, L), of flux (B, L).

        σ = sqrt(n (N_obj + V)) / (n N_obj / flux): n exposures of N_obj electrons of the star and variance V
        of everything else.
        """
        return torch.addcmul(self.variance, flux, self.response).sqrt_() / self.response


class NoiseModel(nn.Module):
    """The count formula of one instrument.

    Args:
        tables: the instrument's numbers.
        flux_ab0: F_λ of an AB = 0 source at the band's pivot wavelength, erg/s/cm²/Å.

    Flux is band-normalised throughout: F_λ = flux · 10^(-0.4 mag) · flux_ab0.
    """

    def __init__(self, tables: CountTables, flux_ab0: float) -> None:
        super().__init__()
        self.detector, self.flux_ab0 = tables.detector, flux_ab0
        self._obscuration, self._solid_angle = tables.obscuration, tables.solid_angle
        self._fibre_radius_um, self._line_airmass = tables.fibre_radius_um, tables.line_airmass
        self._moon_extinction = tables.moon_extinction
        highest = math.radians(CONDITIONS["zenith_angle"][2])
        slant, airmass = 1 / math.cos(highest), 1 / math.sqrt(1 - VAN_RHIJN * math.sin(highest) ** 2)
        exponent = MAG_TO_EXPONENT * tables.object_extinction
        self._object_series = _Series(exponent, 1.0, slant)
        self._line_series = _Series(tables.sky_extinction / SKY_LINE_MAG, 1.0, airmass)
        self._continuum_series = _Series(MAG_TO_EXPONENT * tables.sky_extinction, 1.0, slant)

        aperture = tables.aperture
        hats = _hats_over(tables.object_wavelength, aperture.wavelength)
        response = hats[:, None] * (self._object_series.basis * tables.object_electrons)[None]
        sky = [
            self._line_series.basis * tables.sky_lines,
            self._continuum_series.basis * tables.sky_continuum,
            tables.sky_moon,
            tables.background[None],
        ]
        constants = {
            "response": response.reshape(-1, response.shape[-1]),
            "sky": np.concatenate(sky),
            "sky_mean": np.concatenate(sky).mean(axis=1),
            "seeing": aperture.seeing,
            "field_angle": aperture.field_angle,
            "aperture": aperture.values,
            "moon_phase": tables.moon_phase,
            "vignetting_angle": tables.vignetting[0],
            "vignetting": tables.vignetting[1],
            "focal_angle": tables.focal_length[0],
            "focal_length": tables.focal_length[1],
        }
        for name, values in constants.items():
            values = np.ascontiguousarray(values, dtype=np.float64)
            self.register_buffer(f"{name}_64", torch.from_numpy(values), persistent=False)
            self.register_buffer(f"{name}_32", torch.from_numpy(values.astype(np.float32)), persistent=False)

    def sky_counts(self, conditions: dict[str, Tensor]) -> Tensor:
        """Return sky electrons per pixel in one exposure, shape (B, L)."""
        scale = self.detector.variance_factor * conditions["exposure_count"]
        sky = self._multipliers(conditions).sky / scale[:, None]
        return sky @ self._constant("sky", conditions["mag"].dtype)

    def terms(self, conditions: Mapping[str, Tensor], dtype: torch.dtype) -> NoiseTerms:
        """Return what the noise of any flux under these conditions is made of.

        Raises:
            DataError: for another precision than float32 or float64: rounding of bfloat16 exceeds the noise.
        """
        if dtype not in (torch.float32, torch.float64):
            raise DataError(f"noise: expected flux in float32 or float64, got {dtype}")
        multipliers = self._multipliers({name: value.to(dtype) for name, value in conditions.items()})
        sky = multipliers.sky @ self._constant("sky", dtype)
        return NoiseTerms(
            multipliers.response @ self._constant("response", dtype),
            self._with_floor(sky) + multipliers.constant[:, None],
        )

    def _with_floor(self, sky: Tensor) -> Tensor:
        """Return sky variance plus the sky-subtraction floor (floor · n · N_max)², given the sky variance.

        `sky` = variance_factor · n · N_sky, so that the floor term is its square times a constant.
        """
        if self.detector.sky_floor == 0:
            return sky
        largest = _neighbour_maximum(sky)
        return torch.addcmul(
            sky, largest, largest, value=self.detector.sky_floor**2 / self.detector.variance_factor
        )

    def _multipliers(self, c: dict[str, Tensor]) -> _Multipliers:
        """Return what multiplies the rows of the tables, for all exposures together."""
        d, dtype = self.detector, c["mag"].dtype
        scale = d.variance_factor * c["exposure_count"]
        sky = self._sky_coefficients(c) * (scale * c["exposure_time"])[:, None]
        stray = (sky @ self._constant("sky_mean", dtype)) * (d.stray * d.width / d.trace_pitch_pix)
        constant = stray + scale * d.width * (d.dark * c["exposure_time"] + d.read_noise**2)
        return _Multipliers(self._response_coefficients(c), sky, constant)

    def _sky_coefficients(self, c: dict[str, Tensor]) -> Tensor:
        """Return the multipliers of the rows of `sky`, electrons per second, shape (B, rows)."""
        angle = torch.deg2rad(c["zenith_angle"])
        airmass = torch.rsqrt(1 - VAN_RHIJN * torch.sin(angle) ** 2)
        grasp = (self._field_transmission(c) * self._solid_angle_of(c))[:, None]
        lines = self._line_series.coefficients(airmass) * (airmass / self._line_airmass)[:, None]
        continuum = self._continuum_series.coefficients(1 / torch.cos(angle)) * airmass[:, None]
        moonlight = 1 - torch.exp(-MAG_TO_EXPONENT * self._moon_extinction * airmass)
        moon = _hats(c["moon"], self._constant("moon_phase", c["mag"].dtype)) * moonlight[:, None]
        return torch.cat([grasp * torch.cat([lines, continuum, moon], 1), torch.ones_like(grasp)], 1)

    def _response_coefficients(self, c: dict[str, Tensor]) -> Tensor:
        """Return the multipliers of the rows of `response`, shape (B, wavelength nodes · terms)."""
        dtype = c["mag"].dtype
        seeing = _hats(c["seeing"], self._constant("seeing", dtype))
        field = _hats(c["field_angle"], self._constant("field_angle", dtype))
        table = self._constant("aperture", dtype)
        by_field = (seeing @ table.flatten(1)).view(-1, *table.shape[1:])
        fraction = torch.einsum("bf,bfw->bw", field, by_field)
        extinction = self._object_series.coefficients(1 / torch.cos(torch.deg2rad(c["zenith_angle"])))
        flux = self.flux_ab0 * torch.exp(-MAG_TO_EXPONENT * c["mag"])
        scale = flux * c["exposure_time"] * c["exposure_count"] * self._field_transmission(c)
        return (fraction[:, :, None] * (extinction * scale[:, None])[:, None, :]).flatten(1)

    def _field_transmission(self, c: dict[str, Tensor]) -> Tensor:
        angle = c["field_angle"]
        hats = _hats(angle, self._constant("vignetting_angle", angle.dtype))
        transmission = hats @ self._constant("vignetting", angle.dtype)
        if self._obscuration is None:
            return transmission
        o = self._obscuration
        lost = o.centre + (o.edge - o.centre) / o.edge_field_angle * angle
        return transmission * (1 - lost) / o.reference

    def _solid_angle_of(self, c: dict[str, Tensor]) -> Tensor:
        angle = c["field_angle"]
        if self._solid_angle is not None:
            return torch.full_like(angle, self._solid_angle)
        hats = _hats(angle, self._constant("focal_angle", angle.dtype))
        focal_length = hats @ self._constant("focal_length", angle.dtype)
        return math.pi * (ARCSEC_PER_MICRON_AT_1M * self._fibre_radius_um / focal_length) ** 2

    def _constant(self, name: str, dtype: torch.dtype) -> Tensor:
        """Return a constant in `dtype`; both precisions are kept so that neither loses digits."""
        return getattr(self, f"{name}_64" if dtype == torch.float64 else f"{name}_32").to(dtype)


def _neighbour_maximum(values: Tensor) -> Tensor:
    """Return the maximum over each pixel and its two neighbours, shape of `values`."""
    pairs = torch.maximum(values[:, 1:], values[:, :-1])
    inner = torch.maximum(pairs[:, 1:], pairs[:, :-1])
    return torch.cat([pairs[:, :1], inner, pairs[:, -1:]], dim=1)


def _hats(x: Tensor, nodes: Tensor) -> Tensor:
    """Return the weights of linear interpolation at x (B,) on `nodes` (N,), shape (B, N); constant beyond."""
    if nodes.numel() <= 1:
        return x.new_ones(x.shape[0], nodes.numel())
    x = x.clamp(nodes[0], nodes[-1])[:, None]
    rise = (x - nodes[:-1]) / (nodes[1:] - nodes[:-1])
    rise = rise.clamp(0, 1)
    one = torch.ones_like(x)
    # Node i gains weight over the interval before it and loses it over the interval after.
    return torch.cat([one, rise], 1) - torch.cat([rise, torch.zeros_like(x)], 1)


def _hats_over(wavelength: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Return the interpolation weights at L wavelengths on N nodes, shape (N, L); constant beyond."""
    position = np.interp(wavelength, nodes, np.arange(nodes.size))
    return (1 - np.abs(position - np.arange(nodes.size)[:, None])).clip(0)
