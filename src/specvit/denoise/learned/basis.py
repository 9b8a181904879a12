"""Diffusion in the few directions that noise-free spectra have: a network that guesses coefficients at any S/N.

A spectrum is m + Bᵀc. With N = B W Bᵀ and h = B W (y - m) what y says of c is Gaussian, of precision N and mean N⁻¹h;
what y says together with a diffusion state in noise of covariance t² N⁻¹ is as if y had been observed with s σ, where
1 / s² = 1 + 1 / t² (`sampling.product_guess`). So one network that gives E[c | h, N] at all noise levels is the score of
the exact posterior, and the best denoiser at s = 1. (Montanari 2023, arXiv:2305.10690: sampling by going on observing.)

The linear answer (I + N)⁻¹h, with errors √v on the diagonal, is given: c ≈ (I + N)⁻¹h + √v F.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from specvit.errors import ConfigError, DataError
from specvit.models.conditioning import Inputs, normalise
from specvit.models.mlp import MLP, MLPConfig
from specvit.models.options import check_bounds
from specvit.models.subspace import SubspaceProjection
from specvit.numerics import steady_cholesky
from specvit.spectra import SpectraBatch
from specvit.training.objectives import NEGATIVE_LOSS

#: How often each training spectrum is learnt from: once as observed, else with more or less noise, which costs less than
#: another spectrum. Share of these in less noise; by how much the noise is multiplied at least and at most.
COPIES, IN_LESS, LEAST, MOST = 3, 0.8, 0.02, 300.0

#: Noise levels at which the width of samples is corrected, few, as pixels of one star err together; and the deviation
#: that 68 % of a normal distribution do not exceed.
NODES, NORMAL_68 = 3, 0.9945

#: Rounding of N in float32, as a share of its largest element.
ROUNDING = 1e-7

#: Weight of a coefficient of which the spectrum says nothing, relative to one that it says as much of as the prior.
UNSEEN = 0.1


@dataclass(frozen=True)
class BasisConfig:
    """Size of a basis denoiser.

    Args:
        components, patterns: see `SubspaceProjection`.
        width, depth: of the residual MLP.
    """

    components: int = 48
    patterns: int = 12
    width: int = 256
    depth: int = 4

    def __post_init__(self) -> None:
        """Check the options."""
        check_bounds(self)
        if self.depth < 1:
            raise ConfigError(f"depth: a basis denoiser has at least 1 block, got {self.depth}")


class Told(NamedTuple):
    """What spectra say of their coefficients.

    linear: (I + N)⁻¹h, shape (B, K).
    doubt: diagonal of (I + N)⁻¹, (B, K).
    conditions: of the noise and of its factor s, (B, J + 1).
    """

    linear: Tensor
    doubt: Tensor
    conditions: Tensor


class BasisRestorer(nn.Module):
    """What spectra say of their coefficients -> E[c], shape (B, K).

    Args:
        config: size.
        pixels: L.
    """

    projector: Tensor
    noise: Tensor
    widening: Tensor

    def __init__(self, config: BasisConfig, pixels: int) -> None:
        super().__init__()
        self.register_buffer("noise", torch.arange(NODES).float())
        self.register_buffer("widening", torch.ones(NODES))
        self.subspace = SubspaceProjection(pixels, config.components, config.patterns)
        self.register_buffer("projector", torch.zeros(pixels, config.components))
        shape = (1, config.components, config.patterns + 1)
        self.body = MLP(MLPConfig(config.width, config.depth, "residual"), shape)
        self.exit = nn.Linear(config.width, config.components)
        nn.init.zeros_(self.exit.weight)
        nn.init.zeros_(self.exit.bias)

    @torch.no_grad()
    def fit(self, clean: Tensor, flux: Tensor, sigma: Tensor) -> Self:
        """Set the directions from N training spectra, each (N, L); see `SubspaceProjection.fit`."""
        space = self.subspace.fit(clean, flux, sigma)
        weighted = space.basis.double() * space.reference.double()
        self.projector.copy_(torch.linalg.solve(weighted @ space.basis.double().T, weighted).T)
        return self

    @torch.no_grad()
    def correct(self, noise: Tensor, off: Tensor) -> Self:
        """Set by how much samples have to be widened at each noise level, so that 68 % of held-out pixels are inside.

        What a network has not learnt is in the errors of its samples and not in their width.

        Args:
            noise: ln of the median sigma of N spectra over their level, shape (N,).
            off: |mean of samples - truth| over their spread, (N, L), NaN where they have none.
        """
        for node, rows in enumerate(noise.argsort().tensor_split(NODES)):
            self.noise[node] = noise[rows].mean()
            self.widening[node] = off[rows].flatten().double().nanquantile(0.68) / NORMAL_68
        return self

    def widened(self, noise: Tensor, samples: Tensor) -> Tensor:
        """Return samples (B, S, L) as wide as held-out spectra of that noise, (B,), ask for."""
        lower = (torch.searchsorted(self.noise, noise.contiguous()) - 1).clamp(0, NODES - 2)
        share = (noise - self.noise[lower]) / (self.noise[lower + 1] - self.noise[lower]).clamp(min=1e-9)
        factor = torch.lerp(self.widening[lower], self.widening[lower + 1], share.clamp(0, 1))
        mean = samples.mean(dim=1, keepdim=True)
        return mean + factor[:, None, None] * (samples - mean)

    def coefficients(self, clean: Tensor) -> Tensor:
        """Return the coefficients (B, K) of noise-free spectra relative to their level, (B, L)."""
        return (clean - self.subspace.mean) @ self.projector

    def spectra(self, coefficients: Tensor) -> Tensor:
        """Return the spectra (..., L) of coefficients (..., K)."""
        return self.subspace.mean + coefficients @ self.subspace.basis

    def forward(self, told: Told) -> Tensor:
        """Return the expected coefficients."""
        inputs = Inputs(told.linear[:, None], None, told.conditions)
        found: Tensor = self.exit(self.body(inputs)).float()
        return told.linear + told.doubt.sqrt() * found


def told_by(h: Tensor, normal: Tensor, level: Tensor, factor: Tensor) -> Told:
    """Return what spectra say: h (B, K) and N (B, K, K) in float64, level features, and the noise factor s (B, 1)."""
    identity = torch.eye(normal.shape[1], dtype=normal.dtype, device=normal.device)
    root = steady_cholesky(identity + normal)
    linear = torch.cholesky_solve(h[..., None], root)[..., 0]
    doubt = torch.cholesky_inverse(root).diagonal(dim1=1, dim2=2)
    return Told(linear.float(), doubt.float(), torch.cat([level, factor.log() / 2], dim=1).float())


@dataclass(frozen=True)
class BasisDiffusion:
    """The objective of a `BasisRestorer`: squared errors of coefficients over what their noise is.

    Each spectrum is taken as observed, and with more or less noise than it has: less, by what a further observation of
    the same star with the visible sigma would say, more, by noise of that sigma.

    Args:
        body: fitted.
    """

    body: BasisRestorer

    score = NEGATIVE_LOSS
    monitor = (NEGATIVE_LOSS,)

    @property
    def front(self) -> nn.Module:
        """The directions."""
        return self.body.subspace

    @property
    def identity(self) -> dict[str, Any]:
        """What it is, and how many directions there are."""
        return {"objective": "basis diffusion", "components": self.body.subspace.components}

    def check(self, validation: SpectraBatch) -> None:
        """Raise DataError unless the noise-free flux is known."""
        if validation.truth is None:
            raise DataError(
                "objective: a basis denoiser needs held-out spectra whose noise-free flux is known"
            )

    def prepare(self, batch: SpectraBatch, seed: int | None) -> tuple[Told, Tensor]:
        """Return what spectra say, and coefficients with their weights, shape (COPIES · B, 2, K)."""
        device, space = batch.flux.device, self.body.subspace
        generator = torch.Generator(device).manual_seed(0 if seed is None else seed)
        usable, flux, sigma, divisor = normalise(batch.flux, batch.sigma)
        true = self.body.coefficients(batch.known_truth().flux / divisor)
        found = space.solve(usable, flux, sigma)
        one = torch.eye(space.components, dtype=torch.float64, device=device)
        normal = torch.matmul(found.factor.double(), found.factor.double().mT) - one
        h = ((found.weight * (flux - space.mean)) @ space.basis.T).double()
        # Of covariance N: what noise in the pixels makes of h. A direction of which nothing is known has no root.
        root = steady_cholesky(
            normal + ROUNDING * normal.diagonal(dim1=1, dim2=2).amax(dim=1)[:, None, None] * one
        )
        noise = torch.randn(COPIES, *h.shape, generator=generator, device=device, dtype=torch.float64)
        drawn = (root @ noise[..., None])[..., 0].flatten(0, 1)
        expected = (normal @ true.double()[..., None])[..., 0].repeat(COPIES, 1)
        h, normal, level = (
            h.repeat(COPIES, 1),
            normal.repeat(COPIES, 1, 1),
            space.level_features(found).repeat(COPIES, 1),
        )
        factor = self._factors(len(flux), generator)
        share = factor.square().reciprocal()
        more, less = (share - 1).clamp(min=0), (share - share.square()).clamp(min=0)
        h = torch.where(
            share >= 1, h + more * expected + more.sqrt() * drawn, share * h + less.sqrt() * drawn
        )
        told = told_by(h, share[..., None] * normal, level, factor)
        weight = 1 / told.doubt - (1 - UNSEEN)
        return told, torch.stack([true.repeat(COPIES, 1), weight], dim=1)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean weighted squared error of a coefficient."""
        true, weight = targets.unbind(dim=1)
        loss: Tensor = (weight * (outputs - true).square()).mean()
        return loss

    def scores(self, held_out: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Return the loss with its sign changed."""
        losses = [(float(self.loss(outputs, targets)), len(targets)) for outputs, targets in held_out]
        return {NEGATIVE_LOSS: -sum(loss * count for loss, count in losses) / sum(c for _, c in losses)}

    def _factors(self, count: int, generator: torch.Generator) -> Tensor:
        """Return by what the noise is multiplied, shape (COPIES · count, 1), float64: 1 for the first copy."""
        choice, place = torch.rand(
            2, (COPIES - 1) * count, 1, generator=generator, device=generator.device, dtype=torch.float64
        )
        other = torch.where(choice < IN_LESS, LEAST**place, MOST**place)
        return torch.cat([torch.ones_like(other[:count]), other])


class BasisPosterior:
    """What is needed to sample coefficients of some spectra: their directions of equal noise.

    In w = √Λ Qᵀc, with N = Q Λ Qᵀ, the noise of an observation is white and of unit size.

    Args:
        body: trained.
        h, normal: of B spectra, (B, K) and (B, K, K), float64.
        level: their level features, (B, J).
        copies: how often each is sampled at once.
    """

    def __init__(self, body: BasisRestorer, h: Tensor, normal: Tensor, level: Tensor, copies: int) -> None:
        values, self.vectors = torch.linalg.eigh(normal)
        # Rounding makes the least of them slightly negative; nothing is known there.
        self.values = values.clamp(min=1e-9 * float(values.max()))
        self.body, self.level, self.copies = body, level, copies
        self.observed = self._spread((self.vectors.mT @ h[..., None])[..., 0] / self.values.sqrt())

    def coefficients(self, state: Tensor, factor: float) -> Tensor:
        """Return E[c | w + s ε = state] of all copies, shape (B · copies, K)."""
        kept, share = factor**2 / (factor**2 + self.values), self.values.sqrt() / (factor**2 + self.values)
        inner = self._spread(share) * state
        linear = self._rotated(inner)
        doubt = (self.vectors.square() @ kept[..., None])[..., 0]
        told = torch.cat(
            [self.level.double(), torch.full_like(self.level[:, :1], factor).log().double() / 2], 1
        )
        found: Tensor = self.body(
            Told(linear.float(), self._spread(doubt).float(), self._spread(told).float())
        )
        return found.double()

    def restore(self, state: Tensor, factor: float) -> Tensor:
        """Return E[w | w + s ε = state], (B · copies, K): the guess of `sampling.product_guess`."""
        found = self.coefficients(state, factor).unflatten(0, (-1, self.copies))
        rotated: Tensor = (found @ self.vectors).flatten(0, 1)
        return self._spread(self.values.sqrt()) * rotated

    def _spread(self, values: Tensor) -> Tensor:
        return values.repeat_interleave(self.copies, dim=0)

    def _rotated(self, state: Tensor) -> Tensor:
        rotated: Tensor = (state.unflatten(0, (-1, self.copies)) @ self.vectors.mT).flatten(0, 1)
        return rotated
