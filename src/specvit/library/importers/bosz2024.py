"""BOSZ 2024 (MARCS and ATLAS9, Synspec): the resampled text files of MAST, one gzip file per model.

What the files are (sources: Meszaros et al. 2024, A&A 688, A197; https://archive.stsci.edu/hlsp/bosz and its
readme; checked against line positions measured by users of the archive):

- Name `bosz2024_mp_t5000_g+5.0_m+0.00_a+0.00_c+0.00_v0_r50000_resam.txt.gz`: model atmosphere (mp MARCS plane
  parallel, ms MARCS spherical, ap ATLAS9), Teff, log g, [M/H], [alpha/M], [C/M], microturbulence (km/s),
  resolution, product. From 7500 to 8000 K MARCS and ATLAS9 files exist for the same labels.
- Two columns, no header: H (erg/s/cm²/Å; surface flux is 4 π H, not π H as in 2017) and continuum.
- The wavelengths are in one separate file per resolution, `bosz2024_wave_r50000.txt`, row by row: Å, **in air
  above 2000 Å** and in vacuum below (2017 was vacuum throughout), uniform in ln λ with 2.32 samples per FWHM.
  They are converted to vacuum here; the conversion formula of the authors is not stated, and the usual ones
  differ by less than 1e-4 Å.
- The archive's folders: `r50000/m+0.00/bosz2024_...txt.gz` and, beside `r50000`, `wavelength_grids/`.
- `noresam` (native resolution) and `lineid` products are not read, and counted: their resolution is not constant.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from specvit.errors import DataError
from specvit.library.importers.assemble import Progress, SourceSpectrum, assemble_library
from specvit.library.importers.nodes import (
    Limits,
    Node,
    choose_resolution,
    find_companion,
    find_nodes,
    match_name,
    select_nodes,
)
from specvit.library.importers.text_table import parse_rows, read_lines
from specvit.library.importers.window import LibraryWindow
from specvit.library.synthetic_library import SyntheticLibrary
from specvit.spectra.air import SHORTEST_AIR_WAVELENGTH, air_to_vacuum

SUFFIXES = ("_resam.txt.gz", "_resam.txt")
#: Products that are not read, by the ends of their names.
OTHERS = {
    f"{product}{end}": f"{product.strip('_')} files"
    for product in ("noresam", "lineid")
    for end in (".txt.gz", ".txt")
}
ATMOSPHERES = {"mp": "MARCS plane parallel", "ms": "MARCS spherical", "ap": "ATLAS9 plane parallel"}
_NAME = re.compile(
    r"bosz2024_(?P<family>mp|ms|ap)_t(?P<teff>\d{4,5})_g(?P<log_g>[+-]\d+\.\d+)_m(?P<m_h>[+-]\d+\.\d+)"
    r"_a(?P<alpha_m>[+-]\d+\.\d+)_c(?P<c_m>[+-]\d+\.\d+)_v(?P<vmic>\d+)_r(?P<resolution>\d+)_resam\.txt(\.gz)?"
)


def parse_name(path: Path) -> Node:
    """Return the node a BOSZ 2024 file name describes.

    Raises:
        DataError: if the name does not follow the convention.
    """
    example = "bosz2024_mp_t5000_g+4.5_m+0.00_a+0.00_c+0.00_v2_r50000_resam.txt.gz"
    match = match_name(_NAME, path, "BOSZ 2024", example)
    labels = {name: float(match[name]) + 0.0 for name in ("teff", "log_g", "m_h", "alpha_m", "c_m")}
    kind = f"microturbulence {match['vmic']} km/s"
    return Node(path, labels, float(match["resolution"]), kind, match["family"])


def wavelength_file(node: Node, folder: Path) -> Path:
    """Return the wavelength file of a node, see `find_companion`.

    Raises:
        DataError: if it is not found; says where to get it.
    """
    name = f"bosz2024_wave_r{node.resolution:.0f}.txt"
    mend = "get it from the archive's folder wavelength_grids"
    return find_companion(node, folder, (name, f"{name}.gz"), mend)


# Every node of a process needs it, and it has as many rows as a spectrum.
@lru_cache(maxsize=2)
def read_wavelengths(path: Path) -> np.ndarray:
    """Return the wavelengths of the samples, Å (vacuum), shape (L,).

    Raises:
        DataError: if the file is damaged or its values do not increase.
    """
    wavelength = parse_rows(path, read_lines(path), columns=1)[:, 0]
    if not (np.diff(wavelength) > 0).all():
        raise DataError(f"{path.name}: wavelengths do not increase; download it again")
    in_air = wavelength > SHORTEST_AIR_WAVELENGTH
    return np.concatenate([wavelength[~in_air], air_to_vacuum(wavelength[in_air])])


class Bosz2024Reader:
    """Reads the rows of a node that fall into a range; `wave` is the file of wavelengths."""

    def __init__(self, wave: Path) -> None:
        self.wave = wave

    def __call__(self, node: Node, low: float, high: float) -> SourceSpectrum:
        """Return the spectrum over [low, high] Å (vacuum); DataError names the file if it is unusable."""
        wavelength = read_wavelengths(self.wave)
        lines = read_lines(node.path)
        if len(lines) != len(wavelength):
            raise DataError(
                f"{node.name}: has {len(lines)} rows, but {self.wave.name} has {len(wavelength)}; "
                "download both again at one resolution"
            )
        # Only the rows that are wanted are made numbers of.
        first, last = np.searchsorted(wavelength, (low, high))
        kept = slice(max(int(first) - 1, 0), int(last) + 1)
        rows = parse_rows(node.path, lines[kept], columns=2)
        reach = float(wavelength[0]), float(wavelength[-1])
        return SourceSpectrum(wavelength[kept], rows[:, 0], rows[:, 1], reach)


def import_bosz2024(
    folder: str | Path,
    window: LibraryWindow | None = None,
    limits: Limits | None = None,
    atmosphere: str | None = None,
    microturbulence: float | None = None,
    source_resolution: float | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> SyntheticLibrary:
    """Return the library made of the BOSZ 2024 files in `folder` and below.

    Args:
        folder: holds `*_resam.txt.gz` files and their wavelength file, in the archive's folders or in one.
        window: range and resolution of the result; 7000-8950 Å at R = 20000 by default.
        limits: label name -> (low, high), to import a part.
        atmosphere: keep only "mp", "ms", "ap", or several separated by commas.
        microturbulence: keep only this value, km/s.
        source_resolution: keep only files of this resolution; needed if there are several.
        workers: processes that read.
        progress: called with (done, total).

    Raises:
        DataError: for an empty folder, an unreadable name or file, NaN flux, mixed microturbulence, two files
            with the same labels; names the file.
        WavelengthRangeError: if the spectra do not cover the window or are not sharp enough.
    """
    folder = Path(folder)
    found = find_nodes(folder, SUFFIXES, lambda path: [parse_name(path)], OTHERS, ("bosz2024_wave_",))
    families = set(atmosphere.split(",")) if atmosphere else set(ATMOSPHERES)
    unknown = families - set(ATMOSPHERES)
    if unknown:
        raise DataError(
            f"atmosphere: '{sorted(unknown)[0]}' is not known; choose from {', '.join(ATMOSPHERES)}"
        )
    kind = None if microturbulence is None else f"microturbulence {microturbulence:g} km/s"
    found = found.keep("of another atmosphere", lambda node: node.family in families)
    found = found.keep("of another microturbulence", lambda node: kind in (None, node.kind))
    found = choose_resolution(found, source_resolution, str(folder)) if found.nodes else found
    found = select_nodes(found, limits or {}, str(folder))
    counts = {ATMOSPHERES[f]: sum(n.family == f for n in found.nodes) for f in sorted(families)}
    provenance = {
        "name": "BOSZ 2024",
        "source": "BOSZ 2024 (Meszaros et al. 2024, A&A 688, A197), MAST, resampled",
        "model_atmospheres": {name: count for name, count in counts.items() if count},
    }
    reader = Bosz2024Reader(wavelength_file(found.nodes[0], folder))
    return assemble_library(
        found, reader, window or LibraryWindow(), provenance, str(folder), workers, progress
    )
