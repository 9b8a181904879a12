"""Where to draw under a uniform prior: Student t kernels around good samples, plus the prior as a safety net.

Owns fitting, drawing from and evaluating the mixture; batched over stars; knows no likelihood.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from specvit.limits.bayes.coordinates import log_standard_normal
from specvit.limits.bayes.weights import moments, resample

#: Kernels per star and degrees of freedom of each (even: a χ² is then a sum of exponentials).
KERNELS, FREEDOM = 96, 6

#: Share of draws from the prior (Hesterberg 1995; Owen & Zhou 2000). No weight can exceed likelihood / share, and no
#: mass can hide where the proposal has none.
PRIOR_SHARE = 0.05


@dataclass(frozen=True)
class Mixture:
    """q(z) = (1 - ε) mean_m t_ν(z; centre_m, h² C) + ε N(z; 0, I), one per star.

    Args:
        centres: shape (B, M, P).
        factor: lower Cholesky factor of h² C, shape (B, P, P).
    """

    centres: Tensor
    factor: Tensor

    @staticmethod
    def fit(z: Tensor, weight: Tensor, generator: torch.Generator) -> Mixture:
        """Return the kernel mixture of weighted samples z (B, S, P), weight (B, S).

        Centres are resampled points shrunk towards the mean, so that the mixture keeps mean and covariance of
        the sample (Liu & West 2001); the width h is Silverman's for M kernels in P dimensions.
        """
        size = z.shape[-1]
        mean, covariance = moments(z, weight)
        ridge = 1e-12 + 1e-6 * covariance.diagonal(dim1=-2, dim2=-1)
        width = (4.0 / (KERNELS * (size + 2))) ** (1.0 / (size + 4))
        picked = resample(weight, KERNELS, generator)
        points = z.gather(1, picked[..., None].expand(-1, -1, size))
        shrink = math.sqrt(1 - width**2)
        centres = shrink * points + (1 - shrink) * mean[:, None]
        factor = torch.linalg.cholesky(covariance + torch.diag_embed(ridge)) * width
        return Mixture(centres, factor)

    def __getitem__(self, stars: Tensor) -> Mixture:
        """Return the mixtures of the selected stars."""
        return Mixture(self.centres[stars], self.factor[stars])

    def __len__(self) -> int:
        return self.centres.shape[0]

    def refit(self, z: Tensor, weight: Tensor, generator: torch.Generator) -> Mixture:
        """Return the mixtures of other weighted samples; see `fit`."""
        return Mixture.fit(z, weight, generator)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Return `count` independent draws per star, shape (B, count, P), float64."""
        stars, kernels, size = self.centres.shape
        device, dtype = self.centres.device, torch.float64
        normal = torch.randn(stars, count, size, generator=generator, device=device, dtype=dtype)
        uniform = torch.rand(stars, count, FREEDOM // 2 + 2, generator=generator, device=device, dtype=dtype)
        kernel = (uniform[..., 1:2] * kernels).long().expand(-1, -1, size)
        chi2 = -2 * uniform[..., 2:].clamp(min=1e-300).log().sum(-1)
        step = torch.einsum("bpq,bsq->bsp", self.factor, normal) * (FREEDOM / chi2).sqrt()[..., None]
        from_prior = uniform[..., :1] < PRIOR_SHARE
        return torch.where(from_prior, normal, self.centres.gather(1, kernel) + step)

    def log_density(self, z: Tensor) -> Tensor:
        """Return ln q(z), shape (B, S), for z of shape (B, S, P)."""
        size = z.shape[-1]
        identity = torch.eye(size, dtype=z.dtype, device=z.device)
        inverse = torch.linalg.solve_triangular(self.factor, identity, upper=False)
        distance = torch.cdist(z @ inverse.mT, self.centres @ inverse.mT).square()
        log_norm = (
            math.lgamma((FREEDOM + size) / 2)
            - math.lgamma(FREEDOM / 2)
            - 0.5 * size * math.log(FREEDOM * math.pi)
            - self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        )
        kernels = torch.logsumexp(-0.5 * (FREEDOM + size) * torch.log1p(distance / FREEDOM), dim=-1)
        kernels = kernels - math.log(self.centres.shape[1]) + log_norm[:, None]
        return torch.logaddexp(
            kernels + math.log1p(-PRIOR_SHARE), log_standard_normal(z) + math.log(PRIOR_SHARE)
        )
