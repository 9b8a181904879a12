"""Emulator errors as the PFS red medium-resolution arm would see them. Used by the two emulator tools here.

Deliberately its own small fold (Gaussian of constant FWHM integrated over linear pixels), not the product's
instrument: the stated errors must not move when a preset does.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse
from scipy.special import ndtr

from specvit.library import Emulator
from specvit.library.emulator_fit import error_quantiles, relative_errors
from specvit.spectra import WavelengthGrid

CHECKS = Path(__file__).resolve().parents[1] / "tests" / "instrument" / "data" / "etc_checks.npz"
PFS_GRID = WavelengthGrid(np.linspace(7100.2136, 8849.7864, 4096))
PFS_FWHM = 1.35  # Å, pixel excluded
FWHM_PER_SIGMA = 2.354820
COOL = 4300.0  # K, where TiO takes over


def pfs_matrix(grid: WavelengthGrid, resolution: float) -> scipy.sparse.csr_array:
    """Return the (4096, L) matrix from spectra of `resolution` on `grid` to PFS pixels; rows sum to 1."""
    centres, edges = PFS_GRID.wavelength, PFS_GRID.edges(slice(0, PFS_GRID.size))
    sigma = np.sqrt(PFS_FWHM**2 - (centres / resolution) ** 2) / FWHM_PER_SIGMA
    first = np.searchsorted(grid.wavelength, centres - 7 * sigma)
    last = np.searchsorted(grid.wavelength, centres + 7 * sigma)
    width = grid.width
    matrix = scipy.sparse.lil_array((centres.size, grid.size))
    for i in range(centres.size):
        near = slice(first[i], last[i])
        offset = grid.wavelength[near]
        weight = ndtr((edges[i + 1] - offset) / sigma[i]) - ndtr((edges[i] - offset) / sigma[i])
        weight *= width[near]
        matrix[i, near] = weight / weight.sum()
    return matrix.tocsr()


def signal_to_noise() -> np.ndarray:
    """Return S/N per PFS pixel of a flat star of i = 20.5: official calculator, field angle 0, 12 x 900 s."""
    with np.load(CHECKS) as stored:
        return stored["snr_i20_5"]


def pfs_errors(emulator: Emulator, labels: np.ndarray, flux: np.ndarray) -> dict[str, dict[str, float]]:
    """Return error quantiles on the PFS grid for held-out spectra `flux` (N, L, relative to their mean).

    `noise_units_i20_5` holds |Δflux| over the noise of a flat star of i = 20.5, and the share below 0.3.
    """
    matrix = pfs_matrix(emulator.grid, emulator.resolution)
    folded = emulator.fold(matrix, PFS_GRID, 5900.0)
    error = relative_errors(folded, labels, (matrix @ flux.T).T)
    cool = labels[:, emulator.label_space.index("teff")] <= COOL
    noise_units = error * signal_to_noise()
    return {
        "all": error_quantiles(error),
        "above_4300": error_quantiles(error[~cool]),
        "below_4300": error_quantiles(error[cool]),
        "noise_units_i20_5": error_quantiles(noise_units)
        | {"share_below_0.3": float((noise_units < 0.3).mean())},
    }


def table_row(errors: dict[str, dict[str, float]]) -> str:
    """Return median / 95th / 99th percentile in percent for all, above and below 4300 K."""
    cells = [
        " / ".join(f"{100 * errors[part][q]:.3f}" for q in ("median", "p95", "p99"))
        for part in ("all", "above_4300", "below_4300")
    ]
    return " | ".join(cells)
