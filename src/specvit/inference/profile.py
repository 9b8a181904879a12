"""chi² of templates with the continuum at its best, its gradient and its Gauss-Newton matrix.

Variable projection (Golub & Pereyra 1973, SIAM J. Numer. Anal. 10, 413; Kaufman 1975, BIT 15, 49): amplitude
and continuum enter linearly, so they are solved exactly for every template instead of being searched.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specvit.inference.products import TemplateProducts


@dataclass(frozen=True)
class AmplitudeProfile:
    """S templates per spectrum against B spectra of A arms; float64.

    Args:
        chi2: at the best continuum, shape (B, S).
        continuum: the best a_j of each arm, shape (B, S, A, order + 1); 0 of an arm without weight.
        applied: gram_m @ template, shape (B, S, A, M, D).
        normal: normal matrix of the continuum, shape (B, S, A, order + 1, order + 1).
    """

    chi2: Tensor
    continuum: Tensor
    applied: Tensor
    normal: Tensor

    @classmethod
    def of(cls, products: TemplateProducts, coefficients: Tensor) -> AmplitudeProfile:
        """Return the profile of the templates with `coefficients`, shape (B, S, K)."""
        template = torch.nn.functional.pad(coefficients, (1, 0), value=1.0)
        applied = torch.einsum("bamde,bse->bsamd", products.gram, template)
        moments = torch.einsum("bsd,bsamd->bsam", template, applied)
        normal = moments.unfold(-1, products.cross.shape[2], 1)
        # An arm without weight has no continuum, and adds nothing whatever it is.
        empty = (normal[..., :1, :1] == 0).to(normal)
        normal = normal + empty * torch.eye(normal.shape[-1]).to(normal)
        overlap = torch.einsum("bajd,bsd->bsaj", products.cross, template)
        continuum = torch.cholesky_solve(overlap[..., None], torch.linalg.cholesky(normal))[..., 0]
        chi2 = products.norm[:, None] - (overlap * continuum).sum((-2, -1))
        return cls(chi2, continuum, applied, normal)

    def slope(self, products: TemplateProducts, derivative: Tensor) -> tuple[Tensor, Tensor]:
        """Return (gradient (B, S, P), matrix (B, S, P, P)): -½ ∂chi²/∂label and the labels' Fisher matrix.

        The matrix is Jᵀ W J of the labels with the continuum removed by the Schur complement.

        Args:
            products: those of `of`.
            derivative: ∂coefficients/∂label, shape (B, S, K, P).
        """
        terms = self.continuum.shape[-1]
        slope = torch.nn.functional.pad(derivative, (0, 0, 1, 0))
        # Σ_j a_j gram_(j+k) template: what continuum term k shares with the fitted spectrum.
        windows = self.applied.unfold(-2, terms, 1)
        fitted = torch.einsum("bsakdj,bsaj->bsakd", windows, self.continuum)
        residual = products.cross[:, None] - fitted
        weighted = torch.einsum("bsajd,bsaj->bsd", residual, self.continuum)
        gradient = torch.einsum("bsdp,bsd->bsp", slope, weighted)
        shared = torch.einsum("bsdp,bsakd->bsapk", slope, fitted)
        lost = (shared @ torch.linalg.solve(self.normal, shared.mT)).sum(2)
        return gradient, self._curvature(products, slope) - lost

    def _curvature(self, products: TemplateProducts, slope: Tensor) -> Tensor:
        """Return Jᵀ W J at fixed continuum, shape (B, S, P, P)."""
        stars, starts, size, labels = slope.shape
        columns = slope.permute(0, 2, 1, 3).reshape(stars, 1, 1, size, starts * labels)
        applied = (products.gram @ columns).view(*products.gram.shape[:4], starts, labels)
        weighted = torch.einsum("bamdsp,bsam->bsdp", applied, self._square())
        return slope.mT @ weighted

    def _square(self) -> Tensor:
        """Return the squared continuum in powers of u, Σ_(j+k=m) a_j a_k, shape (B, S, A, M)."""
        terms = self.continuum.shape[-1]
        outer = self.continuum[..., :, None] * self.continuum[..., None, :]
        mirrored = outer.flip(-1)
        diagonals = [mirrored.diagonal(terms - 1 - m, -2, -1).sum(-1) for m in range(2 * terms - 1)]
        return torch.stack(diagonals, -1)
