"""Steps of least squares that stay between bounds: damping, labels held on a face, what a step promises.

Bertsekas 1982, SIAM J. Control Optim. 20, 221 (two-metric projection); Marquardt 1963, J. SIAM 11, 431.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Lower and upper bound of each label, shape (N, P) each.
Bounds = tuple[Tensor, Tensor]


def free_labels(position: Tensor, gradient: Tensor, bounds: Bounds) -> Tensor:
    """Return which labels may move: not those on a bound with chi² falling beyond it, shape (N, P)."""
    low, high = bounds
    return ~(((position <= low) & (gradient < 0)) | ((position >= high) & (gradient > 0)))


def possible_decrease(curvature: Tensor, gradient: Tensor, free: Tensor) -> Tensor:
    """Return by how much an undamped step of the free labels would lower a quadratic chi², shape (N,)."""
    inner = torch.where(free, gradient, 0.0)
    return (_solve(_damped(curvature, 0.0), inner, free) * inner).sum(-1)


def bounded_step(
    curvature: Tensor, gradient: Tensor, free: Tensor, damping: Tensor, position: Tensor, bounds: Bounds
) -> Tensor:
    """Return the damped Gauss-Newton step that stays in the bounds, zero for held labels, shape (N, P).

    A label that would leave is pinned to its bound and the others are solved again: clipping the step instead
    would leave the narrow valley that correlated labels make of chi².
    """
    damped = _damped(curvature, damping[:, None])
    down, up = bounds[0] - position, bounds[1] - position
    pinned = step = torch.zeros_like(gradient)
    for _ in range(gradient.shape[1]):
        rest = gradient - (damped @ pinned[..., None])[..., 0]
        step = torch.where(free, _solve(damped, rest, free), pinned)
        inside = torch.minimum(torch.maximum(step, down), up)
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
