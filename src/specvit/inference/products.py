"""Weighted products of spectra with the emulator's basis: all that chi² of any template needs to know.

A template is linear in its D = 1 + K coefficients, so chi² is a quadratic form in them. Taking its matrix
once per spectrum is exact, and from then on a template costs D² operations instead of L·D.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specvit.library import Emulator

#: Pixels whose pairwise products of basis rows are held at once: 16 MB with 129 rows.
PIXELS = 256


@dataclass(frozen=True)
class TemplateProducts:
    """What is kept of B spectra with weights w = 1/sigma² and position u in [-1, 1]; float64.

    Args:
        gram: Σ w u^m row_d row_e for m = 0 .. 2·order, shape (B, M, D, D).
        cross: Σ w u^j row_d flux for j = 0 .. order, shape (B, order + 1, D).
        norm: Σ w flux², shape (B,).
    """

    gram: Tensor
    cross: Tensor
    norm: Tensor

    def __len__(self) -> int:
        return self.norm.shape[0]

    def __getitem__(self, rows: Tensor) -> TemplateProducts:
        """Return the products of the selected spectra."""
        return TemplateProducts(self.gram[rows], self.cross[rows], self.norm[rows])

    def leading(self, size: int) -> TemplateProducts:
        """Return the products with the first `size` rows alone: templates cut to their leading components."""
        return TemplateProducts(self.gram[:, :, :size, :size], self.cross[:, :, :size], self.norm)


class TemplateRows:
    """The rows that templates are made of: flux = (1, coefficients) @ rows, times a polynomial continuum.

    Args:
        emulator: on the pixels of the spectra; only its mean and basis are used.
        order: of the multiplicative continuum Σ_j a_j u^j; 0 is an amplitude.
    """

    def __init__(self, emulator: Emulator, order: int) -> None:
        self.rows = torch.cat([emulator.mean[None], emulator.basis]).double()
        wavelength = torch.from_numpy(emulator.grid.wavelength.copy()).to(self.rows)
        u = 2 * (wavelength - wavelength[0]) / (wavelength[-1] - wavelength[0]) - 1
        self.powers = torch.stack([u**m for m in range(2 * order + 1)])
        size = self.rows.shape[0]
        # The Gram matrix is symmetric: half of the products suffice.
        self.first, self.second = torch.triu_indices(size, size, device=self.rows.device)

    def products(self, flux: Tensor, sigma: Tensor) -> TemplateProducts:
        """Return the products of spectra (B, L); pixels with `sigma = inf` have no weight."""
        dead = torch.isinf(sigma)
        weight = sigma.double().square().reciprocal()
        flux = flux.double().masked_fill(dead, 0.0)
        weighted = flux * weight
        terms = (self.powers.shape[0] + 1) // 2
        cross = (weighted[:, None] * self.powers[:terms]) @ self.rows.T
        return TemplateProducts(self._gram(weight), cross, (flux * weighted).sum(1))

    def _gram(self, weight: Tensor) -> Tensor:
        """Return Σ w u^m row_d row_e, shape (B, M, D, D): one product with all pairs of rows."""
        stars, size = weight.shape[0], self.rows.shape[0]
        pairs = weight.new_zeros(stars * self.powers.shape[0], self.first.numel())
        for start in range(0, weight.shape[1], PIXELS):
            block = slice(start, start + PIXELS)
            rows, scaled = self.rows[:, block], weight[:, None, block] * self.powers[:, block]
            pairs.addmm_(scaled.flatten(0, 1), (rows[self.first] * rows[self.second]).T)
        gram = weight.new_empty(stars, self.powers.shape[0], size, size)
        gram[:, :, self.first, self.second] = pairs.view(stars, -1, pairs.shape[1])
        gram[:, :, self.second, self.first] = gram[:, :, self.first, self.second]
        return gram
