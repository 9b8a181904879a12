"""BOSZ 2017 (ATLAS9, R up to 300 000): the ASCII and FITS files of MAST, one per model.

What the files are (sources: Bohlin et al. 2017, AJ 153, 234, appendix; https://archive.stsci.edu/prepds/bosz/;
the reader `boszspectrumreader.py` of Subaru-PFS-GA/ga_pfsspec_stellar):

- Name `amm03cm03om03t3500g15v20modrt0b50000rs.asc.bz2`: after `am`, sign (m/p) and two digits of 10 x [M/H],
  then c for [C/M] and o for [alpha/M] (oxygen stands for the alpha elements), t Teff, g 10 x log g,
  v 10 x microturbulence (km/s), rt rotation (km/s), b resolution. Quarter dex are rounded: 03 means 0.25.
- Columns: wavelength (Å, vacuum throughout), H (erg/s/cm²/Å; surface flux is π H), continuum.
- FITS: the same columns as a table, `Wavelength`, `SpecificIntensity`, `Continuum`, and the labels in the first
  header (there `MICROTUR` is 10 x km/s and `INSBROAD` the resolution, whatever their comments say).
- Two samples per resolution element, log-spaced. Wavelengths are printed with three decimals; at 7000-9000 Å
  that rounding is below 1 % of a sample and is left as it is.
"""

from __future__ import annotations

import re
from pathlib import Path

from specvit.library.importers.assemble import Progress, SourceSpectrum, assemble_library
from specvit.library.importers.fits_file import check_header, columns, open_fits
from specvit.library.importers.nodes import (
    Limits,
    Node,
    choose_resolution,
    find_nodes,
    match_name,
    select_nodes,
)
from specvit.library.importers.text_table import first_column_range, first_number, parse_rows, read_lines
from specvit.library.importers.window import LibraryWindow
from specvit.library.synthetic_library import SyntheticLibrary

SUFFIXES = (".asc.bz2", ".asc", "rs.fits", "rs.fits.gz")
_NAME = re.compile(
    r"am(?P<m_h>[mp]\d{2})c(?P<c_m>[mp]\d{2})o(?P<alpha_m>[mp]\d{2})t(?P<teff>\d{4,5})g(?P<log_g>\d{2})"
    r"v(?P<vmic>\d{2})modrt(?P<rotation>\d+)b(?P<resolution>\d+)rs\.(asc(\.bz2)?|fits(\.gz)?)"
)


def parse_name(path: Path) -> Node:
    """Return the node a BOSZ 2017 file name describes.

    Raises:
        DataError: if the name does not follow the convention.
    """
    match = match_name(_NAME, path, "BOSZ 2017", "amp00cp00op00t5000g45v20modrt0b50000rs.asc.bz2")
    labels = {
        "teff": float(match["teff"]),
        "log_g": int(match["log_g"]) / 10,
        "m_h": quarter_dex(match["m_h"]),
        "alpha_m": quarter_dex(match["alpha_m"]),
        "c_m": quarter_dex(match["c_m"]),
    }
    kind = f"microturbulence {int(match['vmic']) / 10:g} km/s, rotation {match['rotation']} km/s"
    return Node(path, labels, float(match["resolution"]), kind, "ap")


def quarter_dex(token: str) -> float:
    """Return the value of a token such as 'm03' (-0.25) or 'p08' (0.75): a quarter dex rounded to a tenth."""
    value = round(int(token[1:]) / 10 * 4) / 4
    # m00 is plain zero, not -0.0.
    return -value if token[0] == "m" and value else value


def read_spectrum(node: Node, low: float, high: float) -> SourceSpectrum:
    """Return the rows of a BOSZ 2017 file over [low, high] Å.

    Raises:
        DataError: if the file is damaged, is not a table of three columns, or has labels other than its name; names it.
    """
    if ".fits" in node.path.name:
        return _read_fits(node, low, high)
    lines = read_lines(node.path)
    rows = parse_rows(node.path, lines[first_column_range(node.path, lines, low, high)], columns=3)
    reach = first_number(node.path, lines[0]), first_number(node.path, lines[-1])
    return SourceSpectrum(rows[:, 0], rows[:, 1], rows[:, 2], reach)


def _read_fits(node: Node, low: float, high: float) -> SourceSpectrum:
    with open_fits(node.path) as hdus:
        keywords = {"T_EFF": "teff", "LOGG": "log_g", "MH": "m_h", "CM": "c_m", "ALPHA": "alpha_m"}
        check_header(node.path, hdus, {keyword: node.labels[name] for keyword, name in keywords.items()})
        wavelength, flux, continuum = columns(
            node.path, hdus, ("Wavelength", "SpecificIntensity", "Continuum")
        )
    return SourceSpectrum(wavelength, flux, continuum).part(low, high)


def import_bosz2017(
    folder: str | Path,
    window: LibraryWindow | None = None,
    limits: Limits | None = None,
    source_resolution: float | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> SyntheticLibrary:
    """Return the library made of the BOSZ 2017 files in `folder` and below.

    Args:
        folder: holds `*.asc.bz2` (or unpacked `*.asc`) or `*.fits` files.
        window: range and resolution of the result; 7000-8950 Å at R = 20000 by default.
        limits: label name -> (low, high), to import a part.
        source_resolution: keep only files of this resolution; needed if there are several.
        workers: processes that read.
        progress: called with (done, total).

    Raises:
        DataError: for an empty folder, an unreadable name or file, NaN flux, duplicates; names the file.
        WavelengthRangeError: if the spectra do not cover the window or are not sharp enough.
    """
    found = choose_resolution(
        find_nodes(Path(folder), SUFFIXES, lambda path: [parse_name(path)]), source_resolution, str(folder)
    )
    found = select_nodes(found, limits or {}, str(folder))
    provenance = {
        "name": "BOSZ 2017",
        "source": "BOSZ 2017 (Bohlin et al. 2017, AJ 153, 234), MAST",
        "model_atmospheres": "ATLAS9, LTE, plane parallel",
    }
    return assemble_library(
        found, read_spectrum, window or LibraryWindow(), provenance, str(folder), workers, progress
    )
