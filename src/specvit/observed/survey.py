"""What headers say of star, velocity frame and resolution, in the words of many observatories."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from specvit.observed.spectrum import Frame, Medium, RawSpectrum

_NAME_KEYS = ("OBJNAME", "OBJ_NAME", "DESIG", "TARGNAME", "TARGET", "OBJECT", "STAR", "OBJID")
_RESOLUTION_KEYS = ("SPEC_RES", "RESOLUTION", "SPECRES", "RESOL", "R_SPEC")
_FACTS = (
    *("OBJECT", "RA", "DEC", "TELESCOP", "INSTRUME", "DATE-OBS", "MJD-OBS", "MJD", "EXPTIME", "AIRMASS"),
    *(
        "TEFF",
        "LOG_G",
        "FE_H",
        "SPECTYPE",
        "CLASS",
        "SUBCLASS",
        "Z",
        "HELIO_RV",
        "RADVEL",
        "VHELIO",
        "SPECSYS",
    ),
)
#: Spectrographs with a line-spread function of constant width: (word of the header, FWHM in Å, where from).
_CONSTANT_FWHM = {
    "STELIB": (3.0, "STELIB: Le Borgne et al. 2003, A&A 402, 433"),
    "MUSE": (2.6, "MUSE: Bacon et al. 2017, A&A 608, A1, in 7000-9000 Å"),
}
#: Spectrographs with a constant resolving power.
_CONSTANT_R = {
    "LAMOST": (1800.0, "LAMOST LRS: Cui et al. 2012, RAA 12, 1197"),
    "HERMES-2DF": (28000.0, "HERMES: Sheinis et al. 2015, JATIS 1, 035002"),
}


def star_name(header: Mapping[str, Any], source: str) -> str:
    """Return the star's name from the header, else the file's."""
    for key in _NAME_KEYS:
        value = header.get(key)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return Path(source).name


def facts_of(header: Mapping[str, Any]) -> dict[str, str | float]:
    """Return what a header says of star and observation."""
    return {
        key: header[key]
        for key in _FACTS
        if isinstance(header.get(key), str | int | float) and header[key] != ""
    }


def stated_fwhm(header: Mapping[str, Any], wavelength: np.ndarray, notes: list[str]) -> np.ndarray | None:
    """Return the FWHM per pixel (Å) that the header, or the name of the spectrograph in it, stands for."""
    for key in _RESOLUTION_KEYS:
        value = header.get(key)
        if isinstance(value, int | float) and 100 < value < 1e6:
            return wavelength / float(value)
        if isinstance(value, int | float) and value:
            notes.append(f"{key} = {value:g} is no resolution λ/FWHM and is left aside")
    words = f"{header.get('INSTRUME', '')} {header.get('TELESCOP', '')} {library_of(header)}".upper()
    for word, (fwhm, source) in _CONSTANT_FWHM.items():
        if word in words:
            notes.append(f"line-spread function of {fwhm:g} Å FWHM ({source})")
            return np.full(wavelength.size, fwhm)
    for word, (resolution, source) in _CONSTANT_R.items():
        if word in words:
            notes.append(f"resolution {resolution:g} ({source})")
            return wavelength / resolution
    return None


def medium_of_ucd(header: Mapping[str, Any], column: int) -> Medium | None:
    """Return the medium by the UCD of a table's column (counted from 1), None if it has none of wavelength.

    Source: ESO Science Data Products Standard, issue 8, section 13: `em.wl;obs.atmos` is air, `em.wl` vacuum.
    """
    words = f"{header.get(f'TUCD{column}') or ''}".lower()
    if "em.wl" not in words:
        return None
    return "air" if "atmos" in words else "vacuum"


#: Telescopes above the air, whose wavelengths are in vacuum.
_SPACE = ("HST", "JWST", "EUCLID", "SPITZER", "GALEX", "ROMAN")


def set_site(raw: RawSpectrum, header: Mapping[str, Any]) -> None:
    """Say in `raw` if the telescope was above the air: no windows of the air, and vacuum unless the file says air."""
    telescope = str(header.get("TELESCOP", "")).strip().upper()
    if telescope in _SPACE:
        raw.ground = False
        raw.medium_default = ("vacuum", f"{telescope} is in space")


def library_of(header: Mapping[str, Any]) -> str:
    """Return the name of the stellar library that a header is of, by its keywords, or nothing."""
    return "STELIB" if {"STARIDEN", "SPECTYPE", "RADVEL"} <= set(header) else ""


def frame_of(header: Mapping[str, Any], notes: list[str]) -> tuple[Frame, float]:
    """Return the velocity frame, and what brings wavelengths to the telescope's (km/s)."""
    if library := library_of(header):
        notes.append(f"{library} spectra are in the stars' rest frame, to some 40 km/s")
        return "rest", 0.0
    system = str(header.get("SPECSYS", "")).upper()
    # Not VHELIO: there IRAF's rvcorrect and fxcor write the star's own heliocentric velocity.
    correction = next(
        (
            header[key]
            for key in ("HELIO_RV", "BERV", "BARYVEL", "ESO DRS BERV")
            if isinstance(header.get(key), int | float)
        ),
        None,
    )
    if any(str(header.get(key, "")).strip() for key in ("DOPCOR01", "DOPCOR")):
        notes.append(
            "DOPCOR in the header: wavelengths were shifted by the observer, taken to be the star's rest frame"
        )
        return "rest", 0.0
    if system.startswith(("BARY", "HELIO")):
        # λ_barycentric = λ_observed (1 + v/c): back to the telescope with -v.
        return "barycentric", -float(correction) if correction is not None else 0.0
    if system.startswith(("TOPO", "GEO")):
        return "observed", 0.0
    notes.append(
        "the velocity frame is not stated: the telescope's, so that telluric windows are where the air has them"
    )
    return "observed", 0.0
