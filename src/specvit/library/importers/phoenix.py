"""PHOENIX (Husser et al. 2013, A&A 553, A6): the HiRes FITS files of the Göttingen archive, one per model.

What the files are (sources: the paper, sections 2 and 3; https://phoenix.astro.physik.uni-goettingen.de):

- Name `lte05000-4.50-0.0.PHOENIX-ACES-AGSS-COND-2011-HiRes.fits`: Teff, log g with the sign reversed (-4.50 is 4.5),
  [Fe/H] (-0.0 is solar), and `.Alpha=+0.20` after it where [alpha/Fe] is not zero.
- One image: flux at the surface, erg/s/cm²/cm (`BUNIT`). No continuum. Labels again as `PHXTEFF`, `PHXLOGG`, `PHXM_H` and
  `PHXALPHA`.
- The wavelengths are in one file for all, `WAVE_PHOENIX-ACES-AGSS-COND-2011.fits`: Å in vacuum; the archive keeps it
  above the folders of spectra.
- R = 500 000 from 3000 to 25 000 Å; microturbulence follows the convective velocity of each model.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from specvit.errors import DataError
from specvit.library.importers.assemble import Progress, SourceSpectrum, assemble_library
from specvit.library.importers.fits_file import check_header, image, open_fits
from specvit.library.importers.nodes import Limits, Node, find_companion, find_nodes, match_name, select_nodes
from specvit.library.importers.window import LibraryWindow
from specvit.library.synthetic_library import SyntheticLibrary

SUFFIXES = ("-HiRes.fits", "-HiRes.fits.gz")
WAVELENGTHS = "WAVE_PHOENIX-ACES-AGSS-COND-2011.fits"
RESOLUTION = 500_000.0
#: Of fluxes per unit wavelength; what is per unit frequency has another shape.
UNITS = ("erg/s/cm^2/cm", "erg/s/cm**2/cm", "erg/s/cm2/cm", "")
_NAME = re.compile(
    r"lte(?P<teff>\d{5})(?P<log_g>[+-]\d\.\d{2})(?P<m_h>[+-]\d\.\d)(\.Alpha=(?P<alpha_m>[+-]\d\.\d{2}))?"
    r"\.PHOENIX-ACES-AGSS-COND-2011-HiRes\.fits(\.gz)?"
)


def parse_name(path: Path) -> Node:
    """Return the node a PHOENIX file name describes.

    Raises:
        DataError: if the name does not follow the convention.
    """
    example = "lte05000-4.50-0.0.Alpha=+0.20.PHOENIX-ACES-AGSS-COND-2011-HiRes.fits"
    match = match_name(_NAME, path, "PHOENIX HiRes", example)
    labels = {
        "teff": float(match["teff"]),
        "log_g": -float(match["log_g"]) + 0.0,
        "m_h": float(match["m_h"]) + 0.0,
        "alpha_m": float(match["alpha_m"] or 0) + 0.0,
    }
    return Node(path, labels, RESOLUTION, "microturbulence by model", "phoenix")


# Every node of a process needs it, and it has as many rows as a spectrum.
@lru_cache(maxsize=1)
def read_wavelengths(path: Path) -> np.ndarray:
    """Return the wavelengths of the samples, Å (vacuum), shape (L,).

    Raises:
        DataError: if the file is damaged or its values do not increase.
    """
    with open_fits(path) as hdus:
        wavelength = image(path, hdus)
    if not (np.diff(wavelength) > 0).all():
        raise DataError(f"{path.name}: wavelengths do not increase; download it again")
    return wavelength


class PhoenixReader:
    """Reads a node over a range; `wave` is the file of wavelengths."""

    def __init__(self, wave: Path) -> None:
        self.wave = wave

    def __call__(self, node: Node, low: float, high: float) -> SourceSpectrum:
        """Return the spectrum over [low, high] Å (vacuum); DataError names the file if it is unusable."""
        wavelength = read_wavelengths(self.wave)
        with open_fits(node.path) as hdus:
            keywords = {"PHXTEFF": "teff", "PHXLOGG": "log_g", "PHXM_H": "m_h", "PHXALPHA": "alpha_m"}
            check_header(node.path, hdus, {keyword: node.labels[name] for keyword, name in keywords.items()})
            unit = str(hdus[0].header.get("BUNIT", "")).strip()
            if unit not in UNITS:
                raise DataError(
                    f"{node.name}: its fluxes are in '{unit}', expected {UNITS[0]}; give the HiResFITS files of the archive"
                )
            flux = image(node.path, hdus)
        if len(flux) != len(wavelength):
            raise DataError(
                f"{node.name}: has {len(flux)} samples, but {self.wave.name} has {len(wavelength)}; download both again"
            )
        return SourceSpectrum(wavelength, flux).part(low, high)


def import_phoenix(
    folder: str | Path,
    window: LibraryWindow | None = None,
    limits: Limits | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> SyntheticLibrary:
    """Return the library made of the PHOENIX HiRes files in `folder` and below.

    Args:
        folder: holds `lte*-HiRes.fits` files and the file of wavelengths, in it, below or beside it.
        window: range and resolution of the result; 7000-8950 Å at R = 20000 by default.
        limits: label name -> (low, high), to import a part.
        workers: processes that read.
        progress: called with (done, total).

    Raises:
        AccessError: if the system does not give a file.
        DataError: for an empty folder, an unreadable name or file, labels in a header that are not those of the
            name, duplicates; names the file.
        WavelengthRangeError: if the spectra do not cover the window.
    """
    folder = Path(folder)
    found = find_nodes(folder, SUFFIXES, lambda path: [parse_name(path)], used=("WAVE_PHOENIX",))
    found = select_nodes(found, limits or {}, str(folder))
    wave = find_companion(
        found.nodes[0], folder, (WAVELENGTHS,), "get it from the archive's folder HiResFITS"
    )
    provenance = {
        "name": "PHOENIX",
        "source": "PHOENIX ACES-AGSS-COND 2011 (Husser et al. 2013, A&A 553, A6), Göttingen, HiRes FITS",
        "model_atmospheres": "PHOENIX, LTE, spherical",
    }
    return assemble_library(
        found, PhoenixReader(wave), window or LibraryWindow(), provenance, str(folder), workers, progress
    )
