"""Kurucz and Castelli fluxes of ATLAS9: the `.pck` files, one per composition, all Teff and log g in each.

What the files are (sources: http://kurucz.harvard.edu/grids.html; Castelli & Kurucz 2003, IAU Symposium 210, A20):

- Name `fp00k2odfnew.pck`, `fm05ak2odfnew.pck`: sign (m/p) and two digits of 10 x [M/H], `a` where [alpha/M] is +0.4,
  k and the microturbulence (km/s), the version of the opacities.
- A heading that ends with a line `END`; 1221 wavelengths in nm; then for each model a line
  `TEFF   5000.  GRAVITY 4.50000 LTE ...`, 1221 fluxes and 1221 continuum fluxes, eight to a line of ten characters each
  (1P8E10.4 in Kurucz's FLUXPACK): the Eddington flux H per unit frequency, erg/s/cm²/Hz/sr.
- One value per 20 Å between 5000 and 10 000 Å: these are for broad bands (R = 200 at most near 8000 Å).
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from specvit.errors import DataError
from specvit.library.importers.assemble import Progress, SourceSpectrum, assemble_library
from specvit.library.importers.nodes import Limits, Node, find_nodes, match_name, select_nodes
from specvit.library.importers.text_table import numbers, read_lines
from specvit.library.importers.window import LibraryWindow
from specvit.library.synthetic_library import SyntheticLibrary

SUFFIXES = (".pck", ".pck.gz")
SAMPLES, CHARACTERS = 1221, 10
#: [alpha/M] of the files with an `a` in their name.
ENHANCED = 0.4
#: Two samples of 20 Å per FWHM at 8000 Å.
RESOLUTION = 200.0
_NAME = re.compile(r"f(?P<m_h>[mp]\d{2})(?P<alpha>a?)k(?P<vmic>\d{1,2})(?P<version>[a-z0-9]*)\.pck(\.gz)?")
_MODEL = re.compile(rb"^TEFF\s+([\d.]+)\s+GRAVITY\s+([\d.]+)")


class FluxTable(NamedTuple):
    """One file: wavelengths (L,) in Å, (Teff, log g) of each model, flux and continuum (N, L) per Å, any unit."""

    wavelength: np.ndarray
    models: list[tuple[float, float]]
    flux: np.ndarray
    continuum: np.ndarray


# All models of a composition are in one file.
@lru_cache(maxsize=2)
def read_table(path: Path) -> FluxTable:
    """Return the models of a `.pck` file.

    Raises:
        DataError: if it is cut short or not such a file; names the file and the model.
    """
    # Some copies have the line ends of an old Macintosh; `splitlines` knows them.
    lines = read_lines(path)
    end = next((number for number, line in enumerate(lines) if line.strip() == b"END"), None)
    starts = [number for number, line in enumerate(lines) if _MODEL.match(line)]
    if end is None or not starts:
        raise DataError(
            f"{path.name}: not a file of ATLAS9 fluxes (no line END, or no TEFF); check the product"
        )
    wavelength = _numbers(path, b" ".join(lines[end + 1 : starts[0]]).split(), "wavelengths", SAMPLES) * 10
    if not (np.diff(wavelength) > 0).all():
        raise DataError(f"{path.name}: wavelengths do not increase; download it again")
    models, spectra = [], []
    for start, stop in zip(starts, [*starts[1:], len(lines)], strict=True):
        match = _MODEL.match(lines[start])
        assert match is not None
        models.append((float(match[1]), float(match[2])))
        # Ten characters each, without spaces between them; every array begins on a line of its own.
        fields = [
            line[at : at + CHARACTERS] for line in lines[start + 1 : stop]
            for at in range(0, len(line.rstrip()), CHARACTERS)
        ]  # fmt: skip
        name = f"fluxes of Teff = {models[-1][0]:g}, log g = {models[-1][1]:g}"
        spectra.append(_numbers(path, fields, name, 2 * SAMPLES))
    # Per unit wavelength: H(λ) = H(ν) c / λ².
    values = np.array(spectra) / np.tile(wavelength, 2) ** 2
    return FluxTable(wavelength, models, values[:, :SAMPLES], values[:, SAMPLES:])


def _numbers(path: Path, fields: list[bytes], what: str, count: int) -> np.ndarray:
    if len(fields) != count:
        raise DataError(
            f"{path.name}: {what}: expected {count} numbers, got {len(fields)}; download it again"
        )
    try:
        return numbers(fields)
    except ValueError as error:
        raise DataError(f"{path.name}: {what}: not numbers ({error}); download it again") from error


def parse_file(path: Path) -> list[Node]:
    """Return the nodes of a `.pck` file: composition from its name, Teff and log g from its content.

    Raises:
        DataError: if the name does not follow the convention, or the file cannot be read.
    """
    match = match_name(_NAME, path, "Kurucz/Castelli", "fm05ak2odfnew.pck")
    m_h = int(match["m_h"][1:]) / 10
    composition = {
        "m_h": -m_h if match["m_h"][0] == "m" and m_h else m_h,
        "alpha_m": ENHANCED if match["alpha"] else 0.0,
    }
    kind = f"microturbulence {int(match['vmic'])} km/s, opacities '{match['version'] or 'old'}'"
    return [
        Node(path, {"teff": teff, "log_g": log_g} | composition, RESOLUTION, kind, "ap", (row,))
        for row, (teff, log_g) in enumerate(read_table(path).models)
    ]


def read_spectrum(node: Node, low: float, high: float) -> SourceSpectrum:
    """Return a model over [low, high] Å; DataError names the file if it is unusable."""
    table, row = read_table(node.path), node.index[0]
    return SourceSpectrum(table.wavelength, table.flux[row], table.continuum[row]).part(low, high)


def import_castelli(
    folder: str | Path,
    window: LibraryWindow | None = None,
    limits: Limits | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> SyntheticLibrary:
    """Return the library made of the Kurucz/Castelli `.pck` files in `folder` and below.

    Args:
        folder: holds `f*k*.pck` files of one microturbulence and one version of the opacities.
        window: range and resolution of the result; the resolution may be at most 200.
        limits: label name -> (low, high), to import a part.
        workers: processes that read.
        progress: called with (done, total).

    Raises:
        AccessError: if the system does not give a file.
        DataError: for an empty folder, an unreadable name or file, mixed microturbulence; names the file.
        WavelengthRangeError: if the spectra do not cover the window or are not sharp enough.
    """
    found = select_nodes(find_nodes(Path(folder), SUFFIXES, parse_file), limits or {}, str(folder))
    provenance = {
        "name": "ATLAS9 fluxes",
        "source": "Kurucz and Castelli, ATLAS9 .pck files (Castelli & Kurucz 2003, IAU Symposium 210, A20)",
        "model_atmospheres": "ATLAS9, LTE, plane parallel",
    }
    return assemble_library(
        found, read_spectrum, window or LibraryWindow(), provenance, str(folder), workers, progress
    )
