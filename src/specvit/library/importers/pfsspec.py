"""pfsspec grids: one HDF5 file with the fluxes of a rectangular grid of stellar labels, some cells empty.

Keys, as written by `ModelGrid`, `ArrayGrid`, `Grid` and `PfsObject` of Subaru-PFS-GA/ga_pfsspec_core and
ga_pfsspec_stellar (read in their source; no file of theirs was at hand):

- `modelgrid/wave` (Å; `wave` at the root in early files). Attribute `is_wave_vacuum` of `modelgrid` in recent
  files: if it is false the wavelengths are in air; without it pfsspec takes them as vacuum.
- `grid/axes/<order>/<name>` (in early files `grid/axes/<name>`, whose order is not stored: then it is that of
  the BOSZ configuration, M_H, T_eff, log_g, C_M, a_M).
- `grid/arrays/flux/value`, shape (axes..., L), and `grid/arrays/flux/index`, true where a model exists;
  `grid/arrays/cont/value` likewise, if a continuum was kept.
- Attributes (scalars and strings are attributes, not datasets): `type` of `grid` ("ArrayGrid"), `config_pca`,
  `config_rbf` and, if the flux is divided by a fitted continuum, `continuum_model` of `modelgrid`.

The resolution is not in the file: the caller states it. PCA-compressed, RBF-interpolated and
continuum-normalised grids are refused: they are derived products of such a grid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from specvit.errors import DataError
from specvit.library.importers.assemble import Progress, SourceSpectrum, assemble_library
from specvit.library.importers.nodes import Limits, Node, check_limits, select_nodes
from specvit.library.importers.window import LibraryWindow
from specvit.library.synthetic_library import SyntheticLibrary
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
FLUX, INDEX, CONTINUUM = "grid/arrays/flux/value", "grid/arrays/flux/index", "grid/arrays/cont/value"


@dataclass(frozen=True)
class GridLayout:
    """What a pfsspec file says of itself: axes in order, wavelengths in Å (vacuum), cells that are filled."""

    axes: dict[str, np.ndarray]
    wavelength: np.ndarray
    filled: np.ndarray
    has_continuum: bool


def read_layout(path: Path) -> GridLayout:
    """Return the layout of a pfsspec grid file.

    Raises:
        DataError: if the file is not a readable pfsspec array grid, or a derived one; names file and key.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the grid's HDF5 file")
    try:
        with h5py.File(path, "r") as file:
            _refuse_derived(path, file)
            axes = _read_axes(path, file)
            wavelength = _read_wavelength(path, file)
            shape = (*(len(values) for values in axes.values()), len(wavelength))
            if FLUX not in file:
                raise DataError(f"{path.name}: has no '{FLUX}'; is it a pfsspec model grid?")
            if file[FLUX].shape != shape:
                names = ", ".join(axes)
                raise DataError(
                    f"{path.name}: '{FLUX}' has shape {file[FLUX].shape}, but the axes ({names}) and "
                    f"wavelengths say {shape}; the file is incomplete or of another version"
                )
            filled = np.array(file[INDEX], dtype=bool) if INDEX in file else np.ones(shape[:-1], dtype=bool)
            return GridLayout(axes, wavelength, filled, CONTINUUM in file)
    except OSError as error:
        raise DataError(f"{path.name}: not a readable HDF5 file ({error}); copy it again") from error


def _refuse_derived(path: Path, file: h5py.File) -> None:
    def attribute(group: str, name: str) -> object:
        return file[group].attrs.get(name) if group in file else None

    continuum = attribute("modelgrid", "continuum_model") or file.attrs.get("continuum_model")
    if continuum:
        raise DataError(
            f"{path.name}: its flux is divided by a fitted continuum ('{continuum}'); "
            "give the grid as it was before the fit"
        )
    kind = attribute("grid", "type")
    if (
        attribute("modelgrid", "config_pca")
        or attribute("modelgrid", "config_rbf")
        or kind not in (None, "ArrayGrid")
    ):
        raise DataError(
            f"{path.name}: is a compressed or interpolated grid ({kind}); give the array grid behind it"
        )


def _read_axes(path: Path, file: h5py.File) -> dict[str, np.ndarray]:
    if "grid/axes" not in file:
        raise DataError(f"{path.name}: has no 'grid/axes'; is it a pfsspec model grid?")
    group = file["grid/axes"]
    if "0" in group:
        # By number: names are listed alphabetically, "10" before "2".
        found = [(name, group[order][name]) for order in sorted(group, key=int) for name in group[order]]
    else:
        found = [(name, group[name]) for name in EARLY_ORDER if name in group]
    axes = {name: np.array(values, dtype=np.float64) for name, values in found}
    unknown = [name for name in axes if name not in AXIS_LABELS and len(axes[name]) > 1]
    if unknown or len({AXIS_LABELS.get(name, name) for name in axes}) < len(axes):
        raise DataError(
            f"{path.name}: axes {', '.join(axes)} are not labels; known are {', '.join(AXIS_LABELS)}"
        )
    return axes


def _read_wavelength(path: Path, file: h5py.File) -> np.ndarray:
    key = "modelgrid/wave" if "modelgrid/wave" in file else "wave"
    if key not in file:
        raise DataError(f"{path.name}: has no 'modelgrid/wave'; is it a pfsspec model grid?")
    wavelength = np.array(file[key], dtype=np.float64)
    # Without the attribute pfsspec itself takes vacuum; guessing otherwise would shift the lines by 2 Å.
    in_vacuum = file["modelgrid"].attrs.get("is_wave_vacuum", True) if "modelgrid" in file else True
    return wavelength if in_vacuum else air_to_vacuum(wavelength)


def _nodes(path: Path, layout: GridLayout, resolution: float, limits: Limits) -> Iterator[Node]:
    names = list(layout.axes)
    inside = layout.filled.copy()
    for axis, name in enumerate(names):
        low, high = limits.get(AXIS_LABELS.get(name, ""), (-np.inf, np.inf))
        values = layout.axes[name]
        kept = (values >= low - 1e-9) & (values <= high + 1e-9)
        inside &= kept.reshape([-1 if i == axis else 1 for i in range(len(names))])
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
        # One sample more on either side, for the interpolation at the ends.
        first = max(int(np.searchsorted(wavelength, low)) - 1, 0)
        part = slice(first, int(np.searchsorted(wavelength, high)) + 1)
        try:
            with h5py.File(node.path, "r") as file:
                flux = np.array(file[FLUX][(*node.index, part)], dtype=np.float64)
                continuum = None
                if self.layout.has_continuum:
                    continuum = np.array(file[CONTINUUM][(*node.index, part)], dtype=np.float64)
        except OSError as error:
            raise DataError(f"{node.name}: cannot be read ({error}); copy the file again") from error
        return SourceSpectrum(wavelength[part], flux, continuum)


def import_pfsspec(
    path: str | Path,
    source_resolution: float,
    window: LibraryWindow | None = None,
    limits: Limits | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> SyntheticLibrary:
    """Return the library made of the filled cells of a pfsspec grid.

    Args:
        path: the grid's HDF5 file.
        source_resolution: λ/FWHM of its spectra, which the file does not say.
        window: range and resolution of the result; 7000-8950 Å at R = 20000 by default.
        limits: label name -> (low, high), to import a part.
        workers: processes that read.
        progress: called with (done, total).

    Raises:
        DataError: if the file is not such a grid, or a cell holds NaN; names file, key or cell.
        WavelengthRangeError: if the grid does not cover the window or is not sharp enough.
    """
    path = Path(path)
    layout = read_layout(path)
    limits = limits or {}
    check_limits(limits)
    nodes = select_nodes(_nodes(path, layout, float(source_resolution), limits), {}, path.name)
    provenance = {
        "name": path.stem,
        "source": f"pfsspec grid {path.name}",
        "axes": {name: len(values) for name, values in layout.axes.items()},
        "empty_cells": int((~layout.filled).sum()),
    }
    return assemble_library(
        nodes, PfsspecReader(layout), window or LibraryWindow(), provenance, path.name, workers, progress
    )
