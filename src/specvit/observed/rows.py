"""What the rows of an image are: by its keywords spectra of several apertures, or flux, errors and masks of one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from specvit.observed.hdus import card

#: Keywords that name the rows or bands of an image, followed by their number from 1.
_NAMING = ("BANDID", "ARRAY", "ROW")
#: Band of IRAF's `apall`, from 0, with the error of the optimal extraction, which is the first.
IRAF_SIGMA_BAND = 3
#: Role -> how the name of a row begins.
_ROLES = {
    "flux": r"(spectrum|spec|flux|intensity|object|data|counts|optimal)\b",
    "sigma": r"((flux|spectrum)[ _])?(sigma|err|errors?|uncertainty|noise|std|stdev|rms)\b",
    "variance": r"((flux|spectrum)[ _])?(var|variance)\b",
    "ivar": r"((flux|spectrum)[ _])?(ivar|invvar|inverse[ _]variance)\b",
    "mask": r"((flux|spectrum)[ _])?(mask|flags?|quality|dq|bad)\b",
}


def _role_of_row(header: Mapping[str, Any], row: int) -> str | None:
    """Return the role of a row (from 0) by the keyword that names it; "other" for a name without a role."""
    for key in _NAMING:
        word = str(card(header, f"{key}{row + 1}", "") or "").strip().lower()
        if word:
            return next((role for role, begin in _ROLES.items() if re.match(begin, word)), "other")
    return None


def roles_of_rows(header: Mapping[str, Any], count: int) -> dict[str, int]:
    """Return role -> row (from 0) where keywords say that rows are parts of one spectrum; {} if they do not.

    Two rows of flux are two spectra, unless it is IRAF's raw one.
    """
    named = [_role_of_row(header, row) for row in range(count)]
    if not any(role in ("sigma", "variance", "ivar", "mask") for role in named) or named.count("flux") > 1:
        return {}
    roles = {role: row for row, role in enumerate(named) if role is not None}
    roles.setdefault("flux", 0)
    roles.pop("other", None)
    return roles if len(set(roles.values())) == len(roles) else {}


def sigma_band(header: Mapping[str, Any], count: int) -> int | None:
    """Return the band with σ of IRAF's three-dimensional images: the one so called, else the fourth."""
    named = [_role_of_row(header, band) for band in range(count)]
    if "sigma" in named:
        return named.index("sigma")
    return IRAF_SIGMA_BAND if count > IRAF_SIGMA_BAND and not any(named) else None


def aperture_name(header: Mapping[str, Any], line: int, default: str) -> str:
    """Return the title of IRAF's aperture in a line (from 0) of an image, unless it is empty or another's too."""
    title = str(card(header, f"APID{line + 1}", "") or "").strip()
    others = (str(card(header, key, "")).strip() for key in header if re.fullmatch(r"APID\d+", key))
    return title if title and sum(title == other for other in others) == 1 else default


def are_apertures(header: Mapping[str, Any], count: int) -> bool:
    """Return whether every line of an image is an aperture of IRAF's."""
    return count > 1 and all(f"APNUM{line + 1}" in header for line in range(count))
