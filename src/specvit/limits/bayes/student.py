"""Student's t in many dimensions: deviates and density. A normal law whose tails no posterior outruns."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def student_scale(shape: tuple[int, ...], freedom: int, generator: torch.Generator) -> Tensor:
    """Return √(ν/χ²_ν), shape (*shape, 1), float64, which makes normal deviates those of Student's t; ν even.

    χ² of an even number of degrees of freedom is a sum of exponential deviates.
    """
    uniform = torch.rand(
        *shape, freedom // 2, generator=generator, device=generator.device, dtype=torch.float64
    )
    chi2 = -2 * uniform.clamp(min=1e-300).log().sum(-1, keepdim=True)
    return (freedom / chi2).sqrt()


def student_log_density(z: Tensor, centres: Tensor, factor: Tensor, freedom: int) -> Tensor:
    """Return ln mean_m t_ν(z; centre_m, L Lᵀ), shape (B, S).

    Args:
        z: shape (B, S, P).
        centres: shape (B, M, P).
        factor: lower Cholesky factor L, shape (B, P, P).
        freedom: degrees of freedom ν.
    """
    size = z.shape[-1]
    identity = torch.eye(size, dtype=z.dtype, device=z.device)
    inverse = torch.linalg.solve_triangular(factor, identity, upper=False)
    square = torch.cdist(z @ inverse.mT, centres @ inverse.mT).square()
    log_norm = (
        math.lgamma((freedom + size) / 2)
        - math.lgamma(freedom / 2)
        - 0.5 * size * math.log(freedom * math.pi)
        - factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    )
    log_kernels = torch.logsumexp(-0.5 * (freedom + size) * torch.log1p(square / freedom), dim=-1)
    return log_kernels - math.log(centres.shape[1]) + log_norm[:, None]
