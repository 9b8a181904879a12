"""What a learned denoiser sees: flux relative to its level, the visible sigma or a control in its place, and statistics.

Controls show what sigma is worth, and that it is no leak: "blind" shows none of it, "mean" that of the average training
star, "shuffled" that of another star. Owns the planes and the numbers that describe a spectrum; has no weights.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from specvit.errors import DataError
from specvit.models.conditioning import normalise
from specvit.models.usable import usable_median

#: What a network may be shown of sigma.
SIGMAS = ("visible", "blind", "mean", "shuffled")

#: Spectra of the training whose sigma "shuffled" deals out.
BANK = 64

#: Logarithms of sigma over the spread of a pixel are taken as no further from zero: what is dead or perfect.
EXTREME = 8.0


class SeenSpectra(NamedTuple):
    """Some spectra, relative to their level.

    flux: shape (B, L), 0 on dead pixels.
    sigma: of the flux, (B, L), `inf` on dead pixels.
    strength: noise of the flux over sigma, (B, 1).
    """

    flux: Tensor
    sigma: Tensor
    strength: Tensor


class SightInputs(NamedTuple):
    """Spectra as a network takes them.

    residual: flux less the mean of the training, 0 on dead pixels, shape (B, L).
    noise: of it, as it is shown, (B, L); 0 on dead pixels.
    live: whether a pixel is not dead, (B, L).
    conditions: noise level and strength, (B, 2), order one.
    """

    residual: Tensor
    noise: Tensor
    live: Tensor
    conditions: Tensor


class Sight(nn.Module):
    """Statistics of the training spectra, and the rule by which sigma is shown.

    Args:
        pixels: L.
        shown: one of `SIGMAS`.
    """

    mean: Tensor
    spread: Tensor
    usual: Tensor
    bank: Tensor

    def __init__(self, pixels: int, shown: str = "visible") -> None:
        super().__init__()
        self.pixels, self.shown = pixels, shown
        self.register_buffer("mean", torch.ones(pixels))
        self.register_buffer("spread", torch.ones(pixels))
        self.register_buffer("usual", torch.ones(pixels))
        self.register_buffer("bank", torch.ones(BANK, pixels))

    @torch.no_grad()
    def fit(self, flux: Tensor, sigma: Tensor, clean: Tensor | None) -> Self:
        """Set mean and spread of the pixels and what the controls show, from N training spectra.

        Args:
            flux, sigma: what a pipeline gives, shape (N, L).
            clean: noise-free flux in the unit of `flux`, (N, L); None takes from the noisy what they tell of it: the mean
                of each pixel, and one spread for all.

        Raises:
            DataError: for fewer than two spectra.
        """
        if len(flux) < 2:
            raise DataError(f"denoiser: {len(flux)} training spectra tell no spread; take more")
        usable, flux, noise, level = normalise(flux, sigma)
        if clean is None:
            mean, variance = _from_noisy(usable, flux, noise)
        else:
            mean, variance = (clean / level).mean(dim=0), (clean / level).var(dim=0)
        # A pixel that never varies would be taken for known without looking.
        floor = 1e-3 * variance.mean().clamp(min=1e-12)
        self.mean.copy_(mean)
        self.spread.copy_(variance.clamp(min=floor).sqrt())
        log, count = torch.where(usable, noise.log(), 0.0), usable.sum(dim=0).clamp(min=1)
        self.usual.copy_((log.sum(dim=0) / count).exp())
        live = torch.where(usable, noise, self.usual)
        self.bank.copy_(live[torch.arange(BANK, device=live.device) % len(live)])
        return self

    def known(self, seen: SeenSpectra) -> SightInputs:
        """Return spectra as a network takes them; "shuffled" deals sigmas by the place of a spectrum among these."""
        live = torch.isfinite(seen.sigma)
        noise = self._shown(torch.where(live, seen.sigma, 1.0)) * seen.strength
        residual = torch.where(live, seen.flux - self.mean, 0.0)
        level = usable_median(noise, live)[:, None].clamp(min=1e-6).log()
        conditions = torch.cat([level, seen.strength.clamp(min=1e-6).log()], dim=1)
        return SightInputs(
            residual, torch.where(live, noise, 0.0), live, (conditions / 3).clamp(-EXTREME, EXTREME)
        )

    def planes(self, known: SightInputs) -> Tensor:
        """Return flux over its total spread, logarithm of noise over spread, and what is live, shape (B, 3, L)."""
        total = (self.spread.square() + known.noise.square()).sqrt()
        ratio = (known.noise / self.spread).clamp(min=1e-6).log().clamp(-EXTREME, EXTREME)
        live = known.live.to(ratio)
        return torch.stack([known.residual / total, ratio * live / 3, live], dim=1)

    def _shown(self, sigma: Tensor) -> Tensor:
        if self.shown == "visible":
            return sigma
        if self.shown == "shuffled":
            # Not row k its own: rows of one batch and of the bank both come in the order of the training.
            return self.bank[(torch.arange(len(sigma), device=sigma.device) * 7 + 3) % BANK]
        shown = self.usual if self.shown == "mean" else self.usual.median().expand(self.pixels)
        return shown.expand(len(sigma), -1)


def _from_noisy(usable: Tensor, flux: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of each pixel over stars, and the variance over stars of a pixel on average, each (L,).

    One variance for all: that of a noisy pixel, less its noise, is what its noise leaves of it, which may be anything.
    """
    weight = torch.where(usable, noise.square().reciprocal(), 0.0).double()
    mean = (weight * flux).sum(dim=0) / weight.sum(dim=0).clamp(min=1e-30)
    excess = (flux - mean).square() - noise.square()
    # By the inverse variance of a square: what is known of a pixel is known of the quiet ones.
    variance = (weight.square() * excess).sum() / weight.square().sum().clamp(min=1e-30)
    return mean.float(), variance.clamp(min=1e-12).float().expand(flux.shape[1])
