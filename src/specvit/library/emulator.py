"""The emulator: labels -> noiseless spectrum, as a differentiable torch module.

Owns the basis, the folding of linear operators into it, exact derivatives, and the file format. Does not
fit (see `emulator_fit`) and knows no instrument: an instrument gives it a matrix to `fold`.
"""

from __future__ import annotations

import copy
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from specvit.documents.tensors import Tensors
from specvit.errors import DataError, ShapeError, WavelengthRangeError
from specvit.library.coverage import CoveredCells
from specvit.library.derivative import batched_jacobian
from specvit.library.emulator_file import read_emulator_file, take_basis, write_emulator_file
from specvit.library.emulator_record import EmulatorRecord
from specvit.library.regressor import CoefficientNetwork, read_regressor
from specvit.spectra import LabelSpace, WavelengthGrid

BUILTIN_EMULATOR = "emulator_r20000.safetensors"


class Emulator(nn.Module):
    """Linear flux density as a smooth function of the labels: flux = mean + coefficients(labels) @ basis.

    The flux of each spectrum is relative to its own mean over the native window. Because the basis is one of
    linear flux, every linear operator (LSF, pixel integration, a photometric band) folds into it exactly.

    Args:
        regressor: labels (B, P) -> coefficients (B, K).
        mean: shape (L,).
        basis: shape (K, L).
        grid: the L pixels.
        resolution: λ/FWHM of the spectra.
        label_space: the box of the domain; outside it the emulator refuses to answer.
        provenance: how it was made.
        errors: stated interpolation errors, measured on spectra that neither the fit nor any choice saw.
        coverage: the part of the domain with spectra around it; None for all of it.
    """

    mean: Tensor
    basis: Tensor

    def __init__(
        self,
        regressor: CoefficientNetwork,
        mean: Tensor,
        basis: Tensor,
        grid: WavelengthGrid,
        resolution: float,
        label_space: LabelSpace,
        provenance: dict[str, Any] | None = None,
        errors: dict[str, Any] | None = None,
        coverage: CoveredCells | None = None,
    ) -> None:
        super().__init__()
        if basis.shape != (regressor.components, grid.size) or mean.shape != (grid.size,):
            raise ShapeError(
                f"emulator: expected mean ({grid.size},) and basis ({regressor.components}, {grid.size}), "
                f"got {tuple(mean.shape)} and {tuple(basis.shape)}"
            )
        # mean and basis are buffers, not parameters: they move with the module but no optimiser touches them.
        self.regressor = regressor
        self.register_buffer("mean", mean)
        self.register_buffer("basis", basis)
        self.grid, self.resolution, self.label_space = grid, float(resolution), label_space
        self.provenance, self.errors = dict(provenance or {}), dict(errors or {})
        self.coverage = coverage

    def check(self, labels: Tensor | np.ndarray, what: str = "labels") -> None:
        """Raise unless `labels` (..., P) lie in the domain: in the box, and where the library has spectra around them.

        Raises:
            LabelError: if the last axis is not P long or a value is not finite.
            DomainError: for the first that lies outside; names label and value.
        """
        self.label_space.check(labels, what)
        if self.coverage is not None:
            self.coverage.check(labels, self.label_space.names, what)

    def coefficients(self, labels: Tensor) -> Tensor:
        """Return the basis coefficients, shape (B, K), for labels of shape (B, P); no domain check."""
        coefficients: Tensor = self.regressor(labels.to(self.basis.dtype))
        return coefficients

    def forward(self, labels: Tensor, check: bool = True) -> Tensor:
        """Return linear flux, shape (B, L), relative to each spectrum's mean over the native window.

        Raises:
            DomainError: with `check`, if labels lie outside the domain; names the label.
        """
        if check:
            self.check(labels)
        return torch.addmm(self.mean, self.coefficients(labels), self.basis)

    def log_flux(self, labels: Tensor, check: bool = True) -> Tensor:
        """Return the natural logarithm of `forward(labels)`, shape (B, L)."""
        return self.forward(labels, check).log()

    def jacobian(self, labels: Tensor, check: bool = True) -> Tensor:
        """Return ∂flux/∂label, shape (B, L, P), flux units per label unit, by forward-mode autodiff.

        Raises:
            DomainError: with `check`, if labels lie outside the domain; names the label.
        """
        if check:
            self.check(labels)
        derivative = batched_jacobian(self.coefficients, labels.to(self.basis.dtype))
        return torch.einsum("bkp,kl->blp", derivative, self.basis)

    def fold(
        self, matrix: np.ndarray | Tensor | scipy.sparse.sparray, grid: WavelengthGrid, resolution: float
    ) -> Emulator:
        """Return the emulator of matrix @ flux: the same spectra through a linear operator, exactly.

        Args:
            matrix: shape (L_out, L), dense or scipy.sparse.
            grid: the L_out output pixels.
            resolution: λ/FWHM after the operator.

        Raises:
            ShapeError: if the matrix does not lead from this grid to `grid`.
        """
        if tuple(matrix.shape) != (grid.size, self.grid.size):
            raise ShapeError(
                f"fold: expected a matrix of shape ({grid.size}, {self.grid.size}), got {tuple(matrix.shape)}"
            )
        apply = partial(_apply_operator, matrix)
        return Emulator(
            copy.deepcopy(self.regressor),
            apply(self.mean),
            apply(self.basis),
            grid,
            resolution,
            self.label_space,
            self.provenance,
            self.errors,
            self.coverage,
        )

    def project(self, weights: np.ndarray | Tensor) -> tuple[float, Tensor]:
        """Return (offset, vector (K,)) with weights · flux = offset + coefficients @ vector.

        Args:
            weights: shape (L,): any linear functional of the flux, for instance a photometric band.
        """
        row = torch.as_tensor(weights, dtype=torch.float64, device=self.basis.device)
        if row.shape != (self.grid.size,):
            raise ShapeError(
                f"project: expected weights of shape ({self.grid.size},), got {tuple(row.shape)}"
            )
        vector = self.basis.double() @ row
        return float(self.mean.double() @ row), vector.to(self.basis.dtype)

    def save(self, path: str | Path, compact: bool = False) -> None:
        """Write the emulator as one safetensors file, atomically.

        Args:
            path: the file; missing folders are made.
            compact: store the basis as 16-bit integers (half the size; error 1.5e-5 of each row's maximum).

        Raises:
            RunError: if the file cannot be written.
        """
        metadata = {
            "regressor": self.regressor.to_dict(),
            "wavelength_medium": self.grid.medium,
            "resolution": self.resolution,
            "label_space": self.label_space.to_dict(),
            "provenance": self.provenance,
            "errors": self.errors,
        }
        if self.coverage is not None:
            metadata["coverage"] = self.coverage.to_dict()
        tensors = {f"regressor.{k}": v for k, v in self.regressor.state_dict().items()}
        tensors |= {"mean": self.mean, "basis": self.basis}
        tensors["wavelength"] = torch.from_numpy(self.grid.wavelength.copy())
        write_emulator_file(Path(path), tensors, metadata, compact)

    @classmethod
    def load(cls, path: str | Path) -> Emulator:
        """Return the emulator saved in `path`.

        Raises:
            DataError: if the file is missing, truncated, altered or not an emulator.
        """
        tensors, record = read_emulator_file(Path(path))
        wavelength = tensors.take("wavelength", "L", torch.float64).numpy()
        try:
            grid = WavelengthGrid(wavelength, record.wavelength_medium)
        except WavelengthRangeError as error:
            raise DataError(f"{path}: tensor 'wavelength': {error}") from error
        return cls.from_tensors(tensors, record, record.label_space, grid)

    @classmethod
    def from_tensors(
        cls, tensors: Tensors, record: EmulatorRecord, label_space: LabelSpace, grid: WavelengthGrid
    ) -> Emulator:
        """Return the emulator of stored tensors, all of which must belong to it.

        Raises:
            DataError: if they are not those that the record, the labels and the pixels ask for, or the record's cells
                are not those of the labels.
        """
        tensors.sizes |= {"K": record.regressor.components, "L": grid.size}
        regressor = read_regressor(tensors.part("regressor."), record.regressor, label_space)
        mean, basis = tensors.take("mean", "L", torch.float32), take_basis(tensors)
        tensors.finish()
        coverage = None
        if (cells := record.coverage) is not None:
            try:
                coverage = CoveredCells.from_dict(cells.edges, cells.empty, len(label_space))
            except DataError as error:
                raise tensors.problem(str(error)) from error
        about = (record.resolution, label_space, record.provenance, record.errors, coverage)
        emulator = cls(regressor, mean, basis, grid, *about)
        # A loaded emulator is a constant of the world; gradients by the labels do not need those by the
        # weights.
        return emulator.requires_grad_(False).eval()

    @classmethod
    def builtin(cls) -> Emulator:
        """Return the emulator shipped with specvit: 7000-8950 Å vacuum, R = 20000, `LOW_T_BOX`."""
        with resources.as_file(resources.files("specvit.library") / "data" / BUILTIN_EMULATOR) as path:
            return cls.load(path)


def _apply_operator(matrix: np.ndarray | Tensor | scipy.sparse.sparray, rows: Tensor) -> Tensor:
    """Return rows @ matrix.T in float64, rounded once to the dtype of `rows`."""
    values = rows.detach().double().cpu().numpy()
    if isinstance(matrix, Tensor):
        matrix = matrix.detach().double().cpu().numpy()
    out = (matrix @ values.T).T
    return torch.as_tensor(np.ascontiguousarray(out)).to(rows)
