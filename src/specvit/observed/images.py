"""Spectra in FITS images: wavelengths by one-dimensional world coordinates (linear, logarithmic) or in an extension.

Source of the conventions: Greisen, Calabretta, Valdes & Allen 2006, A&A 446, 747 (FITS paper III: CTYPE, -LOG);
Valdes 1993, ASP Conf. 52, 467 (IRAF: equispec, DC-FLAG).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from specvit.errors import DataError
from specvit.observed.columns import bad_pixels, medium_by_name, on_sdss_pixels, wavelength_unit
from specvit.observed.extensions import find_image, set_bad, set_errors, wavelength_image, wavelengths_of
from specvit.observed.hdus import card
from specvit.observed.request import Request
from specvit.observed.rows import aperture_name, are_apertures, roles_of_rows, sigma_band
from specvit.observed.spectrum import MOST_PIXELS, RawSpectrum
from specvit.observed.survey import facts_of, frame_of, library_of, set_site, star_name, stated_fwhm
from specvit.observed.units import set_medium, to_angstrom

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
#: Rows of an image up to which they may be spectra without a word that they are.
MOST_ROWS = 5


def is_image(hdus: Any) -> bool:
    """Return whether the file holds pixels in an image."""
    return any(getattr(hdu, "is_image", False) and card(hdu.header, "NAXIS", 0) for hdu in hdus)


def has_wavelengths(hdus: Any) -> bool:
    """Return whether an image has wavelengths: in its header, or in an extension of its size."""
    if not is_image(hdus):
        return False
    flux = find_image(hdus, None, "")
    header = flux.header
    return bool({"CRVAL1", "COEFF0"} & {*header, *hdus[0].header}) or wavelength_image(hdus, flux) is not None


def read_wcs(hdus: Any, request: Request) -> Iterator[RawSpectrum]:
    """Yield the spectra of an image whose wavelengths are in the header, or in an extension.

    Bands of three dimensions, and rows that keywords call flux and errors, are one spectrum. Other rows are one each.
    """
    hdu = find_image(hdus, request.options.hdu, request.source)
    waves = wavelength_image(hdus, hdu)
    # Keywords of the primary header count for extensions too, unless these say otherwise.
    header = {key: card(part, key) for part in (hdus[0].header, hdu.header) for key in part if key}
    _check_shape(hdu, header, waves is not None, request.source)
    count = hdu.shape[-2] if len(hdu.shape) == 2 else 1
    roles = roles_of_rows(header, count) if count > 1 else {}
    name = star_name(header, request.source)
    if count == 1 or roles:
        raw = _row_spectrum(hdus, hdu, waves, header, roles.get("flux", 0), request, name, roles)
        if roles:
            raw.notes.append(
                f"rows of the image by its keywords: {', '.join(f'{v} {k}' for k, v in roles.items())}"
            )
        yield raw
        return
    for row in range(count):
        own = aperture_name(header, row, f"{name} row {row}")
        if not any(request.options.wants(word, row) for word in (own, f"row {row}")):
            continue
        raw = _row_spectrum(hdus, hdu, waves, header, row, request, own)
        raw.number, raw.alias = row, f"row {row}"
        if not are_apertures(header, count):
            raw.notes.append(
                f"the image has {count} rows and does not say what they are: each is taken for a spectrum of its own; "
                "choose with --select"
            )
        yield raw


def _check_shape(hdu: Any, header: dict[str, Any], waves: bool, source: str) -> None:
    """Raise if an image is no spectrum and no rows of spectra; before a pixel is read, as a cube may not fit."""
    shape = tuple(hdu.shape)
    told = waves or (len(shape) == 2 and are_apertures(header, shape[0]))
    if (
        len(shape) > 3
        or (len(shape) == 3 and shape[1] > 1)
        or (len(shape) == 2 and shape[0] > MOST_ROWS and not told)
        or shape[-1] > MOST_PIXELS
    ):
        raise DataError(
            f"{source}: HDU {hdu.name or 'PRIMARY'} is an image of shape {shape}, not one spectrum; "
            "extract the spectrum, or choose another HDU with --hdu"
        )


def _row_spectrum(
    hdus: Any,
    hdu: Any,
    waves: Any,
    header: dict[str, Any],
    row: int,
    request: Request,
    name: str,
    roles: Mapping[str, int] | None = None,
) -> RawSpectrum:
    """Return the spectrum of one row of an image, with errors and mask from other rows, bands or extensions."""
    source, options, notes = request.source, request.options, list[str]()
    data = hdu.data.reshape(-1, hdu.shape[-1])
    if waves is not None:
        wavelength, guessed = _beside(waves, row, request, notes)
    else:
        wavelength, guessed = _wcs_wavelength(header, data.shape[-1], request, notes)
    raw = RawSpectrum(name, "wcs", wavelength, np.asarray(data[row], dtype=np.float64), notes=notes)
    raw.assumed |= {"unit"} if guessed else set()
    _set_rows(raw, data, roles or {})
    band = sigma_band(header, len(data)) if len(hdu.shape) == 3 else None
    if band is not None:
        raw.sigma = np.asarray(data[band], dtype=np.float64)
    set_errors(raw, hdus, hdu, row)
    set_bad(raw, hdus, hdu, row)
    if waves is not None:
        raw.medium = medium_by_name(waves.name, [])
        if on_sdss_pixels(wavelength):
            raw.medium_default = ("vacuum", "the pixels are those of SDSS, whose wavelengths are")
    set_site(raw, header)
    set_medium(raw, header, source, options.medium, "the name of the extension of wavelengths")
    if library_of(header):
        raw.medium = raw.medium or "air"
    elif "IRAF" in str(header.get("ORIGIN", "")):
        raw.medium_default = ("air", "IRAF's line lists are")
    if raw.ivar is None and raw.sigma is None:
        # Spectra of several cameras are often padded with zeros.
        raw.flux = np.where(raw.flux == 0, np.nan, raw.flux)
    raw.fwhm = stated_fwhm(header, wavelength, raw.fwhm_notes)
    raw.frame, raw.to_observed = frame_of(header, raw.notes)
    raw.facts = facts_of(header)
    return raw


def _set_rows(raw: RawSpectrum, data: np.ndarray, roles: Mapping[str, int]) -> None:
    """Put the rows that keywords call errors and mask into `raw`."""
    rows = {role: np.asarray(data[row], dtype=np.float64) for role, row in roles.items() if role != "flux"}
    raw.sigma, raw.ivar = rows.get("sigma"), rows.get("ivar")
    if "variance" in rows and raw.sigma is None:
        raw.sigma = np.sqrt(rows["variance"].clip(0))
    if "mask" in rows:
        error = raw.sigma if raw.sigma is not None else raw.ivar
        dead = ~(np.ones(raw.flux.size) > 0 if error is None else error > 0)
        raw.bad = bad_pixels(rows["mask"] != 0, dead, "the row of the mask", raw.notes)


def _beside(waves: Any, row: int, request: Request, notes: list[str]) -> tuple[np.ndarray, bool]:
    """Return the wavelengths (Å, in the file's medium) of an extension, and whether their unit is a guess."""
    stated = wavelength_unit(waves.name) or card(waves.header, "BUNIT")
    unit = request.options.unit or (str(stated) if stated else None)
    return to_angstrom(wavelengths_of(waves, row), unit, request.source, notes)


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
