"""Units and media of wavelengths: what headers and columns say, and what is assumed where they do not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from specvit.errors import DataError
from specvit.numerics import median
from specvit.observed.spectrum import Medium, RawSpectrum

#: Spelling (lower case, without blanks, * and ^) -> Å per unit.
ANGSTROMS = {
    **dict.fromkeys(("angstrom", "angstroms", "angstroem", "a", "aa", "å", "ang"), 1.0),
    **dict.fromkeys(("0.1nm", "10-10m", "1e-10m", "1.0e-10m"), 1.0),
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres", "10-9m", "1e-9m"), 10.0),
    **dict.fromkeys(
        ("um", "micron", "microns", "micrometer", "micrometre", "µm", "μm", "10-6m", "1e-6m"), 1e4
    ),
    **dict.fromkeys(("m", "meter", "metre"), 1e10),
}
#: For logarithms of Å; what `--unit` calls them.
LOGARITHM = "log10(angstrom)"
NO_UNIT = f"is no unit of wavelength; give --unit angstrom, nm, um or {LOGARITHM}"
_LOGARITHMS = {LOGARITHM, "log(angstrom)", "dex(angstrom)", "loglam", "log10angstrom"}

#: Å between which the middle of an optical spectrum lies.
OPTICAL = (2500.0, 26_000.0)


def to_angstrom(
    values: np.ndarray, unit: str | None, source: str, notes: list[str]
) -> tuple[np.ndarray, bool]:
    """Return wavelengths in Å, and whether the unit is a guess.

    Without a unit the one is taken that puts the middle of the spectrum into the optical.

    Raises:
        DataError: for a unit that is none of wavelength, or if no unit makes it an optical spectrum.
    """
    values = np.asarray(values, dtype=np.float64)
    if unit and (name := _plain(unit)) not in ("", "none", "unknown"):
        if name in _LOGARITHMS:
            with np.errstate(over="ignore"):
                linear = np.power(10.0, values)
            _check_optical(linear, f"as {LOGARITHM}", source)
            return linear, False
        if name not in ANGSTROMS:
            raise DataError(f"{source}: '{unit}' {NO_UNIT}")
        converted = values * ANGSTROMS[name]
        _check_optical(converted, f"in {unit}", source)
        return converted, False
    middle = _middle(values, source)
    guesses = {"angstrom": values, "nm": 10.0 * values, "um": 1e4 * values}
    for name, converted in guesses.items():
        if OPTICAL[0] <= middle * ANGSTROMS[name] <= OPTICAL[1]:
            # Å is what everybody means; other units are worth a line.
            if name != "angstrom":
                notes.append(
                    f"wavelengths have no unit and are taken to be in {name}; say otherwise with --unit"
                )
            return converted, name != "angstrom"
    if 3.3 <= middle <= 4.5:
        notes.append("wavelengths have no unit and are taken to be log10 of Å; say otherwise with --unit")
        return np.power(10.0, values), True
    raise DataError(
        f"{source}: wavelengths around {middle:.6g} are optical in no unit; say which column and unit with "
        "--columns and --unit"
    )


def is_unit(unit: str) -> bool:
    """Return whether `unit` is one that `to_angstrom` knows."""
    name = _plain(unit)
    return name in ANGSTROMS or name in _LOGARITHMS


def angstroms_per(unit: str) -> float | None:
    """Return how many Å a unit of length has, None if it is none that `to_angstrom` knows."""
    return ANGSTROMS.get(_plain(unit))


def _plain(unit: str) -> str:
    """Return a unit as `ANGSTROMS` spells it: '10**-10 m' is '10-10m'."""
    return re.sub(r"[\s*^]+", "", unit.lower())


def _middle(values: np.ndarray, source: str) -> float:
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        raise DataError(f"{source}: no wavelength is a number; choose the column with --columns")
    return median(finite)


def _check_optical(wavelength: np.ndarray, words: str, source: str) -> None:
    middle = _middle(wavelength, source)
    if not 900 <= middle <= 300_000:
        raise DataError(
            f"{source}: wavelengths {words} would be around {middle:.4g} Å, which is no optical spectrum; "
            "give the right one with --unit"
        )


def stated_medium(header: Mapping[str, Any], source: str) -> Medium | None:
    """Return what a FITS header says of the medium, None if nothing.

    Raises:
        DataError: if it says both.
    """
    said: dict[Medium, str] = {}
    ctype = str(header.get("CTYPE1", "")).upper()
    if ctype.startswith(("AWAV", "AIR")):
        said["air"] = f"CTYPE1 = {ctype}"
    elif ctype.startswith(("WAVE", "VWAV")) and not ctype.startswith("WAVELENGTH"):
        said["vacuum"] = f"CTYPE1 = {ctype}"
    for key in ("AIRORVAC", "AIRVAC", "VACAIR", "WAVEMED"):
        word = str(header.get(key, "")).strip().lower()
        if word.startswith("air"):
            said["air"] = f"{key} = {word}"
        elif word.startswith("vac"):
            said["vacuum"] = f"{key} = {word}"
    if "VACUUM" in header:
        true = str(header["VACUUM"]).strip().lower() in ("true", "t", "1")
        said["vacuum" if true else "air"] = f"VACUUM = {header['VACUUM']}"
    if len(said) > 1:
        raise DataError(
            f"{source}: the header says air ({said['air']}) and vacuum ({said['vacuum']}); settle it with --medium"
        )
    return next(iter(said), None)


def set_medium(
    raw: RawSpectrum,
    header: Mapping[str, Any],
    source: str,
    wanted: Medium | None,
    other: str = "the name of the column of wavelengths",
) -> None:
    """Put what the header says of the medium into `raw`; a user's word settles a contradiction.

    Args:
        raw: its `medium` is what `other` says.
        header: of the file.
        source: the file, for messages.
        wanted: the user's word.
        other: what else spoke of the medium.

    Raises:
        DataError: if the header says both, or another than `other`.
    """
    if wanted is not None:
        return
    stated = stated_medium(header, source)
    if stated is not None and raw.medium not in (None, stated):
        raise DataError(f"{source}: the header says {stated}, {other} {raw.medium}; settle it with --medium")
    raw.medium = stated or raw.medium
