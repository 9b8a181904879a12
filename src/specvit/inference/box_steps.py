"""Steps of least squares that stay in the unit box: damping, labels held on a face, what a step promises.

Bertsekas 1982, SIAM J. Control Optim. 20, 221 (two-metric projection); Marquardt 1963, J. SIAM 11, 431.
"""

from __future__ import annotations

import torch
from torch import Tensor


def free_labels(position: Tensor, gradient: Tensor) -> Tensor:
    """Return which labels may move: not those on a face with chi² falling outwards, shape (N, P)."""
    return ~(((position <= 0) & (gradient < 0)) | ((position >= 1) & (gradient > 0)))


def possible_decrease(curvature: Tensor, gradient: Tensor, free: Tensor) -> Tensor:
    """Return by how much an undamped step of the free labels would lower a quadratic chi², shape (N,)."""
    inner = torch.where(free, gradient, 0.0)
    return (_solve(_damped(curvature, 0.0), inner, free) * inner).sum(-1)


def bounded_step(
    curvature: Tensor, gradient: Tensor, free: Tensor, damping: Tensor, position: Tensor
) -> Tensor:
    """Return the damped Gauss-Newton step that stays in the box, zero for held labels, shape (N, P).

    A label that would leave is pinned to its face and the others are solved again: clipping the step instead
    would leave the narrow valley that correlated labels make of chi².
    """
    damped = _damped(curvature, damping[:, None])
    pinned = step = torch.zeros_like(gradient)
    for _ in range(gradient.shape[1]):
        rest = gradient - (damped @ pinned[..., None])[..., 0]
        step = torch.where(free, _solve(damped, rest, free), pinned)
        inside = torch.minimum(torch.maximum(step, -position), 1 - position)
        leaving = free & (step != inside)
        pinned, free = torch.where(leaving, inside, pinned), free & ~leaving
    return torch.where(free, inside, pinned)


def _damped(curvature: Tensor, damping: Tensor | float) -> Tensor:
    """Return curvature + damping · diagonal, never singular."""
    diagonal = curvature.diagonal(dim1=-2, dim2=-1)
    # A label without any information (all its lines on dead pixels) has nothing on its diagonal, and a spectrum
    # without any flux has nothing there for any label.
    largest = diagonal.amax(-1, keepdim=True)
    # In proportion to the diagonal, so that the scale of a label does not matter: Marquardt 1963, J. SIAM 11, 431.
    scale = torch.where(largest > 0, diagonal.clamp(min=1e-12 * largest), 1.0)
    return curvature + torch.diag_embed(scale * (1e-9 + damping))


def _solve(matrix: Tensor, right: Tensor, free: Tensor) -> Tensor:
    """Return the solution of the free rows and columns alone; the others of the result mean nothing."""
    both = free[:, :, None] & free[:, None, :]
    regular = torch.where(both, matrix, torch.eye(right.shape[-1]).to(right))
    solution: Tensor = torch.linalg.solve(regular, right)
    return solution


def promised_decrease(curvature: Tensor, gradient: Tensor, step: Tensor) -> Tensor:
    """Return by how much `step` would lower a quadratic chi², shape (N,)."""
    return 2 * (step * gradient).sum(-1) - torch.einsum("np,npq,nq->n", step, curvature, step)
