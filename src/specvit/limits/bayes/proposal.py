"""Where to draw in the unit cube: Student t kernels around good samples, one wide t, and the cube itself.

Owns fitting, drawing from and evaluating the mixture; batched over stars; knows no likelihood.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from specvit.limits.bayes.student import student_log_density, student_scale
from specvit.limits.bayes.weights import moments, resample

#: Kernels per star and their degrees of freedom.
KERNELS, FREEDOM = 96, 6

#: Kernels are wider than the density estimate of smallest error: the weights of a proposal that is too wide are
#: a little too small, those of one that is too narrow can be anything.
INFLATION = 1.5

#: The defence (Hesterberg 1995; Owen & Zhou 2000): share, width relative to the samples and degrees of freedom
#: of the wide t; share of draws from the whole cube, which bounds the weights by likelihood / share.
WIDE_SHARE, WIDE, WIDE_FREEDOM = 0.2, 2.0, 4
CUBE_SHARE = 0.05

#: Draws by which the part of a mixture inside the cube is measured.
INSIDE_DRAWS = 1024


@dataclass(frozen=True)
class Mixture:
    """q(u) ∝ [0.75 mean_m t_ν(u; centre_m, h² C) + 0.2 t(u; mean, 2² C) + 0.05] inside the cube, one per star.

    A posterior cut off by the face of the cube is followed as closely as any other.

    Args:
        centres: shape (B, M, P).
        mean: shape (B, P).
        factor: lower Cholesky factor of C, shape (B, P, P).
        inside: part of the uncut mixture inside the cube, shape (B,). Known to a few percent, which only
            matters between proposals: within one it cancels.
    """

    centres: Tensor
    mean: Tensor
    factor: Tensor
    inside: Tensor

    @staticmethod
    def fit(u: Tensor, weight: Tensor, generator: torch.Generator) -> Mixture:
        """Return the mixture of weighted samples u (B, S, P), weight (B, S).

        Centres are resampled points shrunk towards the mean (Liu & West 2001); h is Silverman's width for M
        kernels in P dimensions times `INFLATION`.
        """
        size = u.shape[-1]
        mean, covariance = moments(u, weight)
        ridge = 1e-12 + 1e-6 * covariance.diagonal(dim1=-2, dim2=-1)
        picked = resample(weight, KERNELS, generator)
        points = u.gather(1, picked[..., None].expand(-1, -1, size))
        shrink = math.sqrt(1 - _silverman(size) ** 2)
        centres = shrink * points + (1 - shrink) * mean[:, None]
        factor = torch.linalg.cholesky(covariance + torch.diag_embed(ridge))
        uncut = Mixture(centres, mean, factor, torch.ones_like(mean[:, 0]))
        inside = _in_cube(uncut._sample_uncut(INSIDE_DRAWS, generator)).double().mean(1)
        return replace(uncut, inside=inside)

    def refit(self, points: Tensor, weight: Tensor, generator: torch.Generator) -> Mixture:
        """Return the mixtures of other weighted samples; see `fit`."""
        return Mixture.fit(points, weight, generator)

    def __len__(self) -> int:
        return self.centres.shape[0]

    def __getitem__(self, stars: Tensor) -> Mixture:
        """Return the mixtures of the selected stars."""
        return Mixture(*(part[stars] for part in vars(self).values()))

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Return `count` independent draws per star inside the cube, shape (B, count, P), float64."""
        tried = count + math.ceil(2 * count * float(1 / self.inside.min() - 1))
        while True:
            u = self._sample_uncut(tried, generator)
            inside = _in_cube(u)
            if int(inside.sum(1).min()) >= count:
                first = (~inside).to(torch.int8).argsort(dim=1, stable=True)[:, :count]
                return u.gather(1, first[..., None].expand(-1, -1, u.shape[-1]))
            tried *= 2

    def log_density(self, points: Tensor) -> Tensor:
        """Return ln q(u), shape (B, S), for u in the cube of shape (B, S, P)."""
        size = points.shape[-1]
        kernel, wide = _silverman(size) * INFLATION * self.factor, WIDE * self.factor
        kernels = student_log_density(points, self.centres, kernel, FREEDOM)
        defence = student_log_density(points, self.mean[:, None], wide, WIDE_FREEDOM)
        parts = [
            kernels + math.log(1 - WIDE_SHARE - CUBE_SHARE),
            defence + math.log(WIDE_SHARE),
            torch.full_like(kernels, math.log(CUBE_SHARE)),
        ]
        return torch.logsumexp(torch.stack(parts), dim=0) - self.inside.log()[:, None]

    def _sample_uncut(self, count: int, generator: torch.Generator) -> Tensor:
        """Return `count` draws per star of the mixture as it is outside the cube, too."""
        stars, kernels, size = self.centres.shape
        device, dtype = self.centres.device, torch.float64
        normal = torch.randn(stars, count, size, generator=generator, device=device, dtype=dtype)
        uniform = torch.rand(stars, count, 2 + size, generator=generator, device=device, dtype=dtype)
        which, kernel = uniform[..., :1], (uniform[..., 1:2] * kernels).long()
        step = torch.einsum("bpq,bsq->bsp", self.factor, normal)
        near = student_scale((stars, count), FREEDOM, generator) * (_silverman(size) * INFLATION)
        far = student_scale((stars, count), WIDE_FREEDOM, generator) * WIDE
        u = self.centres.gather(1, kernel.expand(-1, -1, size)) + step * near
        u = torch.where(which < WIDE_SHARE + CUBE_SHARE, self.mean[:, None] + step * far, u)
        return torch.where(which < CUBE_SHARE, uniform[..., 2:], u)


def _silverman(size: int) -> float:
    return float((4.0 / (KERNELS * (size + 2))) ** (1.0 / (size + 4)))


def _in_cube(u: Tensor) -> Tensor:
    return ((u >= 0) & (u <= 1)).all(dim=-1)
