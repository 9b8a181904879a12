"""The forms of the Sloan Digital Sky Survey: `spec` tables, and the `spSpec` images of its first releases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from specvit.errors import DataError
from specvit.observed.columns import numbers
from specvit.observed.hdus import card, columns_of, header_of, table_with
from specvit.observed.request import Request
from specvit.observed.spectrum import RawSpectrum
from specvit.observed.survey import facts_of, star_name
from specvit.spectra.resample import FWHM_PER_SIGMA

#: Bits of SPPIXMASK after which a pixel is not used: FULLREJECT, NOSKY, BRIGHTSKY, NODATA, REDMONSTER.
SDSS_BAD = 1 << 18 | 1 << 22 | 1 << 23 | 1 << 24 | 1 << 28
#: λ/FWHM of the first SDSS spectrographs, which have 1850 to 2200.
SPSPEC_RESOLUTION = 2000.0
#: Rows of an `spSpec`; an `spPlate` has the same keywords, and as many rows as fibres.
SPSPEC_ROWS = range(3, 7)


def is_sdss(hdus: Any) -> bool:
    """Return whether a table holds flux, loglam and ivar."""
    return table_with(hdus, "flux", "loglam", "ivar") is not None


def read_sdss(hdus: Any, request: Request) -> Iterator[RawSpectrum]:
    """Yield the coadd of a `spec-*.fits`: vacuum, heliocentric, `wdisp` in pixels of the logarithmic grid.

    Source: data model of SDSS DR17 (spec) and DR19 (BOSS of SDSS-V, specLite).
    """
    table, header = table_with(hdus, "flux", "loglam", "ivar"), header_of(hdus)
    names = columns_of(table)
    data = {
        low: numbers(table.data[name], name, request.source)
        for low, name in names.items()
        if low in ("flux", "loglam", "ivar", "and_mask", "wdisp", "wresl")
    }
    raw = RawSpectrum(
        _name(header, request.source),
        "sdss",
        np.power(10.0, data["loglam"]),
        data["flux"],
        ivar=data["ivar"],
    )
    if "and_mask" in data:
        raw.bad = (data["and_mask"].astype(np.int64) & SDSS_BAD) != 0
    step = np.gradient(data["loglam"]) * np.log(10.0) * raw.wavelength
    if "wdisp" in data:
        raw.fwhm = FWHM_PER_SIGMA * data["wdisp"] * step
    elif "wresl" in data:
        # FWHM in Å and not σ, which the data model leaves open: idlspec2d, pro/spec2d/fitspectraresol.pro, fits arc
        # lines in λ and keeps σ times 2 sqrt(2 ln 2).
        raw.fwhm = data["wresl"]
    _set_frame(raw, header)
    yield raw


def is_spspec(hdus: Any) -> bool:
    """Return whether the first image has the rows of an `spSpec`: SDSS's telescope or plate, and COEFF0."""
    header = hdus[0].header
    ours = "SDSS" in str(card(header, "TELESCOP", "")).upper() or {"PLATEID", "FIBERID"} <= set(header)
    rows = card(header, "NAXIS2", 0) if card(header, "NAXIS", 0) == 2 else 0
    return ours and rows in SPSPEC_ROWS and {"COEFF0", "COEFF1"} <= set(header)


def read_spspec(hdus: Any, request: Request) -> Iterator[RawSpectrum]:
    """Yield the spectrum of an `spSpec` image: rows of flux, flux less continuum, σ and mask; vacuum, heliocentric.

    Source: data model of SDSS DR7 (spSpec); resolution: Smee et al. 2013, AJ 146, 32.
    """
    header, data = header_of(hdus), hdus[0].data
    try:
        start, step = float(header["COEFF0"]), float(header["COEFF1"])
    except (TypeError, ValueError):
        raise DataError(f"{request.source}: COEFF0 and COEFF1 are no numbers; get the file again") from None
    flux, sigma = (np.asarray(data[row], dtype=np.float64) for row in (0, 2))
    wavelength = np.power(10.0, start + step * np.arange(flux.size))
    raw = RawSpectrum(_name(header, request.source), "sdss-spspec", wavelength, flux, sigma)
    if len(data) > 3:
        raw.bad = (np.asarray(data[3]).astype(np.int64) & SDSS_BAD) != 0
    raw.fwhm = wavelength / SPSPEC_RESOLUTION
    raw.fwhm_notes.append(f"resolution {SPSPEC_RESOLUTION:g} (SDSS: Smee et al. 2013, AJ 146, 32)")
    _set_frame(raw, header)
    yield raw


def _name(header: dict[str, Any], source: str) -> str:
    keys = ("PLATEID", "FIELD", "MJD", "FIBERID", "CATALOGID")
    plate = [str(header[key]).strip() for key in keys if key in header]
    return f"SDSS {'-'.join(plate)}" if plate else star_name({}, source)


def _set_frame(raw: RawSpectrum, header: dict[str, Any]) -> None:
    raw.medium, raw.frame = "vacuum", "barycentric"
    speed = header.get("HELIO_RV")
    raw.to_observed = -float(speed) if isinstance(speed, int | float) else 0.0
    raw.facts = facts_of(header)
