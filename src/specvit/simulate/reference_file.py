"""One dataset file of the reference work: which keys hold what, and rows read from them with every check.

Keys (written by `SpectrumDataset` of Subaru-PFS-GA/ga_pfsspec_core):
`spectrumdataset/wave` (L,) Å in vacuum; `dataset/arrays/flux/value` and `.../error/value` (N, L), the
noise-free flux with median 0.5 and its σ; `dataset/arrays/noisy/value` (N, L) in test files;
`dataset/params`, a pandas table, one row per spectrum. `dataset/arrays/mask/value` exists, but the meaning
of its values could not be verified, so it is not used; `cont` is the model continuum, which no observer has.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from specvit.errors import DataError, import_optional
from specvit.spectra import WavelengthGrid

FLUX, ERROR, NOISY = (f"dataset/arrays/{name}/value" for name in ("flux", "error", "noisy"))
WAVE, PARAMS = "spectrumdataset/wave", "dataset/params"

#: Our label -> the column of the table.
LABEL_COLUMNS = {"teff": "T_eff", "log_g": "log_g", "m_h": "M_H", "alpha_m": "a_M", "c_m": "C_M"}

#: Our condition -> the column; `stored_snr` is the reference work's own S/N (95th percentile over pixels).
CONDITION_COLUMNS = {
    "mag": "mag",
    "seeing": "seeing",
    "zenith_angle": "target_zenith_angle",
    "field_angle": "target_field_angle",
    "moon": "moon_phase",
    "exposure_time": "exp_time",
    "exposure_count": "exp_count",
    "stored_snr": "snr",
}


@dataclass
class Repairs:
    """What was changed on reading, counted.

    Args:
        spectra: rows read.
        sigma_filled: σ values that were NaN at an end of the array and were replaced by their neighbour.
        flux_clipped: negative noise-free flux values set to zero.
    """

    spectra: int = 0
    sigma_filled: int = 0
    flux_clipped: int = 0


class ReferenceFile:
    """A dataset file, its table read at once and its spectra on demand.

    Args:
        path: the HDF5 file.

    Raises:
        DataError: if it is missing, is not such a file, or its table lacks a column; names file and key.
        MissingExtra: without pandas and PyTables.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise DataError(f"{path}: no such file; give a dataset.h5 of the reference work")
        try:
            with h5py.File(path, "r") as file:
                for key in (WAVE, FLUX, ERROR, PARAMS):
                    if key not in file:
                        raise DataError(
                            f"{path.name}: has no '{key}'; is it a dataset file of the reference work?"
                        )
                self.grid = WavelengthGrid(np.array(file[WAVE], dtype=np.float64))
                self.count, pixels = file[FLUX].shape
                self.has_noisy = NOISY in file
        except OSError as error:
            raise DataError(f"{path.name}: not a readable HDF5 file ({error}); copy it again") from error
        if pixels != self.grid.size:
            raise DataError(
                f"{path.name}: '{FLUX}' has {pixels} pixels, '{WAVE}' has {self.grid.size}; copy it again"
            )
        self.labels, self.conditions = self._read_table()

    def _read_table(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        pandas = import_optional("pandas", "reference", "reading the reference work's datasets")
        import_optional("tables", "reference", "reading the reference work's datasets")
        table = pandas.read_hdf(self.path, PARAMS)
        wanted = [*LABEL_COLUMNS.values(), *CONDITION_COLUMNS.values()]
        missing = [name for name in wanted if name not in table.columns]
        if missing:
            raise DataError(f"{self.path.name}: its table '{PARAMS}' has no column '{missing[0]}'")
        if len(table) != self.count:
            raise DataError(
                f"{self.path.name}: {self.count} spectra, {len(table)} table rows; it was not written "
                "to its end: make it again"
            )
        labels = np.column_stack([table[name].to_numpy(np.float64) for name in LABEL_COLUMNS.values()])
        conditions = {ours: table[theirs].to_numpy(np.float32) for ours, theirs in CONDITION_COLUMNS.items()}
        return labels, conditions

    def read(self, start: int, stop: int, repairs: Repairs) -> tuple[np.ndarray, np.ndarray]:
        """Return noise-free flux and σ of rows [start, stop), shape (rows, L), float32, repaired and counted.

        Raises:
            DataError: if flux or σ cannot be used (NaN inside, σ <= 0); names file, row and pixel.
        """
        with h5py.File(self.path, "r") as file:
            flux = file[FLUX][start:stop].astype(np.float32)
            sigma = file[ERROR][start:stop].astype(np.float32)
        repairs.spectra += len(flux)
        for end, neighbour in ((0, 1), (-1, -2)):
            lost = np.isnan(sigma[:, end])
            sigma[lost, end] = sigma[lost, neighbour]
            repairs.sigma_filled += int(lost.sum())
        self._check(np.isfinite(flux), start, "flux is not finite")
        self._check(np.isfinite(sigma) & (sigma > 0), start, "sigma is not finite and positive")
        repairs.flux_clipped += int((flux < 0).sum())
        return np.maximum(flux, 0.0), sigma

    def read_noisy(self, start: int, stop: int) -> np.ndarray:
        """Return the stored noisy flux of rows [start, stop), shape (rows, L), float32.

        Raises:
            DataError: if the file has none, or a value is not finite.
        """
        if not self.has_noisy:
            raise DataError(f"{self.path.name}: has no '{NOISY}' (only test files have); use noise='drawn'")
        with h5py.File(self.path, "r") as file:
            noisy = file[NOISY][start:stop].astype(np.float32)
        self._check(np.isfinite(noisy), start, "stored noisy flux is not finite")
        return noisy

    def _check(self, good: np.ndarray, start: int, what: str) -> None:
        if not good.all():
            row, pixel = np.argwhere(~good)[0]
            raise DataError(
                f"{self.path.name}: {what} in row {start + row}, pixel {pixel}; leave the file out"
            )
