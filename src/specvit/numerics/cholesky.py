"""Cholesky factors of matrices that are positive definite but for the rounding of what they were summed from."""

from __future__ import annotations

import torch
from torch import Tensor

#: Added to the diagonal of a matrix that has no factor, as a share of its largest element: some ten times the rounding
#: of a sum in float32, and far below what any user of the factor resolves.
STEADIED = 1e-6


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
