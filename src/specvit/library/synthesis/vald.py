"""VALD3 extracts: "stellar" and "all", short and long (https://www.astro.uu.se/valdwiki/presformat_output).

Which columns a file has, and their units, is read from its heading; what its oscillator strengths mean, from its
footer. A unit or a footer that is not known here is refused: it would change every line of the list.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from specvit.errors import DataError
from specvit.library.synthesis.isotopes import isotopes_in, log_solar_share
from specvit.spectra.air import SHORTEST_AIR_WAVELENGTH, vacuum_to_air

#: e / (h c), CODATA.
WAVENUMBERS_PER_EV = 8065.544

#: Species and the numbers of a line, in the order of `LineTable`.
Record = tuple[str, *tuple[float, ...]]

#: Position of (wavelength, excitation, log gf, three dampings) after the species, per VALD format.
_COLUMNS = {
    "short stellar": (0, 1, 3, 4, 5, 6),
    "short all": (0, 1, 2, 3, 4, 5),
    "long": (0, 2, 1, 9, 10, 11),
}
#: Lines of text that a spectral line takes.
_LINES = {"short stellar": 1, "short all": 1, "long": 4}
_TO_ANGSTROM = {"A": 1.0, "nm": 10.0}
_TO_EV = {"eV": 1.0, "cm^-1": 1 / WAVENUMBERS_PER_EV, "cm-1": 1 / WAVENUMBERS_PER_EV}
_WAVELENGTH = re.compile(r"\b(W[LN])(?:_(air|vac))?\(([^)]*)\)")
_ENERGY = re.compile(r"\b(?:E_low|Excit|Ex)\(([^)]*)\)")
_RECORD = re.compile(r"^'(?P<species>[A-Z][A-Za-z0-9]* +\d+)\s*',(?P<rest>.*)$")
_FOOTER = re.compile(r"^\s*\*\s*(.*\S)")
_SCALED = "oscillator strengths were scaled by the solar isotopic ratios."
_NOT_SCALED = "oscillator strengths were not scaled by the solar isotopic ratios."


class _Heading(NamedTuple):
    kind: str
    medium: str
    to_angstrom: float
    to_ev: float


def read_vald(path: Path, text: str) -> list[Record]:
    """Return the lines of an extract: wavelengths in air Å, energies in eV, log gf of the Sun's mix of isotopes.

    Raises:
        DataError: if it is no VALD extract, truncated, or states units or scalings that are not known; names what.
    """
    lines = text.splitlines()
    heading = _read_heading(path, lines)
    is_scaled = _read_footer(path, lines)
    records: list[Record] = []
    for start, line in enumerate(lines):
        match = _RECORD.match(line)
        if match is None:
            continue
        fields = match["rest"].split(",")
        try:
            picked = [float(fields[i]) for i in _COLUMNS[heading.kind]]
        except (IndexError, ValueError) as error:
            raise DataError(
                f"{path.name}: line {start + 1}: not a VALD {heading.kind} record ({error})"
            ) from error
        wavelength = picked[0] * heading.to_angstrom
        # SMElib takes air wavelengths; VALD itself gives those below 2000 Å in vacuum.
        if heading.medium == "vac" and wavelength > SHORTEST_AIR_WAVELENGTH:
            wavelength = float(vacuum_to_air(wavelength))
        log_gf = picked[2] + _isotope_shift(path, lines, start, heading.kind, is_scaled)
        species = " ".join(match["species"].split())
        values = [wavelength, picked[1] * heading.to_ev, log_gf, *picked[3:]]
        records.append((species, *values))
    announced = re.match(r"\s*[\d.]+,\s*[\d.]+,\s*(\d+),", lines[0])
    if announced and int(announced[1]) != len(records):
        raise DataError(
            f"{path.name}: announces {announced[1]} lines, holds {len(records)}; truncated: get it again"
        )
    return records


def _read_heading(path: Path, lines: list[str]) -> _Heading:
    found = next(((line, m) for line in lines if (m := _WAVELENGTH.search(line))), None)
    if found is None:
        raise DataError(f"{path.name}: not a VALD extract (no heading with WL_air or WL_vac) and not .csv")
    line, (what, medium, unit) = found[0], found[1].groups()
    if what != "WL" or medium is None or unit not in _TO_ANGSTROM:
        raise DataError(
            f"{path.name}: its heading has '{found[1][0]}'; ask VALD for wavelengths in Å or nm, in air or vacuum"
        )
    energy = _ENERGY.search(line)
    if energy is None or energy[1] not in _TO_EV:
        stated = f"'{energy[0]}'" if energy else "no column Excit, Ex or E_low with its unit"
        raise DataError(f"{path.name}: its heading has {stated}; ask VALD for energies in eV or cm^-1")
    kind = "long" if "J lo" in line else "short stellar" if "Vmic" in line else "short all"
    return _Heading(kind, medium, _TO_ANGSTROM[unit], _TO_EV[energy[1]])


def _read_footer(path: Path, lines: list[str]) -> bool | None:
    """Return whether log gf includes the isotope's share; None if the file does not say."""
    is_scaled = None
    for line in lines:
        footer = _FOOTER.match(line)
        if footer is None:
            continue
        said = " ".join(footer[1].split())
        if said.lower() not in (_SCALED, _NOT_SCALED):
            raise DataError(
                f"{path.name}: its footer says '{said[:80]}', which is not understood; ask VALD for the list in its "
                "default form"
            )
        is_scaled = said.lower() == _SCALED
    return is_scaled


def _isotope_shift(path: Path, lines: list[str], start: int, kind: str, is_scaled: bool | None) -> float:
    """Return what to add to log gf, so that the lines of all isotopes together have the strength of the species."""
    if is_scaled:
        return 0.0
    # The species with its isotopes ends the references, on the last line of a record.
    references = lines[start : start + _LINES[kind]][-1].rstrip().rstrip("'").split()
    isotopes = isotopes_in(references[-1]) if references else []
    if isotopes and is_scaled is None:
        raise DataError(
            f"{path.name}: line {start + 1} is of {references[-1]}, and the footer that says whether oscillator strengths "
            "were scaled by isotopic ratios is missing; get the whole file again"
        )
    try:
        return log_solar_share(isotopes)
    except KeyError as error:
        raise DataError(
            f"{path.name}: line {start + 1}: the solar share of {error.args[0]} is not known here; ask VALD for the "
            "list with isotopic scaling"
        ) from error
