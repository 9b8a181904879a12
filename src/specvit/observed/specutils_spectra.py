"""Spectra of astropy's specutils, taken by what they have (`spectral_axis`, `flux`, `uncertainty`, `mask`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from specvit.errors import DataError
from specvit.observed.spectrum import Medium, ObservedSpectrum, RawSpectrum, checked_spectrum

#: astropy.nddata's kinds of uncertainty -> exponent that makes σ of them.
_EXPONENTS = {"std": 1.0, "var": 0.5, "ivar": -0.5}


def from_specutils(
    spectrum: Any, name: str = "spectrum", medium: Medium | None = None, resolution: float | None = None
) -> ObservedSpectrum:
    """Return the spectrum of a `specutils.Spectrum` (or `Spectrum1D`), or of anything that has the same attributes.

    Args:
        spectrum: with `spectral_axis` (a quantity with a unit of length), `flux`, and perhaps `uncertainty` with
            `uncertainty_type` and `array`, `mask` (true where bad) and `meta`; one axis.
        name: of the star.
        medium: "air" or "vacuum"; specutils does not say, so air is assumed.
        resolution: λ/FWHM; else three pixels per FWHM are assumed.

    Raises:
        DataError: if it has no such attributes, more than one axis, or an unknown kind of uncertainty.
    """
    try:
        wavelength = np.asarray(spectrum.spectral_axis.to("Angstrom").value, dtype=np.float64)
        flux = np.asarray(getattr(spectrum.flux, "value", spectrum.flux), dtype=np.float64)
    except Exception as error:
        raise DataError(
            f"{name}: expected spectral_axis with a unit of length and flux, as specutils has them ({error})"
        ) from error
    if flux.ndim != 1:
        raise DataError(
            f"{name}: expected one spectrum, got flux of shape {flux.shape}; give its rows one by one"
        )
    raw = RawSpectrum(name, "specutils", wavelength, flux)
    uncertainty = getattr(spectrum, "uncertainty", None)
    if uncertainty is not None:
        kind = getattr(uncertainty, "uncertainty_type", "unknown")
        if kind not in _EXPONENTS:
            raise DataError(f"{name}: uncertainty of type '{kind}'; expected {', '.join(_EXPONENTS)}")
        array = np.asarray(getattr(uncertainty.array, "value", uncertainty.array), dtype=np.float64)
        with np.errstate(all="ignore"):
            raw.sigma = np.where(array > 0, np.abs(array) ** _EXPONENTS[kind], 0.0)
    if getattr(spectrum, "mask", None) is not None:
        raw.bad = np.asarray(spectrum.mask, dtype=bool)
    return checked_spectrum(raw, name, medium, resolution)
