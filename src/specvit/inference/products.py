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
    """What is kept of B spectra of A arms with weights w = 1/sigma² and position u in [-1, 1]; float64.

    Args:
        gram: Σ w u^m row_d row_e for m = 0 .. 2·order, shape (B, A, M, D, D).
        cross: Σ w u^j row_d flux for j = 0 .. order, shape (B, A, order + 1, D).
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
        return TemplateProducts(self.gram[..., :size, :size], self.cross[..., :size], self.norm)


class TemplateRows:
    """The rows that templates are made of: flux = (1, coefficients) @ rows, times a polynomial continuum.

    Args:
        emulator: on the pixels of the spectra; only its mean and basis are used.
        order: of the multiplicative continuum Σ_j a_j u^j of each arm; 0 is an amplitude, one of all arms.
    """

    def __init__(self, emulator: Emulator, order: int) -> None:
        self.rows = torch.cat([emulator.mean[None], emulator.basis]).double()
        grid = emulator.grid
        self.arms = grid.arm_pixels if order else (slice(0, grid.size),)
        wavelength = torch.from_numpy(grid.wavelength.copy()).to(self.rows)
        u = torch.cat([_position(wavelength[arm]) for arm in self.arms])
        self.powers = torch.stack([u**m for m in range(2 * order + 1)])
        size = self.rows.shape[0]
        # The Gram matrix is symmetric: half of the products suffice.
        self.first, self.second = torch.triu_indices(size, size, device=self.rows.device)

    def products(self, flux: Tensor, sigma: Tensor) -> TemplateProducts:
        """Return the products of spectra (B, L); pixels with `sigma = inf` have no weight.

        Nor have those of an arm with fewer live pixels than its continuum has terms.
        """
        dead = torch.isinf(sigma)
        terms = (self.powers.shape[0] + 1) // 2
        for arm in self.arms:
            dead[:, arm] |= (~dead[:, arm]).sum(1, keepdim=True) < terms
        weight = sigma.double().square().reciprocal().masked_fill(dead, 0.0)
        flux = flux.double().masked_fill(dead, 0.0)
        weighted = flux * weight
        cross = [
            (weighted[:, None, arm] * self.powers[:terms, arm]) @ self.rows[:, arm].T for arm in self.arms
        ]
        gram = torch.stack([self._gram(weight, arm) for arm in self.arms], dim=1)
        return TemplateProducts(gram, torch.stack(cross, dim=1), (flux * weighted).sum(1))

    def _gram(self, weight: Tensor, arm: slice) -> Tensor:
        """Return Σ w u^m row_d row_e over an arm, shape (B, M, D, D): one product with all pairs of rows."""
        stars, size = weight.shape[0], self.rows.shape[0]
        pairs = weight.new_zeros(stars * self.powers.shape[0], self.first.numel())
        for start in range(arm.start, arm.stop, PIXELS):
            block = slice(start, min(start + PIXELS, arm.stop))
            rows, scaled = self.rows[:, block], weight[:, None, block] * self.powers[:, block]
            pairs.addmm_(scaled.flatten(0, 1), (rows[self.first] * rows[self.second]).T)
        gram = weight.new_empty(stars, self.powers.shape[0], size, size)
        gram[:, :, self.first, self.second] = pairs.view(stars, -1, pairs.shape[1])
        gram[:, :, self.second, self.first] = gram[:, :, self.first, self.second]
        return gram


def _position(wavelength: Tensor) -> Tensor:
    """Return u from -1 to 1 across an arm; 0 where it is a single pixel."""
    if len(wavelength) == 1:
        return torch.zeros_like(wavelength)
    return 2 * (wavelength - wavelength[0]) / (wavelength[-1] - wavelength[0]) - 1
