"""The trainable part of a one-pass denoiser: what is linear is given, what is learnt is a correction.

With m and p the mean and spread of a pixel over stars, n = s σ its noise at strength s, and F the network,

    x̂ = y + s g(y, s, σ),    g = [-n (y - m) + p √(p² + n²) F] σ / (p² + n²),

which at s = 0 is y, exactly and whatever the weights are; without F it is the best guess from a pixel alone. F has unit
size at all noise levels (Karras et al. 2022, NeurIPS, for one noise level; here each pixel has its own). With the best
linear guess from all pixels, that of `models.subspace`, m is this guess, p what it leaves of the spread, and F is shown it.
"""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from specvit.denoise.learned.blind_spot import BlindSpotConfig, BlindSpotNet
from specvit.denoise.learned.seen import SeenSpectra, Sight, SightInputs
from specvit.denoise.learned.unet import UNet, UNetConfig
from specvit.models.conditioning import normalise
from specvit.models.subspace import SubspaceProjection

#: Planes and conditions that `Sight` gives.
PLANES, CONDITIONS = 3, 2

#: A spectrum without noise has no weights; this far below any, the guess is the spectrum.
LEAST_NOISE = 1e-4


class Restorer(nn.Module):
    """Spectra as seen -> their noise-free flux, shape (B, L).

    Args:
        config: of the network.
        sight: fitted before the first step.
        components: directions of the best linear guess, which is then corrected; 0: a pixel's own is.
    """

    rest: Tensor

    def __init__(self, config: UNetConfig, sight: Sight, components: int = 0) -> None:
        super().__init__()
        self.sight = sight
        self.register_buffer("rest", torch.ones(sight.pixels))
        self.subspace = SubspaceProjection(sight.pixels, components) if components else None
        self.network = UNet(config, sight.pixels, PLANES + bool(components), 1, CONDITIONS)

    @torch.no_grad()
    def fit(self, clean: Tensor, flux: Tensor, sigma: Tensor) -> Self:
        """Set the linear guess and what it leaves from N training spectra, each (N, L); nothing without one."""
        if self.subspace is not None:
            self.subspace.fit(clean, flux, sigma)
            usable, flux, sigma, level = normalise(flux, sigma)
            seen = SeenSpectra(flux, torch.where(usable, sigma, torch.inf), torch.ones_like(level))
            left = clean / level - self._linear(self.sight.known(seen))
            # A pixel that is known without looking would never be corrected.
            self.rest.copy_(
                left.square().mean(dim=0).sqrt().clamp(min=1e-3 * float(self.sight.spread.mean()))
            )
        return self

    def change(self, seen: SeenSpectra) -> Tensor:
        """Return g, shape (B, L), for y + s g; on dead pixels what leads from 0 to the flux they may have."""
        known = self.sight.known(seen)
        planes, noise = self.sight.planes(known), known.noise
        centre, spread = self.sight.mean.expand_as(noise), self.sight.spread
        if self.subspace is not None:
            centre = self._linear(known)
            planes = torch.cat([planes, ((centre - self.sight.mean) / spread)[:, None]], dim=1)
            spread = self.rest
        found = self.network(planes, known.conditions)[:, 0]
        total = (spread.square() + noise.square()).sqrt()
        # σ as shown, so that s σ is the noise; without noise there is none to be told of.
        sigma = noise / seen.strength.clamp(min=1e-12)
        learnt = spread / total * sigma * found
        change = learnt - sigma * noise * (seen.flux - centre) / total.square()
        filled = (centre + spread * found) / seen.strength.clamp(min=1e-12)
        return torch.where(known.live, change, filled)

    @torch.no_grad()
    def _linear(self, known: SightInputs) -> Tensor:
        """Return the best linear guess, shape (B, L)."""
        assert self.subspace is not None
        space, noise = self.subspace, known.noise.clamp(min=LEAST_NOISE)
        found = space.solve(known.live, known.residual + self.sight.mean, noise)
        guess: Tensor = space.mean + found.coefficients @ space.basis
        return guess

    def forward(self, seen: SeenSpectra) -> Tensor:
        """Return the flux without noise, shape (B, L), relative to the level."""
        return seen.flux + seen.strength * self.change(seen)


class BlindRestorer(nn.Module):
    """Spectra as seen -> what the other pixels say of each: its flux and the logarithm of their error.

    Args:
        config: of the network.
        sight: fitted before the first step.
    """

    def __init__(self, config: BlindSpotConfig, sight: Sight) -> None:
        super().__init__()
        self.sight = sight
        self.network = BlindSpotNet(config, sight.pixels, PLANES, 2, CONDITIONS)

    def forward(self, seen: SeenSpectra) -> Tensor:
        """Return expected flux and ln of its error, shape (B, 2, L)."""
        known = self.sight.known(seen)
        found, doubt = self.network(self.sight.planes(known), known.conditions).unbind(dim=1)
        spread = self.sight.spread
        error = spread * (F.softplus(doubt + 0.5413) + 1e-3)
        return torch.stack([self.sight.mean + spread * found, error.log()], dim=1)


def combined(foretold: Tensor, seen: SeenSpectra, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return posterior mean and variance (B, L) of what a blind network foretells and of the pixel itself.

    Args:
        foretold: (B, 2, L) of a `BlindRestorer`.
        seen: the same spectra.
        noise: error of the pixels, (B, L), `inf` on dead ones.
    """
    mean, variance = foretold[:, 0], (2 * foretold[:, 1]).exp()
    share = variance / (variance + noise.square())
    live = torch.isfinite(noise)
    return torch.where(live, mean + share * (seen.flux - mean), mean), torch.where(
        live, (1 - share) * variance, variance
    )


def noise_of(sight: Sight, seen: SeenSpectra) -> Tensor:
    """Return the noise that a network was shown, (B, L), `inf` on dead pixels."""
    known: SightInputs = sight.known(seen)
    return torch.where(known.live, known.noise, torch.inf)
