"""One dataset file of the reference work: which keys hold what, and rows read from them with every check.

Keys (written by `SpectrumDataset` of Subaru-PFS-GA/ga_pfsspec_core):
`spectrumdataset/wave` (L,) Å in vacuum; `dataset/arrays/flux/value` and `.../error/value` (N, L), the
noise-free flux with median 0.5 and its σ; `dataset/arrays/noisy/value` (N, L) in test files;
`dataset/params`, a pandas table, one row per spectrum (`reference_table`). `dataset/arrays/mask/value` exists, but the meaning
of its values could not be verified, so it is not used; `cont` is the model continuum, which no observer has.
"""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specvit.documents.hdf5 import HdfFile, open_hdf5
from specvit.errors import DataError, WavelengthRangeError
from specvit.simulate.reference_table import read_columns
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
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as file:
            try:
                self.grid = WavelengthGrid(file.array(WAVE, (None,)))
            except WavelengthRangeError as error:
                raise WavelengthRangeError(f"{path}: '{WAVE}': {error}") from error
            self.count = file.dataset(FLUX, (None, self.grid.size)).shape[0]
            file.dataset(ERROR, self._shape)
            self.has_noisy = NOISY in file
            if self.has_noisy:
                file.dataset(NOISY, self._shape)
            self.labels, self.conditions = self._read_table(file)

    @property
    def _shape(self) -> tuple[int, int]:
        return self.count, self.grid.size

    def _open(self) -> AbstractContextManager[HdfFile]:
        return open_hdf5(self.path, "dataset file of the reference work", "give another dataset.h5")

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits of pixels, labels and conditions of all spectra, and of flux and sigma of a few.

        A file holds tens of gigabytes; the labels alone tell two draws apart, the spectra two ways of making them.
        """
        digest = hashlib.sha256(self.grid.fingerprint.encode() + self.labels.tobytes())
        for name in sorted(self.conditions):
            digest.update(name.encode() + self.conditions[name].tobytes())
        for start in sorted({0, self.count // 2, self.count - 1}):
            for values in self.read(start, start + 1, Repairs()):
                digest.update(values.tobytes())
        return digest.hexdigest()[:16]

    def _read_table(self, file: HdfFile) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        table = read_columns(file, PARAMS, [*LABEL_COLUMNS.values(), *CONDITION_COLUMNS.values()])
        rows = len(table["T_eff"])
        if rows != self.count:
            raise DataError(
                f"{self.path}: {self.count} spectra, {rows} table rows; it was not written "
                "to its end: make it again"
            )
        labels = np.column_stack([table[name].astype(np.float64) for name in LABEL_COLUMNS.values()])
        conditions = {ours: _single(table[theirs]) for ours, theirs in CONDITION_COLUMNS.items()}
        return labels, conditions

    def read(self, start: int, stop: int, repairs: Repairs) -> tuple[np.ndarray, np.ndarray]:
        """Return noise-free flux and σ of rows [start, stop), shape (rows, L), float32, repaired and counted.

        Raises:
            DataError: if flux or σ cannot be used (NaN inside, σ <= 0); names file, row and pixel.
        """
        with self._open() as file:
            flux = _single(file.dataset(FLUX, self._shape).read(slice(start, stop)))
            sigma = _single(file.dataset(ERROR, self._shape).read(slice(start, stop)))
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
            raise DataError(f"{self.path}: has no '{NOISY}' (only test files have); use noise='drawn'")
        with self._open() as file:
            noisy = _single(file.dataset(NOISY, self._shape).read(slice(start, stop)))
        self._check(np.isfinite(noisy), start, "stored noisy flux is not finite")
        return noisy

    def _check(self, good: np.ndarray, start: int, what: str) -> None:
        if not good.all():
            row, pixel = np.argwhere(~good)[0]
            raise DataError(f"{self.path}: {what} in row {start + row}, pixel {pixel}; leave the file out")


def _single(values: np.ndarray) -> np.ndarray:
    # What float32 cannot hold becomes inf here; the caller refuses what must be finite.
    with np.errstate(over="ignore"):
        return values.astype(np.float32)
