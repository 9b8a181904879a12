"""Where in a spectrum the information on one label lies: Fisher information per pixel, all else fitted."""

from __future__ import annotations

import torch
from torch import Tensor

from specvit.errors import DataError, ShapeError
from specvit.instrument import ObservedEmulator
from specvit.spectra import SpectraBatch

#: Smallest part of a column, relative to its length, that the columns before it may leave.
INDEPENDENT = 1e-7


def information_density(jacobian: Tensor, ivar: Tensor, index: int, nuisance: Tensor | None = None) -> Tensor:
    """Return the Fisher information on one label in each pixel, shape (B, L), float64; it sums to 1 / CRLB.

    i_l = r_l² / σ_l², with r the part of ∂flux/∂label that no change of the other labels and nuisances can
    imitate: the residual of its weighted least-squares fit by their columns A,

        r = j - A (Aᵀ W A)⁻¹ Aᵀ W j,     Σ_l r_l² / σ_l² = F_gg - F_gη F_ηη⁻¹ F_ηg = 1 / CRLB.

    The sum is the Schur complement, so each pixel's share is its own. (Its marginal value, what is lost
    without it, differs: the fit of the others would change too.)

    Args:
        jacobian: ∂flux/∂label, shape (B, L, P), flux units per label unit.
        ivar: 1 / sigma², shape (B, L); zero marks a dead pixel, which holds no information.
        index: the label asked for; the other P - 1 are fitted.
        nuisance: ∂flux/∂nuisance, shape (B, L, M), fitted too; for a free flux scale, the flux itself.

    Raises:
        ShapeError: if the axes differ.
        DataError: if ivar is negative or not finite, or columns of labels and nuisances depend on each other.

    Source: Frisch & Waugh 1933, Econometrica 1, 387 (a regression coefficient from residuals).
    """
    if jacobian.ndim != 3 or ivar.shape != jacobian.shape[:2]:
        raise ShapeError(
            f"information_density: expected jacobian (B, L, P) and ivar (B, L); "
            f"got {tuple(jacobian.shape)} and {tuple(ivar.shape)}"
        )
    if nuisance is not None and (nuisance.ndim != 3 or nuisance.shape[:2] != ivar.shape):
        raise ShapeError(
            f"information_density: nuisance must be (B, L, M) with {tuple(ivar.shape)} first; "
            f"got {tuple(nuisance.shape)}"
        )
    if not bool(torch.isfinite(ivar).all() and (ivar >= 0).all()):
        raise DataError("information_density: ivar must be finite and not negative (zero for a dead pixel)")
    root = ivar.to(torch.float64).sqrt()[..., None]
    columns = jacobian.to(torch.float64) * root
    others = [columns[..., :index], columns[..., index + 1 :]]
    others += [] if nuisance is None else [nuisance.to(torch.float64) * root]
    # The label last: its coefficient along the last orthogonal direction is what the others leave of it.
    ordered = torch.cat([*others, columns[..., index : index + 1]], dim=-1)
    length = ordered.norm(dim=1, keepdim=True)
    # QR rather than the normal equations, whose condition number is the square of this one.
    directions, triangle = torch.linalg.qr(ordered / torch.where(length > 0, length, 1.0))
    left = triangle.diagonal(dim1=-2, dim2=-1).abs()
    if bool((left < INDEPENDENT).any()):
        row = int((left < INDEPENDENT).any(dim=1).nonzero()[0])
        raise DataError(
            f"information_density: labels and nuisances of spectrum {row} cannot be told apart "
            "(columns of the Jacobian are zero or depend on each other); leave one of them out"
        )
    share: Tensor = directions[..., -1] * left[:, -1:] * length[..., -1]
    return share.square()


@torch.no_grad()
def star_densities(observed: ObservedEmulator, stars: SpectraBatch, target: str) -> Tensor:
    """Return `information_density` on one label at the true labels and noise of B stars, shape (B, L).

    All other labels of the library and the flux scale are free, as for the ceiling.

    Args:
        observed: noise-free spectra of their world, in float64: degenerate labels leave a small residual of large
            columns.
        stars: with their truth.
        target: one of the labels of the library.

    Raises:
        LabelError, DataError: for another label, or stars without labels or truth.
    """
    truth, labels = stars.known_truth(), stars.known_labels().double()
    flux, jacobian = observed(labels, check=False)[..., None], observed.jacobian(labels, check=False)
    # The Jacobian is of band-normalised flux, sigma is relative to the spectrum's level.
    ivar = (truth.sigma.double() / truth.scale.double()[:, None]).square().reciprocal()
    return information_density(jacobian, ivar, observed.label_space.index(target), flux)
