"""pfsspec grids: one HDF5 file with the fluxes of a rectangular grid of stellar labels, some cells empty.

Keys, as written by `ModelGrid`, `ArrayGrid`, `Grid` and `PfsObject` of Subaru-PFS-GA/ga_pfsspec_core and
ga_pfsspec_stellar (read in their source; no file of theirs was at hand):

- `modelgrid/wave` (Å; `wave` at the root in early files). Attribute `is_wave_vacuum` of `modelgrid` in recent
  files: if it is false the wavelengths are in air; without it pfsspec takes them as vacuum.
- `grid/axes/<order>/<name>` (in early files `grid/axes/<name>`, whose order is not stored: then it is that of
  the BOSZ configuration, M_H, T_eff, log_g, C_M, a_M).
- `grid/arrays/flux/value`, shape (axes..., L), and `grid/arrays/flux/index`, true where a model exists;
  `grid/arrays/cont/value` and `.../index` likewise, if a continuum was kept. Values where an index is false mean
  nothing: such cells are left out, and a continuum that some model lacks is.
- Attributes (scalars and strings are attributes, not datasets): `type` of `grid` ("ArrayGrid"), `config_pca`,
  `config_rbf` and, if the flux is divided by a fitted continuum, `continuum_model` of `modelgrid`.

The resolution is not in the file: the caller states it. PCA-compressed, RBF-interpolated and
continuum-normalised grids are refused: they are derived products of such a grid.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specvit.documents.hdf5 import INTEGERS, TRUTHS, HdfFile, open_hdf5
from specvit.errors import DataError, LabelError, WavelengthRangeError
from specvit.library.importers.assemble import Progress, SourceSpectrum, assemble_library
from specvit.library.importers.nodes import Found, Limits, Node, check_limits, counted, select_nodes
from specvit.library.importers.pfsspec_table import TableReader, find_rows, is_table
from specvit.library.importers.window import LibraryWindow
from specvit.library.synthetic_library import SyntheticLibrary
from specvit.spectra import WavelengthGrid
from specvit.spectra.air import air_to_vacuum

AXIS_LABELS = {
    "T_eff": "teff",
    "log_g": "log_g",
    "M_H": "m_h",
    "Fe_H": "m_h",
    "a_M": "alpha_m",
    "O_M": "alpha_m",
    "C_M": "c_m",
}
EARLY_ORDER = ("M_H", "Fe_H", "T_eff", "log_g", "C_M", "a_M", "O_M")
#: Cells at most: BOSZ has 1.6 million.
MOST_CELLS = 10**8
FLUX, CONTINUUM = "grid/arrays/flux", "grid/arrays/cont"


@dataclass(frozen=True)
class GridLayout:
    """What a pfsspec file says of itself: axes in order, wavelengths in Å (vacuum), cells that are filled.

    `without_continuum` counts filled cells whose continuum is marked as not valid; with any there is none.
    """

    axes: dict[str, np.ndarray]
    wavelength: np.ndarray
    filled: np.ndarray
    has_continuum: bool
    without_continuum: int


def read_layout(path: Path) -> GridLayout:
    """Return the layout of a pfsspec grid file.

    Raises:
        DataError: if the file is not a readable pfsspec array grid, or a derived one; names file and key.
    """
    with _opened(path) as file:
        _refuse_derived(path, file)
        axes = _read_axes(path, file)
        wavelength = _read_wavelength(path, file)
        cells = tuple(len(values) for values in axes.values())
        _check_spectra(path, file, FLUX, axes, len(wavelength))
        filled = _read_index(file, FLUX, cells)
        without = 0
        if has_continuum := f"{CONTINUUM}/value" in file:
            _check_spectra(path, file, CONTINUUM, axes, len(wavelength))
            without = int((filled & ~_read_index(file, CONTINUUM, cells)).sum())
        return GridLayout(axes, wavelength, filled, has_continuum and not without, without)


def _read_index(file: HdfFile, array: str, cells: tuple[int, ...]) -> np.ndarray:
    """Return where the values of an array are valid, shape (axes...); without an index they all are."""
    key = f"{array}/index"
    if key not in file:
        return np.ones(cells, dtype=bool)
    valid: np.ndarray = file.array(key, cells, TRUTHS + INTEGERS).astype(bool)
    return valid


def _opened(path: Path) -> AbstractContextManager[HdfFile]:
    return open_hdf5(path, "pfsspec grid", "give the grid's HDF5 file")


def _check_spectra(path: Path, file: HdfFile, array: str, axes: dict[str, np.ndarray], pixels: int) -> None:
    """Raise DataError unless `array` has one spectrum per cell of the axes; reads none."""
    key = f"{array}/value"
    shape = (*(len(values) for values in axes.values()), pixels)
    # Empty cells may never have been written, so the array may be stored in part.
    found = file.dataset(key, (None,) * len(shape), sparse=True).shape
    if found != shape:
        raise DataError(
            f"{path.name}: '{key}' has shape {found}, but the axes ({', '.join(axes)}) and "
            f"wavelengths say {shape}; the file is incomplete or of another version"
        )


def _refuse_derived(path: Path, file: HdfFile) -> None:
    def stated(name: str, key: str) -> bool:
        return file.has_attribute(name, key) and not _is_false(file, name, key)

    for key in ("modelgrid", "/"):
        if stated("continuum_model", key):
            continuum = file.attribute("continuum_model", str, key)
            raise DataError(
                f"{path.name}: its flux is divided by a fitted continuum ('{continuum}'); "
                "give the grid as it was before the fit"
            )
    kind = file.attribute("type", str, "grid") if file.has_attribute("type", "grid") else None
    derived = stated("config_pca", "modelgrid") or stated("config_rbf", "modelgrid")
    if derived or kind not in (None, "ArrayGrid"):
        raise DataError(
            f"{path.name}: is a compressed or interpolated grid ({kind}); give the array grid behind it"
        )


def _is_false(file: HdfFile, name: str, key: str) -> bool:
    """Return whether an attribute says no: false, or an empty text."""
    try:
        return not file.attribute(name, bool, key)
    except DataError:
        return not file.attribute(name, str, key)


def _read_axes(path: Path, file: HdfFile) -> dict[str, np.ndarray]:
    if "grid/axes" not in file:
        raise DataError(f"{path.name}: has no 'grid/axes'; is it a pfsspec model grid?")
    members = file.members("grid/axes")
    if "0" in members:
        # By number: names are listed alphabetically, "10" before "2".
        orders = [order for order in members if order.isdecimal()]
        keys = [
            f"{order}/{name}"
            for order in sorted(orders, key=int)
            for name in file.members(f"grid/axes/{order}")
        ]
    else:
        keys = [name for name in EARLY_ORDER if name in members]
    axes = {
        key.rpartition("/")[2]: file.array(f"grid/axes/{key}", (None,)).astype(np.float64) for key in keys
    }
    unknown = [name for name in axes if name not in AXIS_LABELS and len(axes[name]) > 1]
    if not axes or unknown or len({AXIS_LABELS.get(name, name) for name in axes}) < len(keys):
        raise DataError(
            f"{path.name}: axes {', '.join(axes)} are not labels; known are {', '.join(AXIS_LABELS)}"
        )
    for name, values in axes.items():
        if not np.isfinite(values).all() or len(np.unique(values)) < max(len(values), 1):
            raise DataError(f"{path.name}: axis {name} has no values, or not finite, different ones")
    if (cells := math.prod(len(values) for values in axes.values())) > MOST_CELLS:
        raise DataError(f"{path.name}: its axes make {cells:,} cells, more than any grid has")
    return axes


def _read_wavelength(path: Path, file: HdfFile) -> np.ndarray:
    key = "modelgrid/wave" if "modelgrid/wave" in file else "wave"
    if key not in file:
        raise DataError(f"{path.name}: has no 'modelgrid/wave'; is it a pfsspec model grid?")
    try:
        wavelength = WavelengthGrid(file.array(key, (None,)).astype(np.float64)).wavelength
    except WavelengthRangeError as error:
        raise DataError(f"{path.name}: '{key}': {error}") from error
    # Without the attribute pfsspec itself takes vacuum; guessing otherwise would shift the lines by 2 Å.
    says = file.has_attribute("is_wave_vacuum", "modelgrid")
    in_vacuum = file.attribute("is_wave_vacuum", bool, "modelgrid") if says else True
    return wavelength if in_vacuum else air_to_vacuum(wavelength)


def _found(path: Path, layout: GridLayout, resolution: float, limits: Limits) -> Found:
    """Return the filled cells inside the limits; of a whole grid there may be millions, which need not become nodes."""
    names, inside = list(layout.axes), layout.filled.copy()
    known = {AXIS_LABELS[name] for name in names if name in AXIS_LABELS}
    if unknown := set(limits) - known:
        raise LabelError(f"limits: {path.name} has no axis '{sorted(unknown)[0]}'; leave that limit out")
    for axis, name in enumerate(names):
        low, high = limits.get(AXIS_LABELS.get(name, ""), (-np.inf, np.inf))
        values = layout.axes[name]
        kept = (values >= low - 1e-9) & (values <= high + 1e-9)
        inside &= kept.reshape([-1 if i == axis else 1 for i in range(len(names))])
    nodes = list(_nodes(path, layout, resolution, inside))
    left_out = {
        "empty cells": int((~layout.filled).sum()),
        "outside the limits": int(layout.filled.sum()) - len(nodes),
        "continua, as some are not valid": layout.without_continuum,
    }
    return Found(nodes, counted(left_out))


def _nodes(path: Path, layout: GridLayout, resolution: float, inside: np.ndarray) -> Iterator[Node]:
    names = list(layout.axes)
    for index in np.argwhere(inside).tolist():
        labels = {
            AXIS_LABELS[name]: float(layout.axes[name][i])
            for name, i in zip(names, index, strict=True)
            if name in AXIS_LABELS
        }
        yield Node(path, labels, resolution, index=tuple(index))


class PfsspecReader:
    """Reads one cell of a grid over a wavelength range."""

    def __init__(self, layout: GridLayout) -> None:
        self.layout = layout

    def __call__(self, node: Node, low: float, high: float) -> SourceSpectrum:
        """Return the spectrum over [low, high] Å; DataError names the cell if it cannot be read."""
        wavelength = self.layout.wavelength
        reach = float(wavelength[0]), float(wavelength[-1])
        # One sample more on either side, for the interpolation at the ends.
        first = max(int(np.searchsorted(wavelength, low)) - 1, 0)
        part = slice(first, int(np.searchsorted(wavelength, high)) + 1)
        with _opened(node.path) as file:
            flux = self._cell(file, FLUX, node, part)
            continuum = self._cell(file, CONTINUUM, node, part) if self.layout.has_continuum else None
        return SourceSpectrum(wavelength[part], flux, continuum, reach)

    def _cell(self, file: HdfFile, array: str, node: Node, part: slice) -> np.ndarray:
        shape = (*self.layout.filled.shape, len(self.layout.wavelength))
        return file.dataset(f"{array}/value", shape, sparse=True).read((*node.index, part)).astype(np.float64)


def import_pfsspec(
    path: str | Path,
    source_resolution: float,
    window: LibraryWindow | None = None,
    limits: Limits | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> SyntheticLibrary:
    """Return the library made of the filled cells of a pfsspec grid, or of rows cut out of one.

    Args:
        path: the grid's HDF5 file, or a table of its spectra (see `pfsspec_table`).
        source_resolution: λ/FWHM of its spectra, which the file does not say.
        window: range and resolution of the result; 7000-8950 Å at R = 20000 by default.
        limits: label name -> (low, high), to import a part.
        workers: processes that read.
        progress: called with (done, total).

    Raises:
        DataError: if the file is not such a grid, or a cell holds NaN; names file, key or cell.
        WavelengthRangeError: if the grid does not cover the window or is not sharp enough.
    """
    path, limits, window = Path(path), limits or {}, window or LibraryWindow()
    check_limits(limits)
    with _opened(path) as file:
        if is_table(file):
            found = select_nodes(find_rows(path, file, float(source_resolution)), limits, path.name)
            said = {"name": path.stem, "source": f"rows of a pfsspec grid, {path.name}"}
            return assemble_library(found, TableReader(), window, said, path.name, workers, progress)
    layout = read_layout(path)
    found = select_nodes(_found(path, layout, float(source_resolution), limits), limits, path.name)
    provenance = {
        "name": path.stem,
        "source": f"pfsspec grid {path.name}",
        "axes": {name: len(values) for name, values in layout.axes.items()},
        "empty_cells": int((~layout.filled).sum()),
    }
    return assemble_library(found, PfsspecReader(layout), window, provenance, path.name, workers, progress)
