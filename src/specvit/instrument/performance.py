"""What a spectrograph does to a flat-AB source: counts and S/N per pixel, and the exposures an S/N takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from specvit.errors import ConfigError
from specvit.instrument.conditions import CONDITIONS
from specvit.instrument.counts import AB0_ERG_A, CM2_PER_M2, HC_ERG_A
from specvit.instrument.instrument import Instrument


@dataclass(frozen=True)
class Curves:
    """A flat-AB source as the spectrograph sees it under one set of conditions, per pixel, shape (L,).

    Args:
        effective_area: of everything on the way of the star's light, atmosphere and aperture included, m².
        star, sky: electrons of the star, and variance of everything else, e²; all exposures together.
        sigma: 1 σ, erg/s/cm²/Å; infinite for a dead pixel.
        resolving_power: λ/FWHM, pixel included.
        snr: S/N; 0 for a dead pixel.
    """

    effective_area: np.ndarray
    star: np.ndarray
    sky: np.ndarray
    sigma: np.ndarray
    resolving_power: np.ndarray
    snr: np.ndarray


def curves(instrument: Instrument, conditions: Mapping[str, float]) -> Curves:
    """Return the curves of an instrument under its default conditions with overrides by name."""
    fixed = {name: value.double() for name, value in instrument.fixed_conditions(1, **conditions).items()}
    terms = instrument.noise_terms(fixed, torch.float64)
    flux = torch.from_numpy(instrument.flat_source())[None]
    sigma = terms.sigma(flux)[0].numpy()
    star = (flux * terms.response)[0].numpy()
    at, seconds = instrument.object_wavelength, float(fixed["exposure_time"] * fixed["exposure_count"])
    density = AB0_ERG_A / at**2 * 10 ** (-0.4 * float(fixed["mag"]))
    photons = density * at / HC_ERG_A * CM2_PER_M2 * instrument.grid.width * seconds
    return Curves(
        star / photons,
        star,
        terms.variance[0].numpy(),
        sigma / flux[0].numpy() * density,
        instrument.resolving_power(),
        np.where(instrument.live, flux[0].numpy() / sigma, 0.0),
    )


def exposures_for(instrument: Instrument, snr: float, conditions: Mapping[str, float]) -> float:
    """Return the number of exposures, at least 1, that give a median S/N per pixel of `snr`.

    Of a flat-AB source, over the pixels that are not dead; by bisection, as the S/N rises with the exposures.

    Args:
        instrument: whose noise it is.
        snr: wanted.
        conditions: name -> value, overrides of the defaults; but for `exposure_count`.

    Raises:
        ConfigError: if no number of exposures gives it; names the S/N that can be had.
    """
    if not 0 < snr < math.inf:
        raise ConfigError(f"S/N {snr:g}: expected a number above 0")

    def reached(count: float) -> float:
        seen = curves(instrument, {**conditions, "exposure_count": count})
        return float(np.median(seen.snr[instrument.live]))

    low, high = 1.0, CONDITIONS["exposure_count"][2]
    if reached(low) >= snr:
        return low
    if (most := reached(high)) < snr:
        raise ConfigError(
            f"S/N {snr:g} at magnitude {conditions.get('mag', instrument.conditions.defaults['mag']):g} is out of reach: "
            f"{high:g} exposures give {most:.4g} (the error of the sky subtraction does not average down); ask for at "
            f"most {0.99 * most:.3g}, or for a brighter star"
        )
    while high / low > 1 + 1e-9:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if reached(middle) >= snr else (middle, high)
    return high
