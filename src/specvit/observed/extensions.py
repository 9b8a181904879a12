"""Image extensions beside the flux: errors, masks and wavelengths, known by their names and sizes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from specvit.errors import DataError
from specvit.observed.columns import bad_pixels, role_of
from specvit.observed.hdus import card, chosen_hdu
from specvit.observed.spectrum import RawSpectrum

#: Names of extensions -> what they hold, without the words that say of what.
ERROR_HDUS = {
    **dict.fromkeys(("SIGMA", "SIG", "ERROR", "ERRORS", "ERR", "ERRS", "UNCERT", "UNCERTAINTY"), "sigma"),
    **dict.fromkeys(("UNC", "NOISE", "STDDEV", "STDEV", "STD", "RMS", "FLUXERR", "SPECERR"), "sigma"),
    **dict.fromkeys(("STAT", "VARIANCE", "VAR"), "variance"),
    **dict.fromkeys(("IVAR", "INVVAR"), "ivar"),
}
#: Names of extensions that flag bad pixels.
MASK_HDUS = ("QUAL", "QUALITY", "DQ", "MASK", "BPM", "BADPIX", "FLAG", "FLAGS")
#: Names of the extension with the flux.
FLUX_HDUS = ("FLUX", "DATA", "SCI", "SPECTRUM")
_OF_WHAT = {"FLUX", "SPEC", "SPECTRUM", "SCI", "DATA"}


def _kind(hdu: Any) -> str | None:
    """Return what an extension holds by its name: sigma, variance, ivar, mask, wavelength, or None."""
    name = hdu.name.upper()
    core = "_".join(word for word in re.split(r"[\s_-]+", name) if word not in _OF_WHAT)
    if name in ERROR_HDUS or core in ERROR_HDUS:
        return ERROR_HDUS.get(name) or ERROR_HDUS[core]
    if core in MASK_HDUS:
        return "mask"
    return "wavelength" if role_of(name) == "wavelength" else None


def _images(hdus: Any) -> list[Any]:
    """Return the HDUs that are images with pixels."""
    return [hdu for hdu in hdus if getattr(hdu, "is_image", False) and card(hdu.header, "NAXIS", 0)]


def find_image(hdus: Any, wanted: str | None, source: str) -> Any:
    """Return the image that holds the flux: the one asked for, the one so called, or the first of no other name."""
    if wanted is not None:
        return chosen_hdu(hdus, wanted, source)
    images = _images(hdus)
    named = [hdu for hdu in images if hdu.name.upper() in FLUX_HDUS]
    first = next(iter(named + [hdu for hdu in images if _kind(hdu) is None] + images), None)
    if first is None:
        raise DataError(f"{source}: holds no image and no table with pixels; this is no spectrum")
    return first


def _shape(hdu: Any) -> tuple[int, ...]:
    """Return the shape without axes of one pixel; asks the header alone."""
    return tuple(size for size in hdu.shape if size > 1)


def _row_of(hdu: Any, row: int) -> np.ndarray:
    """Return one row of an image, or all of one that has a single row."""
    data = np.asarray(hdu.data).reshape(_shape(hdu))
    return data if data.ndim == 1 else data[row]


def wavelength_image(hdus: Any, flux: Any) -> Any:
    """Return the extension with the wavelengths of every pixel of `flux`, None if there is none of its size."""
    shape = _shape(flux)
    found = (hdu for hdu in _images(hdus) if hdu is not flux and _kind(hdu) == "wavelength")
    return next((hdu for hdu in found if _shape(hdu) in (shape, shape[-1:])), None)


def wavelengths_of(hdu: Any, row: int) -> np.ndarray:
    """Return the wavelengths of a row of the flux, shape (L,), float64, in the extension's own unit."""
    return np.asarray(_row_of(hdu, row), dtype=np.float64)


def set_errors(raw: RawSpectrum, hdus: Any, flux: Any, row: int) -> None:
    """Put the errors of a row of `flux` into `raw`, or the names of extensions that may be such."""
    unknown = []
    # Bands of IRAF's are one spectrum, which may have one row of errors.
    sizes = (_shape(flux), _shape(flux)[-1:]) if len(flux.shape) == 3 else (_shape(flux),)
    images = _images(hdus)
    for number, hdu in enumerate(hdus):
        if hdu is flux or hdu not in images or _shape(hdu) not in sizes:
            continue
        kind = _kind(hdu)
        if kind is None:
            unknown.append(f"HDU {number} {hdu.name}".strip())
        if kind not in ("sigma", "variance", "ivar"):
            continue
        values = np.asarray(_row_of(hdu, row), dtype=np.float64)
        if kind == "ivar":
            raw.ivar = values
        else:
            raw.sigma = np.sqrt(values.clip(0)) if kind == "variance" else values
    if unknown:
        raw.no_errors = f"no extension is called like errors (of the spectrum's size is {', '.join(unknown)})"


def set_bad(raw: RawSpectrum, hdus: Any, flux: Any, row: int) -> None:
    """Take the pixels that an extension flags out of a row of `flux`."""
    for hdu in _images(hdus):
        if hdu is flux or _kind(hdu) != "mask" or _shape(hdu) not in (_shape(flux), _shape(flux)[-1:]):
            continue
        error = raw.sigma if raw.sigma is not None else raw.ivar
        dead = ~(np.ones(raw.flux.size) > 0 if error is None else error > 0)
        raw.bad = bad_pixels(_row_of(hdu, row) != 0, dead, f"extension {hdu.name}", raw.notes)
