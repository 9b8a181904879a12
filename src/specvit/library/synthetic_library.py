"""A synthetic library: noiseless spectra with their labels on one grid. Owns its checks and its file.

How spectra are computed, imported or interpolated is the business of other modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from specvit.errors import DataError, ShapeError
from specvit.library.library_file import read_library_file, write_library_file
from specvit.spectra import LabelSpace, WavelengthGrid


@dataclass(frozen=True, eq=False)
class SyntheticLibrary:
    """N noiseless spectra of L pixels with P labels.

    Args:
        labels: shape (N, P), float64, in the order of `label_space`.
        flux: linear flux density per Å, shape (N, L), float32, any positive scale per spectrum.
        grid: the L pixels.
        resolution: λ/FWHM.
        label_space: names, units and extent of the labels.
        provenance: JSON-ready description of the origin.
        continuum: the same without lines, shape (N, C), or None.
        continuum_wavelength: its nodes, shape (C,), Å in the grid's medium, or None.

    Raises:
        ShapeError: if the axes do not fit together.
        DataError: if a label or flux is not finite, or a spectrum has no positive flux; names the row.
    """

    labels: np.ndarray
    flux: np.ndarray
    grid: WavelengthGrid
    resolution: float
    label_space: LabelSpace
    provenance: Mapping[str, Any] = field(default_factory=dict)
    continuum: np.ndarray | None = None
    continuum_wavelength: np.ndarray | None = None

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels, dtype=np.float64)
        flux = np.asarray(self.flux, dtype=np.float32)
        if labels.ndim != 2 or flux.shape != (len(labels), self.grid.size):
            raise ShapeError(
                f"library: expected labels (N, {len(self.label_space)}) and flux (N, {self.grid.size}), "
                f"got {labels.shape} and {flux.shape}"
            )
        if (self.continuum is None) != (self.continuum_wavelength is None):
            raise ShapeError("library: give continuum and continuum_wavelength together, or neither")
        if self.continuum is not None and self.continuum_wavelength is not None:
            expected = (len(labels), len(self.continuum_wavelength))
            if self.continuum.shape != expected:
                raise ShapeError(f"library: expected a continuum of {expected}, got {self.continuum.shape}")
            finite = np.isfinite(self.continuum).all(axis=1)
            if not finite.all():
                raise DataError(
                    f"library: the continuum of spectrum {int(np.argmin(finite))} is not finite; leave it out"
                )
        self.label_space.check(labels, "library labels")
        bad = ~np.isfinite(flux).all(axis=1) | ~(flux > 0).any(axis=1)
        if bad.any():
            raise DataError(
                f"library: spectrum {int(np.argmax(bad))} is not finite or nowhere positive; leave it out"
            )
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "flux", flux)

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, rows: np.ndarray) -> SyntheticLibrary:
        """Return the library of the spectra `rows` (indices or mask)."""
        continuum = None if self.continuum is None else self.continuum[rows]
        return SyntheticLibrary(
            self.labels[rows],
            self.flux[rows],
            self.grid,
            self.resolution,
            self.label_space,
            self.provenance,
            continuum,
            self.continuum_wavelength,
        )

    def save(self, path: str | Path, components: int | None = None, tolerance: float = 5e-4) -> None:
        """Write the library as one checksummed HDF5 file, atomically.

        Args:
            path: the file; missing folders are made.
            components: None stores float32; a number stores that many principal components in 16 bits and
                the pixels they miss by more than `tolerance` (several times smaller).
            tolerance: largest relative flux error of the compressed form.

        Raises:
            RunError: if the file cannot be written.
        """
        arrays = {"labels": self.labels, "wavelength": self.grid.wavelength}
        if self.continuum is not None and self.continuum_wavelength is not None:
            arrays |= {"continuum": self.continuum, "continuum_wavelength": self.continuum_wavelength}
        metadata = {
            "medium": self.grid.medium,
            "resolution": self.resolution,
            "label_space": self.label_space.to_dict(),
            "provenance": dict(self.provenance),
        }
        write_library_file(Path(path), self.flux, arrays, metadata, components, tolerance)

    @classmethod
    def load(cls, path: str | Path) -> SyntheticLibrary:
        """Return the library saved in `path`.

        Raises:
            DataError: if the file is missing, truncated, altered or not a specvit library.
        """
        flux, arrays, record = read_library_file(Path(path))
        try:
            return cls(
                arrays["labels"],
                flux,
                WavelengthGrid(arrays["wavelength"], record.medium),
                record.resolution,
                record.label_space,
                record.provenance,
                arrays.get("continuum"),
                arrays.get("continuum_wavelength"),
            )
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
