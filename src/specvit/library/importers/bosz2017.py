"""BOSZ 2017 (ATLAS9, R up to 300 000): the ASCII files of MAST, one bzip2 file per model.

What the files are (sources: Bohlin et al. 2017, AJ 153, 234, appendix; https://archive.stsci.edu/prepds/bosz/;
the reader `boszspectrumreader.py` of Subaru-PFS-GA/ga_pfsspec_stellar):

- Name `amm03cm03om03t3500g15v20modrt0b50000rs.asc.bz2`: after `am`, sign (m/p) and two digits of 10 x [M/H],
  then c for [C/M] and o for [alpha/M] (oxygen stands for the alpha elements), t Teff, g 10 x log g,
  v 10 x microturbulence (km/s), rt rotation (km/s), b resolution. Quarter dex are rounded: 03 means 0.25.
- Columns: wavelength (Å, vacuum throughout), H (erg/s/cm²/Å; surface flux is π H), continuum.
- Two samples per resolution element, log-spaced. Wavelengths are printed with three decimals; at 7000-9000 Å
  that rounding is below 1 % of a sample and is left as it is.
"""

from __future__ import annotations

import re
from pathlib import Path

from specvit.library.importers.assemble import Progress, SourceSpectrum, assemble_library
from specvit.library.importers.nodes import Limits, Node, find_nodes, match_name, select_nodes
from specvit.library.importers.text_table import first_column_range, parse_rows, read_lines
from specvit.library.importers.window import LibraryWindow
from specvit.library.synthetic_library import SyntheticLibrary

SUFFIXES = (".asc.bz2", ".asc")
_NAME = re.compile(
    r"am(?P<m_h>[mp]\d{2})c(?P<c_m>[mp]\d{2})o(?P<alpha_m>[mp]\d{2})t(?P<teff>\d{4,5})g(?P<log_g>\d{2})"
    r"v(?P<vmic>\d{2})modrt(?P<rotation>\d+)b(?P<resolution>\d+)rs\.asc(\.bz2)?"
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
        DataError: if the file is damaged or is not a table of three columns; names it.
    """
    lines = read_lines(node.path)
    rows = parse_rows(node.path, lines[first_column_range(node.path, lines, low, high)], columns=3)
    return SourceSpectrum(rows[:, 0], rows[:, 1], rows[:, 2])


def import_bosz2017(
    folder: str | Path,
    window: LibraryWindow | None = None,
    limits: Limits | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> SyntheticLibrary:
    """Return the library made of the BOSZ 2017 ASCII files in `folder` and below.

    Args:
        folder: holds `*.asc.bz2` (or unpacked `*.asc`) files of one resolution.
        window: range and resolution of the result; 7000-8950 Å at R = 20000 by default.
        limits: label name -> (low, high), to import a part.
        workers: processes that read.
        progress: called with (done, total).

    Raises:
        DataError: for an empty folder, an unreadable name or file, NaN flux, duplicates; names the file.
        WavelengthRangeError: if the spectra do not cover the window or are not sharp enough.
    """
    nodes = select_nodes(find_nodes(Path(folder), SUFFIXES, parse_name), limits or {}, str(folder))
    provenance = {
        "name": "BOSZ 2017",
        "source": "BOSZ 2017 (Bohlin et al. 2017, AJ 153, 234), MAST, ASCII",
        "model_atmospheres": "ATLAS9, LTE, plane parallel",
    }
    return assemble_library(
        nodes, read_spectrum, window or LibraryWindow(), provenance, str(folder), workers, progress
    )
