"""IRAF's multispec files: the orders of an echelle are joined, fibres of several stars are not.

Source of the conventions: Valdes 1993, ASP Conf. 52, 467 (multispec).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial import chebyshev, legendre

from specvit.errors import DataError
from specvit.observed.hdus import card, header_of
from specvit.observed.noise import estimated_sigma
from specvit.observed.request import Request
from specvit.observed.rows import aperture_name, sigma_band
from specvit.observed.spectrum import RawSpectrum
from specvit.observed.survey import facts_of, frame_of, set_site, star_name, stated_fwhm
from specvit.observed.units import set_medium

#: Order of the polynomial that an echelle order is divided by before orders are joined.
BLAZE_ORDER = 4
#: Share of the shorter of two neighbours beyond which they cover the same wavelengths: they are two stars.
SAME_RANGE = 0.5
#: Orders of an echelle have λ · (number of the order) the same, to this.
SAME_PRODUCT = 0.01


class _Aperture(NamedTuple):
    """One line of the image: its number in the file (from 0), aperture, beam, wavelengths (Å), flux, σ or None."""

    line: int
    number: str
    beam: int
    wavelength: np.ndarray
    flux: np.ndarray
    sigma: np.ndarray | None


def is_multispec(hdus: Any) -> bool:
    """Return whether the first image has IRAF's multispec coordinates."""
    header = hdus[0].header
    words = f"{card(header, 'CTYPE1', '')} {card(header, 'WAT0_001', '')}".upper()
    return "MULTISPE" in words and any(key.startswith("WAT2_") for key in header)


def read_multispec(hdus: Any, request: Request) -> Iterator[RawSpectrum]:
    """Yield one spectrum of the orders of an echelle, or one for each fibre.

    Orders are divided by a polynomial each and cut in the middle of overlaps. Apertures on mostly the same wavelengths
    are spectra of their own.
    """
    header = header_of(hdus)
    apertures = _apertures(hdus[0], request.source)
    name = star_name(header, request.source)
    if len(apertures) > 1 and not _are_fibres(apertures):
        yield _dressed(_order_spectrum(apertures, name, request), header, request)
        return
    for aperture in apertures:
        own = aperture_name(header, aperture.line, f"{name} aperture {aperture.number}")
        own = own if len(apertures) > 1 else name
        if request.options.wants(own, aperture.line):
            raw = RawSpectrum(own, "iraf-multispec", aperture.wavelength, aperture.flux, aperture.sigma)
            # What an extraction could not reach is zero.
            raw.flux = np.where(raw.flux == 0, np.nan, raw.flux) if raw.sigma is None else raw.flux
            raw.number = aperture.line
            if len(apertures) > 1:
                raw.notes.append(
                    f"{len(apertures)} apertures on the same wavelengths: each is taken for a star of its own"
                )
            yield _dressed(raw, header, request)


def _dressed(raw: RawSpectrum, header: dict[str, Any], request: Request) -> RawSpectrum:
    """Return the spectrum with what the header says of it."""
    raw.medium_default = ("air", "IRAF's line lists are")
    set_site(raw, header)
    set_medium(raw, header, request.source, request.options.medium)
    raw.fwhm = stated_fwhm(header, raw.wavelength, raw.fwhm_notes)
    raw.frame, raw.to_observed = frame_of(header, raw.notes)
    raw.facts = facts_of(header)
    return raw


def _apertures(hdu: Any, source: str) -> list[_Aperture]:
    """Return the apertures with wavelengths, in the order of the file."""
    data = np.asarray(hdu.data, dtype=np.float64)
    # Bands beyond the first are sky, raw counts and the like, and perhaps sigma.
    bands = data.reshape(-1, *data.shape[-2:]) if data.ndim > 1 else data[None, None]
    at = sigma_band(hdu.header, len(bands))
    count, size = bands.shape[1:]
    found = []
    for line, words in enumerate(_descriptions(hdu.header, count, source)):
        try:
            number, beam, wavelength = words[0], int(words[1]), _dispersion(words, size, source)
        except (ValueError, IndexError):
            raise _undescribed(count, source) from None
        sigma = bands[at, line] if at is not None else None
        found.append(_Aperture(line, number, beam, wavelength, bands[0, line], sigma))
    return [aperture for aperture in found if np.ptp(aperture.wavelength) > 0]


def _are_fibres(apertures: list[_Aperture]) -> bool:
    """Return whether apertures are of several stars: most neighbours have more than `SAME_RANGE` in common."""
    ranges = sorted((float(one.wavelength.min()), float(one.wavelength.max())) for one in apertures)
    shares = [(min(a[1], b[1]) - b[0]) / min(a[1] - a[0], b[1] - b[0]) for a, b in pairwise(ranges)]
    if np.median(shares) <= SAME_RANGE:
        return False
    # In the blue, orders of an echelle may have as much in common.
    beams = np.array([one.beam for one in apertures], dtype=np.float64)
    products = np.abs(beams) * [float(np.median(one.wavelength)) for one in apertures]
    same = np.ptp(products) < SAME_PRODUCT * np.median(products)
    return not (same and np.unique(beams).size == beams.size)


def _order_spectrum(apertures: list[_Aperture], name: str, request: Request) -> RawSpectrum:
    pieces = sorted(apertures, key=lambda piece: float(piece.wavelength.min()))
    raw = RawSpectrum(name, "iraf-multispec", *_joined(pieces, request.source))
    raw.notes.append(
        f"{len(apertures)} orders joined: each divided by a polynomial of order {BLAZE_ORDER}, cut in the middle of overlaps"
    )
    if any(piece.sigma is None for piece in pieces):
        raw.notes.append("the file has no errors: sigma is estimated from each order, pixel to pixel")
        raw.assumed.add("sigma")
    return raw


def _descriptions(header: Any, count: int, source: str) -> list[list[str]]:
    """Return the words that describe each line of the image."""
    keys = sorted(key for key in header if re.fullmatch(r"WAT2_\d+", key))
    # Strings of 68 characters are cut anywhere; FITS drops blanks at their ends.
    text = "".join(str(card(header, key, "")).ljust(68) for key in keys)
    found = dict(re.findall(r'spec(\d+)\s*=\s*"([^"]*)"', text))
    try:
        return [found[str(k + 1)].split() for k in range(count)]
    except KeyError:
        raise _undescribed(count, source) from None


def _undescribed(count: int, source: str) -> DataError:
    return DataError(f"{source}: the multispec keywords WAT2_... do not describe all {count} orders")


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


def _joined(pieces: list[_Aperture], source: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return wavelengths, flux and σ of orders that increase in wavelength."""
    waves, fluxes, sigmas = [], [], []
    limits = [
        -np.inf,
        *(0.5 * (a.wavelength.max() + b.wavelength.min()) for a, b in pairwise(pieces)),
        np.inf,
    ]
    for piece, low, high in zip(pieces, limits[:-1], limits[1:], strict=True):
        wavelength, flux = piece.wavelength, piece.flux
        keep = (wavelength > low) & (wavelength <= high)
        if keep.sum() <= 2 * BLAZE_ORDER or not np.any(flux):
            continue
        position = np.linspace(-1, 1, flux.size)
        level = chebyshev.chebval(position, chebyshev.chebfit(position, flux, BLAZE_ORDER))
        keep &= level > 0.02 * level.max()
        sigma = piece.sigma
        if sigma is None:
            sigma = estimated_sigma(flux, ~np.isfinite(flux), source)
        waves.append(wavelength[keep])
        fluxes.append(flux[keep] / level[keep])
        sigmas.append(sigma[keep] / level[keep])
    if not waves:
        raise DataError(f"{source}: none of its {len(pieces)} orders holds flux")
    return np.concatenate(waves), np.concatenate(fluxes), np.concatenate(sigmas)
