"""Spectra cut out of a pfsspec grid and kept as a table: one HDF5 file with `flux` (N, L), `para` (N, 5) and `wave` (L).

The columns of `para` are the axes of the BOSZ grid in pfsspec's order: [M/H], Teff, log g, [C/M], [alpha/M]. Wavelengths are
in vacuum, as in BOSZ 2017. Other members of the file are not read, and counted.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from specvit.documents.hdf5 import HdfFile, open_hdf5
from specvit.errors import DataError, WavelengthRangeError
from specvit.library.importers.assemble import SourceSpectrum
from specvit.library.importers.nodes import Found, Node, counted
from specvit.spectra import WavelengthGrid

COLUMNS = ("m_h", "teff", "log_g", "c_m", "alpha_m")
MEMBERS = ("flux", "para", "wave")


def is_table(file: HdfFile) -> bool:
    """Return whether the file has this layout."""
    return all(name in file for name in MEMBERS) and "grid" not in file


def find_rows(path: Path, file: HdfFile, resolution: float) -> Found:
    """Return one node per row.

    Raises:
        DataError: if arrays do not go together or a label is not finite; names file and key.
    """
    labels = file.array("para", (None, len(COLUMNS))).astype(np.float64)
    if not np.isfinite(labels).all():
        raise DataError(
            f"{path.name}: 'para' is not finite in row {int(np.argmin(np.isfinite(labels).all(axis=1)))}"
        )
    file.dataset("flux", (len(labels), file.dataset("wave", (None,)).shape[0]))
    nodes = [
        Node(path, dict(zip(COLUMNS, row, strict=True)), resolution, index=(k,))
        for k, row in enumerate(labels.tolist())
    ]
    others = [name for name in file.members("/") if name not in MEMBERS]
    return Found(nodes, counted({f"array '{name}'": 1 for name in others}))


class TableReader:
    """Reads rows of a table over a wavelength range."""

    def __call__(self, node: Node, low: float, high: float) -> SourceSpectrum:
        """Return the spectrum over [low, high] Å; DataError names the row if it cannot be read."""
        with open_hdf5(node.path, "table of spectra", "give the HDF5 file") as file:
            stored = file.array("wave", (None,)).astype(np.float64)
            try:
                wavelength = WavelengthGrid(stored).wavelength
            except WavelengthRangeError as error:
                raise DataError(f"{node.path.name}: 'wave': {error}") from error
            flux = file.dataset("flux", (None, len(wavelength))).read(node.index[0]).astype(np.float64)
        return SourceSpectrum(wavelength, flux).part(low, high)
