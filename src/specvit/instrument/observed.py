"""The emulator as an instrument sees it: labels -> band-normalised flux per pixel, with exact Jacobian.

LSF, pixel integration and the photometric band are linear, so all three are folded into the basis once.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from specvit.library import CoveredCells, Emulator
from specvit.spectra import LabelSpace, WavelengthGrid


class ObservedEmulator(nn.Module):
    """Noise-free spectra of one instrument as a differentiable function of the labels.

    Flux is band-normalised: F_λ over the F_λ, at the band's pivot wavelength, of a flat-AB source of the same
    magnitude. A star of magnitude m has F_λ = flux · 10^(-0.4 m) · AB zero point at the pivot.

    Args:
        emulator: on the library's grid.
        matrix: LSF and pixels, shape (L, L_library).
        grid: the L detector pixels.
        resolution: λ/FWHM on the detector, at the middle of the grid.
        band_weights: shape (L_library,); weights · flux is the flux of the band.
    """

    rows: Tensor
    band_offset: Tensor
    band_weights: Tensor

    def __init__(
        self,
        emulator: Emulator,
        matrix: scipy.sparse.sparray,
        grid: WavelengthGrid,
        resolution: float,
        band_weights: np.ndarray,
    ) -> None:
        super().__init__()
        self.emulator = emulator.fold(matrix, grid, resolution)
        offset, weights = emulator.project(band_weights)
        # Mean and basis in one matrix: joining them for every batch would cost more than the product.
        self.register_buffer("rows", torch.cat([self.emulator.mean[None], self.emulator.basis]))
        self.register_buffer("band_offset", torch.as_tensor(offset, dtype=weights.dtype))
        self.register_buffer("band_weights", weights)

    @property
    def grid(self) -> WavelengthGrid:
        """The detector pixels."""
        return self.emulator.grid

    @property
    def resolution(self) -> float:
        """λ/FWHM at the middle of the grid, pixel included."""
        return self.emulator.resolution

    @property
    def label_space(self) -> LabelSpace:
        """The domain; outside it `forward` refuses to answer."""
        return self.emulator.label_space

    @property
    def coverage(self) -> CoveredCells | None:
        """The part of the domain around which the library has spectra; None for all of it."""
        return self.emulator.coverage

    def coefficients(self, labels: Tensor) -> Tensor:
        """Return the basis coefficients, shape (B, K), of labels (B, P); no domain check."""
        return self.emulator.coefficients(labels)

    def from_coefficients(self, coefficients: Tensor) -> Tensor:
        """Return band-normalised flux, shape (B, L), of coefficients (B, K)."""
        return self.multipliers(coefficients) @ self.rows

    def multipliers(self, coefficients: Tensor) -> Tensor:
        """Return what multiplies `rows` (mean and basis) to make the flux, shape (B, K + 1)."""
        # Dividing the coefficients instead of the flux saves a pass over all pixels.
        inverse = 1 / self._band_flux(coefficients)
        return torch.cat([inverse[:, None], coefficients * inverse[:, None]], dim=1)

    def forward(self, labels: Tensor, check: bool = True) -> Tensor:
        """Return band-normalised flux, shape (B, L).

        Raises:
            DomainError: with `check`, if labels lie outside the domain; names the label.
        """
        if check:
            self.emulator.check(labels)
        return self.from_coefficients(self.coefficients(labels))

    def jacobian(self, labels: Tensor, check: bool = True) -> Tensor:
        """Return ∂flux/∂label at constant magnitude, shape (B, L, P), by forward-mode autodiff.

        Raises:
            DomainError: with `check`, if labels lie outside the domain; names the label.
        """
        if check:
            self.emulator.check(labels)
        labels = labels.to(self.emulator.basis.dtype)
        coefficients = self.coefficients(labels)
        slope = torch.func.vmap(torch.func.jacfwd(self.coefficients))(labels)
        band = self._band_flux(coefficients)
        flux = self.from_coefficients(coefficients)
        raw = torch.einsum("bkp,kl->blp", slope / band[:, None, None], self.emulator.basis)
        relative = torch.einsum("bkp,k->bp", slope, self.band_weights) / band[:, None]
        # At constant magnitude: what a label does to the brightness in the band is divided out, as for an
        # observer who is given the magnitude.
        return raw - flux[:, :, None] * relative[:, None, :]

    def _band_flux(self, coefficients: Tensor) -> Tensor:
        return self.band_offset + coefficients @ self.band_weights
