"""Line lists: what the synthesis needs of a spectral line, read from VALD extracts or CSV.

VALD3 formats (https://www.astro.uu.se/valdwiki): "extract stellar" and "extract all", short and long; which
columns a file has is read from its heading. Wavelengths may be in air or vacuum, Å or nm; energies in eV or
cm^-1.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specvit.errors import DataError
from specvit.spectra.air import vacuum_to_air

#: e / (h c), CODATA.
WAVENUMBERS_PER_EV = 8065.544

#: CSV columns; the damping constants may be left out (0 lets the synthesis estimate them).
CSV_REQUIRED = ("species", "wavelength_air", "excitation_ev", "log_gf")
CSV_OPTIONAL = ("gamma_rad", "gamma_stark", "gamma_waals")

#: Position of (wavelength, excitation, log gf, three dampings) after the species, per VALD format.
_VALD_COLUMNS = {
    "short stellar": (0, 1, 3, 4, 5, 6),
    "short all": (0, 1, 2, 3, 4, 5),
    "long": (0, 2, 1, 9, 10, 11),
}
#: Species and the numbers of a line, in the order of `LineTable`.
_Record = tuple[str, *tuple[float, ...]]
_SPECIES = re.compile(r"[A-Z][A-Za-z0-9]* \d+")
_VALD_RECORD = re.compile(r"^'(?P<species>[A-Z][A-Za-z0-9]* +\d+)\s*',(?P<rest>.*)$")


@dataclass(frozen=True)
class LineTable:
    """N spectral lines, sorted by wavelength.

    Args:
        species: element or molecule and ion stage, e.g. "Ca 2", "CN 1".
        wavelength_air: Å, standard air.
        excitation_ev: energy of the lower level, eV.
        log_gf: log10 of statistical weight times oscillator strength.
        gamma_rad, gamma_stark, gamma_waals: log10 damping as in VALD, 0 where unknown (or an ABO number).
    """

    species: np.ndarray
    wavelength_air: np.ndarray
    excitation_ev: np.ndarray
    log_gf: np.ndarray
    gamma_rad: np.ndarray
    gamma_stark: np.ndarray
    gamma_waals: np.ndarray

    def __len__(self) -> int:
        return len(self.species)

    def within(self, low: float, high: float) -> LineTable:
        """Return the lines between `low` and `high` Å (air)."""
        kept = (self.wavelength_air >= low) & (self.wavelength_air <= high)
        return LineTable(*(column[kept] for column in self.columns()))

    def columns(self) -> tuple[np.ndarray, ...]:
        """Return the seven arrays in order."""
        return (
            self.species,
            self.wavelength_air,
            self.excitation_ev,
            self.log_gf,
            self.gamma_rad,
            self.gamma_stark,
            self.gamma_waals,
        )


def read_lines(path: str | Path) -> LineTable:
    """Return the line list in `path`: CSV by the suffix `.csv`, else VALD.

    Raises:
        DataError: if the file is missing, empty, truncated or not understood; names file and line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give a line list") from error
    records = _read_csv(path, text) if path.suffix.lower() == ".csv" else _read_vald(path, text)
    if not records:
        raise DataError(f"{path.name}: holds no lines; check the file")
    numbers = np.array([record[1:] for record in records], dtype=np.float64)
    species = np.array([record[0] for record in records], dtype=str)
    if not np.isfinite(numbers).all():
        raise DataError(f"{path.name}: line {int(np.argmin(np.isfinite(numbers).all(axis=1))) + 1} has a NaN")
    order = np.argsort(numbers[:, 0], kind="stable")
    return LineTable(species[order], *numbers[order].T)


def _read_csv(path: Path, text: str) -> list[_Record]:
    rows = csv.DictReader(text.splitlines())
    missing = [name for name in CSV_REQUIRED if name not in (rows.fieldnames or [])]
    if missing:
        raise DataError(
            f"{path.name}: no column '{missing[0]}'; a CSV line list needs {', '.join(CSV_REQUIRED)} "
            f"and may have {', '.join(CSV_OPTIONAL)}"
        )
    records: list[_Record] = []
    for number, row in enumerate(rows, start=2):
        species = (row["species"] or "").strip()
        if not _SPECIES.fullmatch(species):
            raise DataError(f"{path.name}: line {number}: species '{species}' is not like 'Ca 2' or 'CN 1'")
        try:
            values = [float(row[name]) for name in CSV_REQUIRED[1:]]
            values += [float(row.get(name) or 0.0) for name in CSV_OPTIONAL]
        except (TypeError, ValueError) as error:
            raise DataError(f"{path.name}: line {number}: {error}; expected numbers") from error
        records.append((species, *values))
    return records


def _read_vald(path: Path, text: str) -> list[_Record]:
    lines = text.splitlines()
    heading = next((line for line in lines if re.search(r"WL_(air|vac)\(", line)), None)
    if heading is None:
        raise DataError(f"{path.name}: not a VALD extract (no heading with WL_air or WL_vac) and not .csv")
    kind = "long" if "J lo" in heading else "short stellar" if "Vmic" in heading else "short all"
    medium, unit = re.findall(r"WL_(air|vac)\((\w+)\)", heading)[0]
    energy = re.search(r"(?:E_low|Excit)\((.*?)\)", heading)
    to_ev = 1 / WAVENUMBERS_PER_EV if energy is not None and "cm" in energy[1] else 1.0
    records: list[_Record] = []
    for number, line in enumerate(lines, start=1):
        match = _VALD_RECORD.match(line)
        if match is None:
            continue
        fields = match["rest"].split(",")
        try:
            picked = [float(fields[i]) for i in _VALD_COLUMNS[kind]]
        except (IndexError, ValueError) as error:
            raise DataError(f"{path.name}: line {number}: not a VALD {kind} record ({error})") from error
        wavelength = picked[0] * (10.0 if unit == "nm" else 1.0)
        # SMElib takes air wavelengths.
        wavelength = float(vacuum_to_air(wavelength)) if medium == "vac" else wavelength
        values = [wavelength, picked[1] * to_ev, *picked[2:]]
        records.append((" ".join(match["species"].split()), *values))
    announced = re.match(r"\s*[\d.]+,\s*[\d.]+,\s*(\d+),", lines[0])
    if announced and int(announced[1]) != len(records):
        raise DataError(
            f"{path.name}: announces {announced[1]} lines, holds {len(records)}; truncated: get it again"
        )
    return records
