"""Counts and noise of a batch of spectra under per-spectrum conditions, as a few matrix products.

Owns the evaluation of the count formula (docs/instrument.md). The formula is rearranged, not approximated:
everything that depends on wavelength and conditions is a sum of (scalar of the conditions) x (vector over
pixels), so that the response to the star and the sky counts are each one small matrix product. The only
series is that of the extinction, exp(-k y), whose order is chosen for 1e-6.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from specvit.errors import DataError
from specvit.instrument.conditions import CONDITIONS
from specvit.instrument.counts import ARCSEC_PER_MICRON_AT_1M, CountTables
from specvit.instrument.schema import DetectorSection

#: Relative error allowed to the series of the extinction, over the whole range of zenith angles.
SERIES_TOLERANCE = 1e-6

MAG_TO_EXPONENT = 0.4 * math.log(10.0)  # flux factor of 1 mag is exp(-0.921)
SKY_LINE_MAG = 1.086  # the calculator rounds 2.5/ln 10 in the extinction of sky lines
VAN_RHIJN = 0.96  # (R_earth / (R_earth + h_airglow))²; Krisciunas & Schaefer 1991, PASP 103, 1033


class _Series:
    """exp(-k(λ) y) = Σ_p coefficient_p(y) basis_p(λ), for a range of y."""

    def __init__(self, extinction: np.ndarray, low: float, high: float) -> None:
        # Expanded about the middle of the range and about a grey mean extinction: both offsets are then as
        # small as they can be, and few terms are enough.
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
        powers = [torch.exp(self.k0 * step)]
        for _ in range(1, self.terms):
            powers.append(powers[-1] * step)
        return torch.stack(powers, dim=1)


@dataclass(frozen=True)
class NoiseMultipliers:
    """The conditions of B spectra as the count formula uses them: what multiplies its tables.

    Args:
        response: of the rows of `NoiseModel.response_table`, shape (B, rows).
        sky: of the rows of `NoiseModel.sky_table`, for all exposures together, shape (B, rows).
        constant: variance that does not depend on the sky of the pixel, e², shape (B,); with several detectors
            shape (B, L).
    """

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

    def sigma(self, flux: Tensor, out: Tensor | None = None) -> Tensor:
        """Return 1 σ in units of band-normalised flux, shape (B, L), of flux (B, L).

        σ = sqrt(n (N_obj + V)) / (n N_obj / flux): n exposures of N_obj electrons of the star and variance V
        of everything else.

        Args:
            flux: shape (B, L).
            out: overwritten with the result, if given; it may be `flux` itself.
        """
        root = torch.addcmul(self.variance, flux, self.response, out=out).sqrt_()
        return torch.div(root, self.response, out=out)

    def inverse_sigma(self, flux: Tensor) -> Tensor:
        """Return 1 / `sigma(flux)`, shape (B, L)."""
        # A root and a division: on a CPU PyTorch's rsqrt takes longer than the two.
        root = torch.addcmul(self.variance, flux, self.response).sqrt_()
        return torch.div(self.response, root, out=root)


class NoiseModel(nn.Module):
    """The count formula of one instrument.

    Args:
        whole: the instrument's numbers, those of pixels that are not used too: their sky scatters as that of the others.
        flux_ab0: F_λ of an AB = 0 source at the band's pivot wavelength, erg/s/cm²/Å.
        segments: the pixels of each piece without a gap, in order; beyond its ends a piece has no neighbours.
        used: which pixels are used, shape (L_whole,); None: all.

    Flux is band-normalised throughout: F_λ = flux · 10^(-0.4 mag) · flux_ab0.
    """

    detector_of_pixel: Tensor
    sky_columns: Tensor

    def __init__(
        self,
        whole: CountTables,
        flux_ab0: float,
        segments: Sequence[slice],
        used: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        used = np.ones(whole.background.size, bool) if used is None else used
        tables, pieces = whole.take(used), _pieces(segments, used)
        ends = np.cumsum([0, *(own.size for own, _ in pieces)]).tolist()
        self.segments = tuple(slice(a, b) for a, b in pairwise(ends))
        self.detectors, self.flux_ab0 = tables.detectors, flux_ab0
        # Of what is the same for all arms the first one knows.
        self.detector = tables.detectors[0]
        self._obscuration, self._solid_angle = tables.obscuration, tables.solid_angle
        self._fibre_radius_um, self._line_airmass = tables.fibre_radius_um, tables.line_airmass
        self._moon_extinction = tables.moon_extinction
        # The order of the series must do for every zenith angle that can be asked for, not only for those
        # this instrument draws.
        highest = math.radians(CONDITIONS["zenith_angle"][2])
        # Two airmasses: sec z for light that crosses the whole atmosphere, van Rhijn's for the glow of a thin
        # layer high up.
        slant, airmass = 1 / math.cos(highest), 1 / math.sqrt(1 - VAN_RHIJN * math.sin(highest) ** 2)
        exponent = MAG_TO_EXPONENT * whole.object_extinction
        self._object_series = _Series(exponent, 1.0, slant)
        self._line_series = _Series(whole.sky_extinction / SKY_LINE_MAG, 1.0, airmass)
        self._continuum_series = _Series(MAG_TO_EXPONENT * whole.sky_extinction, 1.0, slant)

        aperture = tables.aperture
        hats = _hats_over(tables.object_wavelength, aperture.wavelength)
        response = hats[:, None] * (self._object_series.basis[:, used] * tables.object_electrons)[None]
        sky = [
            self._line_series.basis * whole.sky_lines,
            self._continuum_series.basis * whole.sky_continuum,
            _increments(whole.sky_moon),
            whole.background[None],
        ]
        by_seeing_and_field = _increments(_increments(aperture.values, axis=0), axis=1)
        rates = np.concatenate(sky)
        constants = {
            "response": response.reshape(-1, response.shape[-1]),
            # Padded once here instead of in every batch; see `sky_table`.
            "sky": rates[:, np.concatenate([around for _, around in pieces])],
            "sky_mean": np.ascontiguousarray(rates[:, np.isin(whole.detector, whole.detector[used])]).mean(
                axis=1
            ),
            "seeing": aperture.seeing,
            "field_angle": aperture.field_angle,
            "aperture": by_seeing_and_field.reshape(aperture.seeing.size, -1),
            "moon_phase": tables.moon_phase,
            "vignetting_angle": tables.vignetting[0],
            "vignetting": _increments(tables.vignetting[1]),
            "focal_angle": tables.focal_length[0],
            "focal_length": _increments(tables.focal_length[1]),
        }
        if len(tables.detectors) > 1:
            on = [whole.detector == k for k in np.unique(whole.detector[used])]
            constants["sky_mean"] = np.stack([rates[:, pixels].mean(axis=1) for pixels in on], axis=1)
            self.register_buffer("detector_of_pixel", torch.from_numpy(tables.detector), persistent=False)
        if len(self.segments) > 1:
            columns = [np.arange(s.start, s.stop) + 2 * k + 1 for k, s in enumerate(self.segments)]
            self.register_buffer("sky_columns", torch.from_numpy(np.concatenate(columns)), persistent=False)
        for name, values in constants.items():
            values = np.ascontiguousarray(values, dtype=np.float64)
            self.register_buffer(f"{name}_64", torch.from_numpy(values), persistent=False)
            self.register_buffer(f"{name}_32", torch.from_numpy(values.astype(np.float32)), persistent=False)

    def sky_counts(self, conditions: dict[str, Tensor]) -> Tensor:
        """Return sky electrons per pixel in one exposure, shape (B, L)."""
        scale = self.detector.variance_factor * conditions["exposure_count"]
        sky = self.multipliers(conditions, conditions["mag"].dtype).sky / scale[:, None]
        return self._own(sky @ self.sky_table(conditions["mag"].dtype))

    def terms(self, conditions: Mapping[str, Tensor], dtype: torch.dtype) -> NoiseTerms:
        """Return what the noise of any flux under these conditions is made of.

        Raises:
            DataError: for another precision than float32 or float64: rounding of bfloat16 exceeds the noise.
        """
        multipliers = self.multipliers(conditions, dtype)
        return self.combine(
            multipliers.response @ self.response_table(dtype),
            multipliers.sky @ self.sky_table(dtype),
            multipliers.constant,
        )

    def response_table(self, dtype: torch.dtype) -> Tensor:
        """Return the rows that make up the response to the star, shape (rows, L)."""
        return self._constant("response", dtype)

    def sky_table(self, dtype: torch.dtype) -> Tensor:
        """Return the rows that make up the sky, shape (rows, L + 2 S): first and last pixel of each segment come twice.

        So every pixel has two neighbours, none of them across a gap, and their maximum needs no special cases.
        """
        return self._constant("sky", dtype)

    def _own(self, sky: Tensor) -> Tensor:
        """Return the columns of the L pixels of (B, L + 2 S): of a single segment a view."""
        return sky[:, 1:-1] if len(self.segments) == 1 else sky[:, self.sky_columns]

    @property
    def floor_factor(self) -> float:
        """What the square of the largest of three neighbours of `sky` adds to the variance is multiplied by."""
        return self.detector.sky_floor**2 / self.detector.variance_factor

    def combine(
        self, response: Tensor, sky: Tensor, constant: Tensor, work: Tensor | None = None
    ) -> NoiseTerms:
        """Return the noise terms of finished products, for callers that make the products themselves.

        The sky's own noise comes with the floor that sky subtraction leaves, (floor · n · N_max)²: as
        `sky` = variance_factor · n · N_sky, its square times a constant.

        Args:
            response: multipliers.response @ response_table, shape (B, L).
            sky: multipliers.sky @ sky_table, shape (B, L + 2 S).
            constant: multipliers.constant, shape (B,) or (B, L).
            work: shape (B, L), to be overwritten; then `sky` may be too. Only where no gradient is wanted.
        """
        own = self._own(sky)
        constant = constant[:, None] if constant.ndim == 1 else constant
        out = None if work is None else own
        if self.floor_factor == 0:
            return NoiseTerms(response, torch.add(own, constant, out=out))
        if len(self.segments) == 1:
            largest = _neighbour_maximum(sky, work)
        else:
            largest = _neighbour_maximum(sky)[:, self.sky_columns - 1]
        variance = torch.addcmul(own, largest, largest, value=self.floor_factor, out=out)
        return NoiseTerms(response, variance.add_(constant))

    def multipliers(self, conditions: Mapping[str, Tensor], dtype: torch.dtype) -> NoiseMultipliers:
        """Return what multiplies the tables under conditions, name -> shape (B,), for all exposures together.

        Raises:
            DataError: for another precision than float32 or float64.
        """
        if dtype not in (torch.float32, torch.float64):
            raise DataError(f"noise: expected flux in float32 or float64, got {dtype}")
        c = {name: value.to(dtype) for name, value in conditions.items()}
        d, angle = self.detector, torch.deg2rad(c["zenith_angle"])
        slant, airmass = 1 / torch.cos(angle), torch.rsqrt(1 - VAN_RHIJN * torch.sin(angle) ** 2)
        transmission = self._field_transmission(c["field_angle"])
        # The calculator's factor multiplies all but the star's own photon noise.
        scale = d.variance_factor * c["exposure_count"]
        rates = self._sky_rates(c, transmission, slant, airmass)
        sky = rates * (scale * c["exposure_time"])[:, None]
        # The mean over pixels is linear in the rows: no pass over the pixels is needed for it.
        mean = sky @ self._constant("sky_mean", dtype)
        response = self._response_rows(c, transmission, slant)
        if len(self.detectors) == 1:
            return NoiseMultipliers(response, sky, self._own_variance(d, mean, scale, c["exposure_time"]))
        each = [
            self._own_variance(detector, mean[:, k], scale, c["exposure_time"])
            for k, detector in enumerate(self.detectors)
        ]
        return NoiseMultipliers(response, sky, torch.stack(each, dim=1)[:, self.detector_of_pixel])

    @staticmethod
    def _own_variance(d: DetectorSection, sky: Tensor, scale: Tensor, time: Tensor) -> Tensor:
        """Return the variance of read noise, dark current and the light scattered from a mean `sky`, shape (B,)."""
        return sky * (d.stray * d.width / d.trace_pitch_pix) + scale * d.width * (
            d.dark * time + d.read_noise**2
        )

    def _sky_rates(
        self, c: dict[str, Tensor], transmission: Tensor, slant: Tensor, airmass: Tensor
    ) -> Tensor:
        """Return the multipliers of the rows of `sky`, electrons per second, shape (B, rows)."""
        grasp = transmission * self._solid_angle_of(c["field_angle"])
        lines = self._line_series.coefficients(airmass) * (grasp * airmass / self._line_airmass)[:, None]
        continuum = self._continuum_series.coefficients(slant) * (grasp * airmass)[:, None]
        # Moonlight is what the atmosphere scatters, so it grows with what extinction takes away.
        moonlight = grasp * (1 - torch.exp(-MAG_TO_EXPONENT * self._moon_extinction * airmass))
        moon = _rises(c["moon"], self._constant("moon_phase", c["moon"].dtype)) * moonlight[:, None]
        return torch.cat([lines, continuum, moon, torch.ones_like(moonlight)[:, None]], 1)

    def _response_rows(self, c: dict[str, Tensor], transmission: Tensor, slant: Tensor) -> Tensor:
        """Return the multipliers of the rows of `response`, shape (B, wavelength nodes · terms)."""
        dtype = c["mag"].dtype
        seeing = _rises(c["seeing"], self._constant("seeing", dtype))
        field = _rises(c["field_angle"], self._constant("field_angle", dtype))
        by_field = (seeing @ self._constant("aperture", dtype)).view(len(seeing), field.shape[1], -1)
        fraction = (field[:, :, None] * by_field).sum(1)
        flux = self.flux_ab0 * torch.exp(-MAG_TO_EXPONENT * c["mag"])
        scale = flux * c["exposure_time"] * c["exposure_count"] * transmission
        extinction = self._object_series.coefficients(slant) * scale[:, None]
        return (fraction[:, :, None] * extinction[:, None, :]).flatten(1)

    def _field_transmission(self, angle: Tensor) -> Tensor:
        rises = _rises(angle, self._constant("vignetting_angle", angle.dtype))
        transmission = rises @ self._constant("vignetting", angle.dtype)
        if self._obscuration is None:
            return transmission
        o = self._obscuration
        lost = o.centre + (o.edge - o.centre) / o.edge_field_angle * angle
        return transmission * (1 - lost) / o.reference

    def _solid_angle_of(self, angle: Tensor) -> Tensor:
        if self._solid_angle is not None:
            return torch.full_like(angle, self._solid_angle)
        rises = _rises(angle, self._constant("focal_angle", angle.dtype))
        focal_length = rises @ self._constant("focal_length", angle.dtype)
        return math.pi * (ARCSEC_PER_MICRON_AT_1M * self._fibre_radius_um / focal_length) ** 2

    def _constant(self, name: str, dtype: torch.dtype) -> Tensor:
        """Return a constant in `dtype`; both precisions are kept so that neither loses digits."""
        constant: Tensor = getattr(self, f"{name}_64" if dtype == torch.float64 else f"{name}_32")
        return constant.to(dtype)


def _pieces(segments: Sequence[slice], used: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the used pixels of each piece without a gap, and the same with a neighbour on both sides.

    The neighbour of a pixel at the end of a segment is the pixel itself; that of one beside pixels that are not used is
    one of those.
    """
    found = []
    for segment in segments:
        inside = np.flatnonzero(used[segment]) + segment.start
        for own in np.split(inside, np.flatnonzero(np.diff(inside) > 1) + 1):
            if own.size:
                ends = [max(own[0] - 1, segment.start)], [min(own[-1] + 1, segment.stop - 1)]
                found.append((own, np.concatenate([ends[0], own, ends[1]])))
    return found


def _neighbour_maximum(values: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the maximum over each pixel and its neighbours, shape (B, L), of values (B, L + 2)."""
    if out is None or torch.compiler.is_compiling():
        return torch.maximum(torch.maximum(values[:, :-2], values[:, 2:]), values[:, 1:-1])
    # NumPy's call costs a third of PyTorch's.
    given, largest = values.numpy(), out.numpy()
    np.maximum(given[:, :-2], given[:, 2:], out=largest)
    np.maximum(largest, given[:, 1:-1], out=largest)
    return out


def _rises(x: Tensor, nodes: Tensor) -> Tensor:
    """Return 1 and the share of each interval between `nodes` (N,) that x (B,) has passed, shape (B, N).

    Times `_increments` of a table this is linear interpolation, constant beyond the ends. No nodes (the
    instrument has no such table): shape (B, 0).
    """
    x = x[:, None]
    if nodes.numel() <= 1:
        return x.new_ones(x.shape[0], nodes.numel())
    passed = (x - nodes[:-1]).div_(nodes[1:] - nodes[:-1]).clamp_(0, 1)
    return torch.cat([torch.ones_like(x), passed], 1)


def _increments(table: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the first entry of a table and the differences between successive ones, same shape."""
    return np.concatenate([table.take([0], axis), np.diff(table, axis=axis)], axis) if table.size else table


def _hats_over(wavelength: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Return the interpolation weights at L wavelengths on N nodes, shape (N, L); constant beyond."""
    position = np.interp(wavelength, nodes, np.arange(nodes.size))
    hats: np.ndarray = (1 - np.abs(position - np.arange(nodes.size)[:, None])).clip(0)
    return hats
