"""Cholesky factors of matrices that are positive definite but for the rounding of what they were summed from."""

from __future__ import annotations

import torch
from torch import Tensor

#: Added to the diagonal of a matrix that has no factor, as a share of its largest element: some ten times the rounding
#: of a sum in float32, and far below what any user of the factor resolves.
STEADIED = 1e-6

#: Size from which on a triangle is inverted by halves.
HALVED = 16


def steady_cholesky(matrix: Tensor) -> Tensor:
    """Return lower Cholesky factors of symmetric matrices (..., K, K).

    Matrices of less than full rank, summed in float32, may come out slightly indefinite, on one processor and not on
    another; those, and no others, are steadied first.

    Raises:
        LinAlgError: for what is not positive semi-definite within rounding.
    """
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if bool((failed > 0).any()):
        diagonal = matrix.diagonal(dim1=-2, dim2=-1)
        raised = torch.where(
            (failed > 0)[..., None], diagonal + STEADIED * diagonal.amax(dim=-1, keepdim=True), diagonal
        )
        steadied = matrix + torch.diag_embed(raised - diagonal)
        factor = torch.linalg.cholesky(steadied)
    return factor


def triangular_inverse(factor: Tensor) -> Tensor:
    """Return the inverses of lower triangular matrices (..., K, K), by halves: matrix products are what it takes.

    A third of the time of a solution for the unit matrix; less than that of the inverse of what was factored.
    """
    size = factor.shape[-1]
    if size <= HALVED:
        unit = torch.eye(size, dtype=factor.dtype, device=factor.device).expand(factor.shape)
        inverse: Tensor = torch.linalg.solve_triangular(factor, unit, upper=False)
        return inverse
    first, last = slice(0, size // 2), slice(size // 2, size)
    inverse = torch.zeros_like(factor)
    inverse[..., first, first] = above = triangular_inverse(factor[..., first, first])
    inverse[..., last, last] = below = triangular_inverse(factor[..., last, last])
    inverse[..., last, first] = -below @ (factor[..., last, first] @ above)
    return inverse
