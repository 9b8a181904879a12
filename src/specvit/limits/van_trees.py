"""Bayesian bounds that hold for every estimator, biased or not: van Trees and a form for the uniform box.

Both bound the mean square error averaged over a prior. The classical van Trees inequality needs a prior whose
density vanishes at its edges; the uniform box does not, and has its own inequality below.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from specvit.errors import DomainError, ShapeError
from specvit.library import CoveredCells
from specvit.spectra import LabelSpace

#: Windows 1 - u^(2n) tried for the uniform box: n = 1 is tight without data, large n with much.
WINDOW_ORDERS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


def van_trees_bound(mean_fisher: Tensor, prior_information: Tensor, index: int) -> Tensor:
    """Return the smallest prior-averaged mean square error of label `index`: [(E F + I_π)⁻¹]_gg.

    Args:
        mean_fisher: Fisher matrix averaged over the prior (and over known conditions), shape (..., P, P).
        prior_information: diagonal of the prior's own information, E[(∂ ln π/∂θ)²], shape (P,); of
            independent Gaussian priors 1/variance, of cosine-squared ones `cosine_prior_information`.
        index: the label.

    Source: van Trees 1968, Detection, Estimation, and Modulation Theory I, sec. 2.4; Gill & Levit 1995,
    Bernoulli 1, 59.
    """
    total = mean_fisher.to(torch.float64) + torch.diag(
        prior_information.to(mean_fisher.device, torch.float64)
    )
    # Kelvin and dex differ by six orders of magnitude in information: invert at unit diagonal.
    scale = total.diagonal(dim1=-2, dim2=-1).sqrt()
    scaled = total / (scale[..., :, None] * scale[..., None, :])
    bound: Tensor = torch.linalg.inv(scaled)[..., index, index] / scale[..., index] ** 2
    return bound


def cosine_prior_information(label_space: LabelSpace) -> Tensor:
    """Return (2π / width)² per label, shape (P,): the information of the prior cos²(π u / 2) on the box.

    u is the label mapped to [-1, 1]. This prior has the least information of all that vanish at the edges.
    """
    width = torch.tensor(label_space.high, dtype=torch.float64) - torch.tensor(label_space.low)
    return (2.0 * torch.pi / width) ** 2


def uniform_box_bound(
    fisher: Tensor,
    labels: Tensor,
    label_space: LabelSpace,
    index: int,
    orders: Sequence[int] = WINDOW_ORDERS,
    coverage: CoveredCells | None = None,
) -> Tensor:
    """Return a lower bound on the mean square error of label `index` under the uniform prior on the box.

    All of the box: the windows vanish at its faces, not at those of holes.

    With windows w_j(θ_j) = 1 - u_j^(2n) that vanish at the edges, every estimator obeys
        MSE >= E[w_g]² [M⁻¹]_gg,   M_jk = E[w_j w_k F_jk] + δ_jk E[w_j'²],
    expectations over the prior; the largest value over the windows is returned. It tends to the prior
    variance when the data say nothing (n = 1 gives exactly width²/12) and to 1/E[F] for one label and much
    information, less the loss at the edges.

    Args:
        fisher: Fisher matrices of N prior draws, shape (N, P, P), at equal or random known conditions.
        labels: the draws, shape (N, P).
        label_space: the box.
        index: the label.
        orders: the n to try.
        coverage: of the library (`Emulator.coverage`); None if it has no holes.

    Returns:
        A float64 scalar in label units squared, with the Monte-Carlo error of the average over draws.

    Raises:
        ShapeError: if the stars of both are not as many, or the labels.
        DomainError: if a part of the box is a hole of the library.

    Source: Bobrovsky, Mayer-Wolf & Zakai 1987, Ann. Statist. 15, 1421, eq. 20 with a uniform prior; the
    several-label form is Gill & Levit 1995, sec. 4, with C = diag(w).
    """
    if fisher.shape[:-2] != labels.shape[:-1] or fisher.shape[-1] != labels.shape[-1]:
        raise ShapeError(
            f"uniform_box_bound: expected fisher (N, P, P) and labels (N, P); "
            f"got {tuple(fisher.shape)} and {tuple(labels.shape)}"
        )
    if coverage is not None and (rest := coverage.cut(label_space)) is not None:
        raise DomainError(
            f"uniform_box_bound: the library has no spectra around {1 - rest.share:.1%} of the box, and the bound is for a "
            "whole box; choose one without holes (label_space.replace), or the Bayes ceiling, which leaves holes out"
        )
    low = torch.tensor(label_space.low, dtype=torch.float64)
    half = 0.5 * (torch.tensor(label_space.high, dtype=torch.float64) - low)
    u = (labels.to("cpu", torch.float64) - low) / half - 1.0
    information = fisher.to("cpu", torch.float64)
    # Every window gives a bound, so the largest of them is one too: no order has to be chosen.
    return torch.stack([_window_bound(information, u, half, index, n) for n in orders]).max()


def _window_bound(information: Tensor, u: Tensor, half: Tensor, index: int, n: int) -> Tensor:
    window = 1.0 - u ** (2 * n)
    weighted = (information * window[:, :, None] * window[:, None, :]).mean(dim=0)
    # Exact moments of the window: E w = 2n / (2n + 1), E w'² = 4n² / (4n - 1) per half-width squared.
    total = weighted + torch.diag(4.0 * n**2 / (4 * n - 1) / half**2)
    scale = total.diagonal().sqrt()
    inverse = torch.linalg.inv(total / torch.outer(scale, scale))[index, index] / scale[index] ** 2
    bound: Tensor = (2 * n / (2 * n + 1)) ** 2 * inverse
    return bound
