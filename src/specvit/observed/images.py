"""Spectra in FITS images: one-dimensional world coordinates (linear and logarithmic), and IRAF's many orders.

Source of the conventions: Greisen, Calabretta, Valdes & Allen 2006, A&A 446, 747 (FITS paper III: CTYPE, -LOG);
Valdes 1993, ASP Conf. 52, 467 (IRAF: equispec, multispec, DC-FLAG).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev, legendre

from specvit.errors import DataError
from specvit.observed.columns import bad_pixels
from specvit.observed.hdus import card, find_image
from specvit.observed.noise import estimated_sigma
from specvit.observed.request import Request
from specvit.observed.spectrum import MOST_PIXELS, RawSpectrum
from specvit.observed.survey import facts_of, frame_of, library_of, set_site, star_name, stated_fwhm
from specvit.observed.units import set_medium, to_angstrom

#: Names of extensions that hold errors -> what they hold.
ERROR_HDUS = {
    **dict.fromkeys(("SIGMA", "ERROR", "ERR", "ERRS", "UNCERT", "UNCERTAINTY", "NOISE", "STDDEV"), "sigma"),
    **dict.fromkeys(("STAT", "VARIANCE", "VAR"), "variance"),
    **dict.fromkeys(("IVAR", "INVVAR"), "ivar"),
}
#: Names of extensions that flag bad pixels.
MASK_HDUS = ("QUAL", "DQ", "MASK", "BPM", "BADPIX")
#: Kinds of axes that are no wavelength.
OTHER_AXES = (
    "FREQ",
    "ENER",
    "WAVN",
    "VELO",
    "VRAD",
    "VOPT",
    "ZOPT",
    "BETA",
    "FELO",
    "RA-",
    "DEC",
    "GLON",
    "GLAT",
)
#: Bands of IRAF's `apall`: the optimal extraction is the first, its error the fourth.
IRAF_SIGMA_BAND = 3
#: Order of the polynomial that an echelle order is divided by before orders are joined.
BLAZE_ORDER = 4


def read_wcs(hdus: Any, request: Request) -> Iterator[RawSpectrum]:
    """Yield the spectrum of an image whose wavelengths are in the header."""
    source, options = request.source, request.options
    hdu = find_image(hdus, options.hdu, source)
    shape = tuple(hdu.shape)
    # Before any pixel is read: a cube may be larger than the memory.
    if (
        len(shape) > 3
        or (len(shape) == 3 and shape[1] > 1)
        or (len(shape) == 2 and shape[0] > 5)
        or shape[-1] > MOST_PIXELS
    ):
        raise DataError(
            f"{source}: HDU {hdu.name or 'PRIMARY'} is an image of shape {shape}, not one spectrum; "
            "extract the spectrum, or choose another HDU with --hdu"
        )
    data = np.asarray(hdu.data, dtype=np.float64)
    bands = data.reshape(-1, data.shape[-1])
    # Keywords of the primary header count for extensions too, unless these say otherwise.
    header = {key: card(part, key) for part in (hdus[0].header, hdu.header) for key in part if key}
    notes: list[str] = []
    wavelength, guessed = _wcs_wavelength(header, data.shape[-1], request, notes)
    raw = RawSpectrum(star_name(header, source), "wcs", wavelength, bands[0], notes=notes)
    raw.assumed |= {"unit"} if guessed else set()
    if len(bands) > IRAF_SIGMA_BAND:
        raw.sigma = bands[IRAF_SIGMA_BAND]
    for other in hdus:
        kind = ERROR_HDUS.get(other.name.upper())
        if (
            kind
            and getattr(other, "is_image", False)
            and other.data is not None
            and other.data.size == bands[0].size
        ):
            values = np.asarray(other.data, dtype=np.float64).reshape(-1)
            if kind == "ivar":
                raw.ivar = values
            else:
                raw.sigma = np.sqrt(values.clip(0)) if kind == "variance" else values
    _set_bad(raw, hdus)
    set_site(raw, header)
    set_medium(raw, header, source, options.medium)
    if library_of(header):
        raw.medium = raw.medium or "air"
    elif "IRAF" in str(header.get("ORIGIN", "")):
        raw.medium_default = ("air", "IRAF's line lists are")
    if raw.ivar is None and raw.sigma is None:
        # Spectra of several cameras are often padded with zeros.
        raw.bad = (bands[0] == 0) | (False if raw.bad is None else raw.bad)
    raw.fwhm = stated_fwhm(header, wavelength, raw.notes)
    raw.frame, raw.to_observed = frame_of(header, raw.notes)
    raw.facts = facts_of(header)
    yield raw


def _set_bad(raw: RawSpectrum, hdus: Any) -> None:
    """Take the pixels that an extension flags out of a spectrum."""
    for hdu in hdus:
        if hdu.name.upper() not in MASK_HDUS or not getattr(hdu, "is_image", False) or hdu.data is None:
            continue
        if hdu.data.size == raw.flux.size:
            error = raw.sigma if raw.sigma is not None else raw.ivar
            dead = ~(np.ones(raw.flux.size) > 0 if error is None else error > 0)
            flagged = np.asarray(hdu.data).reshape(-1) != 0
            raw.bad = bad_pixels(flagged, dead, f"extension {hdu.name}", raw.notes)


def _wcs_wavelength(
    header: dict[str, Any], size: int, request: Request, notes: list[str]
) -> tuple[np.ndarray, bool]:
    """Return the wavelengths (Å, in the file's medium) of a linear or logarithmic axis."""
    source = request.source
    try:
        start = float(header["CRVAL1"] if header.get("CRVAL1") is not None else header["COEFF0"])
        step = next(float(header[key]) for key in ("CDELT1", "CD1_1", "COEFF1") if _is_step(header, key))
        reference = float(header.get("CRPIX1") or (1.0 if "CRPIX1" not in header else 0.0))
    except (KeyError, StopIteration, TypeError, ValueError):
        raise DataError(
            f"{source}: no wavelengths: the header has no CRVAL1 and CD1_1 (or CDELT1) that are numbers; "
            "this is no spectrum, or its wavelengths are elsewhere (--hdu, --columns)"
        ) from None
    offset = np.arange(1, size + 1) - reference
    ctype = str(header.get("CTYPE1", "")).upper()
    if ctype.startswith(OTHER_AXES):
        raise DataError(
            f"{source}: the axis is {ctype}, not wavelength; convert the spectrum, or choose another HDU with --hdu"
        )
    unit = request.options.unit or _wcs_unit(header)
    if ctype.endswith("-LOG"):
        return to_angstrom(start * np.exp(step * offset / start), unit, source, notes)
    values = start + step * offset
    logarithmic = str(header.get("DC-FLAG", "0")).strip() in ("1", "1.0") or "LOG" in ctype
    if logarithmic:
        # Natural logarithms are of 8 to 10, decimal ones of 3.3 to 4.5.
        power = np.power(10.0, values) if start < 6 else np.exp(values)
        return to_angstrom(power, unit, source, notes)
    return to_angstrom(values, unit, source, notes)


def _is_step(header: dict[str, Any], key: str) -> bool:
    # A default CDELT1 = 1 beside CD1_1 means nothing.
    if header.get(key) in (None, 0, 0.0):
        return False
    return not (key == "CDELT1" and header[key] == 1.0 and header.get("CD1_1") not in (None, 1.0))


def _wcs_unit(header: dict[str, Any]) -> str | None:
    if header.get("CUNIT1"):
        return str(header["CUNIT1"])
    found = re.search(r"units\s*=\s*([A-Za-z]+)", str(header.get("WAT1_001", "")))
    return found.group(1) if found else None


def is_multispec(hdus: Any) -> bool:
    """Return whether the first image has IRAF's multispec coordinates."""
    header = hdus[0].header
    words = f"{card(header, 'CTYPE1', '')} {card(header, 'WAT0_001', '')}".upper()
    return "MULTISPE" in words and any(key.startswith("WAT2_") for key in header)


def read_multispec(hdus: Any, request: Request) -> Iterator[RawSpectrum]:
    """Yield one spectrum, its orders joined: each divided by a polynomial, cut where two overlap."""
    source, header = request.source, hdus[0].header
    data = np.asarray(hdus[0].data, dtype=np.float64)
    # Bands beyond the first are sky, raw counts and the like.
    orders = data.reshape(-1, *data.shape[-2:])[0] if data.ndim > 1 else data[None]
    waves = _multispec_wavelengths(header, len(orders), orders.shape[-1], source)
    pieces = sorted(zip(waves, orders, strict=True), key=lambda piece: float(piece[0].min()))
    joined = _joined([piece for piece in pieces if np.ptp(piece[0]) > 0], source)
    header_values = {key: card(header, key) for key in header if key}
    raw = RawSpectrum(star_name(header_values, source), "iraf-multispec", *joined)
    raw.medium_default = ("air", "IRAF's line lists are")
    raw.notes.append(
        f"{len(orders)} orders joined: each divided by a polynomial of order {BLAZE_ORDER}, cut in the middle of overlaps"
    )
    raw.notes.append("the file has no errors: sigma is estimated from each order, pixel to pixel")
    raw.assumed.add("sigma")
    set_medium(raw, header_values, source, request.options.medium)
    raw.fwhm = stated_fwhm(header_values, raw.wavelength, raw.notes)
    raw.frame, raw.to_observed = frame_of(header_values, raw.notes)
    raw.facts = facts_of(header_values)
    yield raw


def _multispec_wavelengths(header: Any, count: int, size: int, source: str) -> list[np.ndarray]:
    keys = sorted(key for key in header if re.fullmatch(r"WAT2_\d+", key))
    # Strings of 68 characters are cut anywhere; FITS drops blanks at their ends.
    text = "".join(str(card(header, key, "")).ljust(68) for key in keys)
    found = dict(re.findall(r'spec(\d+)\s*=\s*"([^"]*)"', text))
    try:
        return [_dispersion(found[str(k + 1)].split(), size, source) for k in range(count)]
    except (KeyError, ValueError, IndexError):
        raise DataError(
            f"{source}: the multispec keywords WAT2_... do not describe all {count} orders"
        ) from None


def _dispersion(words: list[str], size: int, source: str) -> np.ndarray:
    """Return the wavelengths of one order from the numbers of its multispec string."""
    kind, first, step, redshift = int(words[2]), float(words[3]), float(words[4]), float(words[6])
    pixel = np.arange(1, size + 1, dtype=np.float64)
    if kind in (-1, 0, 1):
        values = first + step * (pixel - 1)
        wavelength = np.power(10.0, values) if kind == 1 else values
        return wavelength / (1 + redshift)
    total, rest = np.zeros(size), [float(word) for word in words[9:]]
    while rest:
        weight, shift, function, order = rest[0], rest[1], int(rest[2]), int(rest[3])
        if function not in (1, 2):
            raise DataError(
                f"{source}: dispersion function {function} (a spline) is not read; linearise with IRAF's dispcor"
            )
        low, high, coefficients = rest[4], rest[5], rest[6 : 6 + order]
        position = (2 * pixel - (high + low)) / (high - low)
        series = chebyshev.chebval if function == 1 else legendre.legval
        total += weight * (shift + series(position, coefficients))
        rest = rest[6 + order :]
    return total / (1 + redshift)


def _joined(
    pieces: list[tuple[np.ndarray, np.ndarray]], source: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    waves, fluxes, sigmas = [], [], []
    limits = [
        -np.inf,
        *(0.5 * (a[0].max() + b[0].min()) for a, b in pairwise(pieces)),
        np.inf,
    ]
    for (wavelength, flux), low, high in zip(pieces, limits[:-1], limits[1:], strict=True):
        keep = (wavelength > low) & (wavelength <= high)
        if keep.sum() <= 2 * BLAZE_ORDER or not np.any(flux):
            continue
        position = np.linspace(-1, 1, flux.size)
        level = chebyshev.chebval(position, chebyshev.chebfit(position, flux, BLAZE_ORDER))
        keep &= level > 0.02 * level.max()
        sigma = estimated_sigma(flux, ~np.isfinite(flux), source)
        waves.append(wavelength[keep])
        fluxes.append(flux[keep] / level[keep])
        sigmas.append(sigma[keep] / level[keep])
    if not waves:
        raise DataError(f"{source}: none of its {len(pieces)} orders holds flux")
    return np.concatenate(waves), np.concatenate(fluxes), np.concatenate(sigmas)
