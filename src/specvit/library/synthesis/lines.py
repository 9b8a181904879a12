"""Line lists: what the synthesis needs of a spectral line, read from CSV or VALD extracts (see `vald`)."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specvit.documents.opening import read_bytes
from specvit.errors import DataError
from specvit.library.synthesis.vald import Record, read_vald

#: CSV columns; the damping constants may be left out (0 lets the synthesis estimate them).
CSV_REQUIRED = ("species", "wavelength_air", "excitation_ev", "log_gf")
CSV_OPTIONAL = ("gamma_rad", "gamma_stark", "gamma_waals")

_SPECIES = re.compile(r"[A-Z][A-Za-z0-9]* \d+")


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
    text = read_bytes(path, "line list", "give a line list").decode("utf-8", "replace")
    records = _read_csv(path, text) if path.suffix.lower() == ".csv" else read_vald(path, text)
    if not records:
        raise DataError(f"{path.name}: holds no lines; check the file")
    numbers = np.array([record[1:] for record in records], dtype=np.float64)
    species = np.array([record[0] for record in records], dtype=str)
    if not np.isfinite(numbers).all():
        raise DataError(f"{path.name}: line {int(np.argmin(np.isfinite(numbers).all(axis=1))) + 1} has a NaN")
    order = np.argsort(numbers[:, 0], kind="stable")
    return LineTable(species[order], *numbers[order].T)


def _read_csv(path: Path, text: str) -> list[Record]:
    rows = csv.DictReader(text.splitlines())
    missing = [name for name in CSV_REQUIRED if name not in (rows.fieldnames or [])]
    if missing:
        raise DataError(
            f"{path.name}: no column '{missing[0]}'; a CSV line list needs {', '.join(CSV_REQUIRED)} "
            f"and may have {', '.join(CSV_OPTIONAL)}"
        )
    records: list[Record] = []
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
