"""Fisher information of labels from exact Jacobians, nuisances removed by the Schur complement.

Owns the matrix and its diagnostics; the bounds that follow from it are in `bounds`. Noise is Gaussian,
independent per pixel, with a variance that does not depend on the labels. Sums over pixels are float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from specvit.errors import DataError, ShapeError


def fisher_information(jacobian: Tensor, ivar: Tensor, nuisance: Tensor | None = None) -> Tensor:
    """Return the Fisher matrices of the labels after marginalising linear nuisances.

    F = Jᵀ W J with W = diag(ivar); nuisance columns A (amplitude, continuum, velocity, ...) are removed by
    the Schur complement F - (Jᵀ W A)(Aᵀ W A)⁻¹(Aᵀ W J), which equals the label block of the inverse of the
    inverse of the full matrix.

    Args:
        jacobian: ∂flux/∂label, shape (B, L, P), flux units per label unit.
        ivar: 1 / sigma², shape (B, L); zero marks a dead pixel.
        nuisance: ∂flux/∂nuisance, shape (B, L, M) or (L, M), or None.

    Returns:
        Shape (B, P, P), float64, symmetric, positive semi-definite up to rounding; on the inputs' device.

    Raises:
        ShapeError: if batch or pixel axes differ.
        DataError: if ivar is negative or not finite, or nuisance columns depend on each other.

    Source: Tegmark, Taylor & Heavens 1997, ApJ 480, 22, eq. 15 (fixed covariance).
    """
    if jacobian.ndim != 3 or ivar.shape != jacobian.shape[:2]:
        raise ShapeError(
            f"fisher_information: expected jacobian (B, L, P) and ivar (B, L); "
            f"got {tuple(jacobian.shape)} and {tuple(ivar.shape)}"
        )
    if not bool(torch.isfinite(ivar).all() and (ivar >= 0).all()):
        raise DataError("fisher_information: ivar must be finite and not negative (zero for a dead pixel)")
    root = ivar.to(torch.float64).sqrt()[:, None]
    columns = jacobian.to(torch.float64).mT * root
    if nuisance is None:
        return whitened_information(columns, 0)
    return whitened_information(torch.cat([_weighted(nuisance, root), columns], dim=1), nuisance.shape[-1])


def whitened_information(columns: Tensor, nuisances: int) -> Tensor:
    """Return the Fisher matrices of the labels from whitened slopes, nuisances marginalised.

    Args:
        columns: slopes / sigma, one row of pixels each, nuisances first, shape (B, M + P, L); float32 will do,
            the sums over pixels are float64.
        nuisances: M.

    Returns:
        Shape (B, P, P), float64, as `fisher_information`.

    Raises:
        DataError: if a slope or sigma is not finite, or nuisances depend on each other.
    """
    columns = columns.to(torch.float64)
    # One product for labels and nuisances: every pass over the pixels costs as much as the sums themselves.
    products = columns @ columns.mT
    if not bool(torch.isfinite(products).all()):
        raise DataError("Fisher matrix: slopes and sigma must be finite, sigma positive")
    labels = products[:, nuisances:, nuisances:]
    if nuisances:
        labels = labels - _shared_with(products, nuisances)
    # Matrix products are symmetric only to rounding.
    return 0.5 * (labels + labels.mT)


def correlation_matrix(fisher: Tensor) -> Tensor:
    """Return the correlations of the label errors, shape (B, P, P): the scaled inverse of the Fisher matrix.

    NaN where the matrix is singular (see `is_singular`).
    """
    covariance = covariance_matrix(fisher)
    std = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    correlation = covariance / (std[..., :, None] * std[..., None, :])
    return torch.where(torch.isfinite(correlation), correlation, torch.nan)


def covariance_matrix(fisher: Tensor) -> Tensor:
    """Return F⁻¹, shape (B, P, P), float64; all `inf` where F is singular beyond float64."""
    scaled, scale = _unit_diagonal(fisher)
    # Not `cholesky`: one singular star must not end a batch of thousands.
    factor, failed = torch.linalg.cholesky_ex(scaled)
    safe = torch.where(failed[..., None, None] > 0, torch.eye(scaled.shape[-1]).to(scaled), factor)
    inverse = torch.cholesky_inverse(safe) / (scale[..., :, None] * scale[..., None, :])
    singular = is_singular(fisher) | (failed > 0)
    return torch.where(singular[..., None, None], torch.inf, inverse)


def condition_number(fisher: Tensor, scaled: bool = True) -> Tensor:
    """Return the condition number of each matrix, shape (B,).

    Args:
        fisher: shape (B, P, P).
        scaled: scale to a unit diagonal first, so that the number does not depend on the labels' units and
            measures degeneracy alone; False gives the number of the matrix as it stands (K and dex mixed),
            which is what the reference work reports.
    """
    matrix = _unit_diagonal(fisher)[0] if scaled else fisher.to(torch.float64)
    # Rounding can make the smallest eigenvalue of a degenerate matrix negative: that counts as infinite, not
    # as a large negative number.
    values = torch.linalg.eigvalsh(matrix)
    smallest = values[..., 0]
    return torch.where(smallest > 0, values[..., -1] / smallest, torch.inf)


def is_singular(fisher: Tensor) -> Tensor:
    """Return whether each matrix leaves some label combination unconstrained in float64, shape (B,)."""
    # Inverting loses as many digits as the condition number has: two of the sixteen must be left.
    limit = 0.01 / torch.finfo(torch.float64).eps
    return ~(condition_number(fisher) < limit)


def _weighted(nuisance: Tensor, root: Tensor) -> Tensor:
    """Return nuisance columns (B, L, M) or (L, M) times √W (B, 1, L), as rows, shape (B, M, L)."""
    if nuisance.shape[-2] != root.shape[-1] or nuisance.ndim not in (2, 3):
        raise ShapeError(
            f"fisher_information: nuisance must be (B, L, M) or (L, M) with L = {root.shape[-1]}; "
            f"got {tuple(nuisance.shape)}"
        )
    return nuisance.to(torch.float64).mT * root


def _shared_with(products: Tensor, nuisances: int) -> Tensor:
    """Return (Jᵀ W A)(Aᵀ W A)⁻¹(Aᵀ W J), shape (B, P, P), from the products of all columns, A's first."""
    # Unit columns: amplitude and velocity terms may differ by many orders of magnitude.
    norm = products.diagonal(dim1=-2, dim2=-1)[:, :nuisances].sqrt()
    norm = torch.where(norm > 0, norm, 1.0)[:, :, None]
    own = products[:, :nuisances, :nuisances] / (norm * norm.mT)
    factor, failed = torch.linalg.cholesky_ex(own)
    weakest = factor.diagonal(dim1=-2, dim2=-1).amin(dim=-1)
    # Written with ~(>) so that NaN counts as dependent.
    dependent = (failed > 0) | ~(weakest > 1e-7)
    if bool(dependent.any()):
        raise DataError(
            f"fisher_information: the nuisance columns of spectrum {int(dependent.nonzero()[0])} are zero or "
            "depend on each other (all pixels dead, or a continuum order too high); use fewer"
        )
    with_labels = products[:, :nuisances, nuisances:] / norm
    half: Tensor = torch.linalg.solve_triangular(factor, with_labels, upper=False)
    return half.mT @ half


def _unit_diagonal(fisher: Tensor) -> tuple[Tensor, Tensor]:
    """Return the matrix scaled to a unit diagonal, and its scale √diag (1 where there is no information)."""
    matrix = fisher.to(torch.float64)
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    scale = torch.where(diagonal > 0, diagonal, 1.0).sqrt()
    return matrix / (scale[..., :, None] * scale[..., None, :]), scale
