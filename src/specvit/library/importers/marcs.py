"""MARCS (Gustafsson et al. 2008, A&A 486, 951): the `.flx` files of the MARCS web site, one per model.

What the files are (source: https://marcs.astro.uu.se and its documentation):

- Name `p5000_g+4.5_m0.0_t02_st_z+0.00_a+0.00_c+0.00_n+0.00_o+0.00_r+0.00_s+0.00.flx`: geometry (p plane parallel,
  s spherical), Teff, log g, mass (0.0 for plane parallel), microturbulence (km/s), class of composition, [Fe/H], [alpha/Fe],
  [C/Fe], [N/Fe], [O/Fe], [r/Fe], [s/Fe].
- One column: flux at the surface, erg/s/cm²/Å. No continuum.
- The wavelengths are in one file for all, `flx_wavelengths.vac`: Å in vacuum, at equal steps λ/Δλ = 20 000.
- These are samples of the opacity, not resolved lines: each value is the flux at one wavelength, with lines narrower than
  the step. Two samples per FWHM is the most that can be asked (R = 10 000), and only averages over many samples, a few
  hundred of R, are those of a star.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from specvit.errors import DataError
from specvit.library.importers.assemble import Progress, SourceSpectrum, assemble_library
from specvit.library.importers.nodes import Limits, Node, find_companion, find_nodes, match_name, select_nodes
from specvit.library.importers.text_table import parse_rows, read_lines
from specvit.library.importers.window import LibraryWindow
from specvit.library.synthetic_library import SyntheticLibrary

SUFFIXES = (".flx", ".flx.gz")
WAVELENGTHS = ("flx_wavelengths.vac", "flx_wavelengths.vac.gz")
#: Structures of the same models.
OTHERS = {".mod": "model atmospheres", ".mod.gz": "model atmospheres"}
RESOLUTION = 10_000.0
GEOMETRY = {"p": "plane parallel", "s": "spherical"}
_DEX = r"[+-]\d\.\d{2}"
_NAME = re.compile(
    r"(?P<geometry>[ps])(?P<teff>\d{4})_g(?P<log_g>[+-]\d\.\d)_m(?P<mass>\d+\.\d)_t(?P<vmic>\d{2})_(?P<mix>[a-z]{2})"
    rf"_z(?P<m_h>{_DEX})_a(?P<alpha_m>{_DEX})_c(?P<c_m>{_DEX})_n(?P<n>{_DEX})_o(?P<o>{_DEX})"
    rf"_r(?P<r>{_DEX})_s(?P<s>{_DEX})\.flx(\.gz)?"
)


def parse_name(path: Path) -> Node:
    """Return the node a MARCS file name describes.

    Raises:
        DataError: if the name does not follow the convention.
    """
    example = "p5000_g+4.5_m0.0_t02_st_z+0.00_a+0.00_c+0.00_n+0.00_o+0.00_r+0.00_s+0.00.flx"
    match = match_name(_NAME, path, "MARCS", example)
    labels = {name: float(match[name]) + 0.0 for name in ("teff", "log_g", "m_h", "alpha_m", "c_m")}
    # What has no label here must be equal within a library.
    shifts = {"N": float(match["n"]), "O over alpha": float(match["o"]) - labels["alpha_m"]}
    shifts |= {"r": float(match["r"]), "s": float(match["s"])}
    peculiar = "".join(f", {name} {shift:+.2f}" for name, shift in shifts.items() if abs(shift) > 0.005)
    family = f"{GEOMETRY[match['geometry']]}, {match['mass']} solar masses"
    return Node(path, labels, RESOLUTION, f"microturbulence {int(match['vmic'])} km/s{peculiar}", family)


# Every node of a process needs it, and it has as many rows as a spectrum.
@lru_cache(maxsize=1)
def read_wavelengths(path: Path) -> np.ndarray:
    """Return the wavelengths of the samples, Å (vacuum), shape (L,).

    Raises:
        DataError: if the file is damaged or its values do not increase.
    """
    wavelength = parse_rows(path, read_lines(path), columns=1)[:, 0]
    if not (np.diff(wavelength) > 0).all():
        raise DataError(f"{path.name}: wavelengths do not increase; download it again")
    return wavelength


class MarcsReader:
    """Reads a node over a range; `wave` is the file of wavelengths."""

    def __init__(self, wave: Path) -> None:
        self.wave = wave

    def __call__(self, node: Node, low: float, high: float) -> SourceSpectrum:
        """Return the spectrum over [low, high] Å (vacuum); DataError names the file if it is unusable."""
        wavelength, lines = read_wavelengths(self.wave), read_lines(node.path)
        if len(lines) != len(wavelength):
            raise DataError(
                f"{node.name}: has {len(lines)} rows, but {self.wave.name} has {len(wavelength)}; download both again"
            )
        return SourceSpectrum(wavelength, parse_rows(node.path, lines, columns=1)[:, 0]).part(low, high)


def import_marcs(
    folder: str | Path,
    window: LibraryWindow | None = None,
    limits: Limits | None = None,
    atmosphere: str | None = None,
    microturbulence: float | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> SyntheticLibrary:
    """Return the library made of the MARCS `.flx` files in `folder` and below.

    Args:
        folder: holds `*.flx` (or `*.flx.gz`) files and `flx_wavelengths.vac`.
        window: range and resolution of the result; the resolution may be at most 10 000.
        limits: label name -> (low, high), to import a part.
        atmosphere: keep only "p" (plane parallel) or "s" (spherical) models.
        microturbulence: keep only this value, km/s.
        workers: processes that read.
        progress: called with (done, total).

    Raises:
        AccessError: if the system does not give a file.
        DataError: for an empty folder, an unreadable name or file, mixed microturbulence or composition, two files with
            the same labels; names the file.
        WavelengthRangeError: if the spectra do not cover the window or are not sharp enough.
    """
    folder = Path(folder)
    if atmosphere is not None and atmosphere not in GEOMETRY:
        raise DataError(f"atmosphere: '{atmosphere}' is not known; choose from {', '.join(GEOMETRY)}")
    found = find_nodes(folder, SUFFIXES, lambda path: [parse_name(path)], OTHERS, ("flx_wavelengths",))
    wanted = GEOMETRY.get(atmosphere or "", "")
    found = found.keep("of another atmosphere", lambda node: node.family.startswith(wanted))
    if microturbulence is not None:
        kind = f"microturbulence {microturbulence:g} km/s"
        found = found.keep("of another microturbulence", lambda node: node.kind.startswith(kind))
    found = select_nodes(found, limits or {}, str(folder))
    wave = find_companion(found.nodes[0], folder, WAVELENGTHS, "get it from the MARCS web site")
    provenance = {
        "name": "MARCS",
        "source": "MARCS (Gustafsson et al. 2008, A&A 486, 951), .flx files",
        "model_atmospheres": "MARCS, LTE",
        "caution": "samples of the opacity at λ/Δλ = 20000, not resolved lines",
    }
    return assemble_library(
        found, MarcsReader(wave), window or LibraryWindow(), provenance, str(folder), workers, progress
    )
