"""Diffusion in pixel space: a U-Net that guesses the star behind white noise, of any star or of one that was observed.

States are pixels less their mean over their spread, so of unit variance, and noisy states are u + t ε. Two ways to
train the same network: "edm" gives it targets of unit size at all times and draws times log-normally (Karras et al.
2022, NeurIPS); "ddpm" lets it find the noise at a thousand steps of equal weight with linear β (Ho, Jain & Abbeel 2020).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from specvit.denoise.learned.restorer import CONDITIONS, PLANES
from specvit.denoise.learned.seen import SeenSpectra, Sight
from specvit.denoise.learned.unet import UNet, UNetConfig
from specvit.errors import DataError
from specvit.models.conditioning import normalise
from specvit.spectra import SpectraBatch
from specvit.training.objectives import NEGATIVE_LOSS

#: ln t of the training: mean and deviation, those of Karras et al. for states of unit variance.
LOG_TIME = (-0.5, 1.4)

#: Steps of "ddpm", its first and its last β.
STEPS, FIRST_BETA, LAST_BETA = 1000, 1e-4, 0.02

#: Times between which "edm" is sampled.
LEAST, MOST = 0.01, 50.0


def ddpm_times() -> Tensor:
    """Return t = √((1 - ᾱ) / ᾱ) of the steps of "ddpm", rising, shape (STEPS,), float64."""
    kept = torch.cumprod(1 - torch.linspace(FIRST_BETA, LAST_BETA, STEPS, dtype=torch.float64), dim=0)
    return ((1 - kept) / kept).sqrt()


class Diffused(NamedTuple):
    """States in noise, shape (B, L); their times, (B, 1); and the observed spectrum, where there is one."""

    state: Tensor
    time: Tensor
    seen: SeenSpectra | None


class Diffuser(nn.Module):
    """States in noise -> E[u], shape (B, L).

    Args:
        config: of the network.
        sight: fitted before the first step.
        form: "edm" or "ddpm".
        conditional: whether it also sees an observed spectrum.
    """

    def __init__(self, config: UNetConfig, sight: Sight, form: str, conditional: bool) -> None:
        super().__init__()
        self.sight, self.form, self.conditional = sight, form, conditional
        more = (PLANES, CONDITIONS) if conditional else (0, 0)
        self.network = UNet(config, sight.pixels, 1 + more[0], 1, 1 + more[1])

    def forward(self, inputs: Diffused) -> Tensor:
        """Return the expectation of the state without noise."""
        state, time = inputs.state, inputs.time
        total = (1 + time.square()).sqrt()
        planes, conditions = (state / total)[:, None], time.log() / 4
        if inputs.seen is not None:
            known = self.sight.known(inputs.seen)
            planes = torch.cat([planes, self.sight.planes(known)], dim=1)
            conditions = torch.cat([conditions, known.conditions], dim=1)
        found: Tensor = self.network(planes, conditions)[:, 0]
        if self.form == "ddpm":
            return state - time * found
        return state / total.square() + time / total * found

    def size(self, time: Tensor) -> Tensor:
        """Return by what the network's own output is multiplied at times (B, 1): its errors are of unit size over it."""
        return time if self.form == "ddpm" else time / (1 + time.square()).sqrt()


@dataclass(frozen=True)
class Diffusion:
    """The objective of a `Diffuser`: its squared error over `Diffuser.size`, held-out the score.

    Args:
        body: whose size of errors it is.
    """

    body: Diffuser

    score = NEGATIVE_LOSS
    monitor = (NEGATIVE_LOSS,)

    @property
    def front(self) -> nn.Module:
        """Statistics of the training spectra."""
        return self.body.sight

    @property
    def identity(self) -> dict[str, Any]:
        """Form, and what is shown."""
        return {
            "objective": "diffusion",
            "form": self.body.form,
            "conditional": self.body.conditional,
            "shown": self.body.sight.shown,
        }

    def check(self, validation: SpectraBatch) -> None:
        """Raise DataError unless the noise-free flux is known."""
        if validation.truth is None:
            raise DataError(
                "objective: a diffusion learns what noise-free spectra are; simulate the held-out spectra"
            )

    def prepare(self, batch: SpectraBatch, seed: int | None) -> tuple[Diffused, Tensor]:
        """Return states in noise of random times, and states and times, shape (B, L + 1)."""
        device = batch.flux.device
        generator = torch.Generator(device).manual_seed(0 if seed is None else seed)
        usable, flux, sigma, level = normalise(batch.flux, batch.sigma)
        sight = self.body.sight
        state = (batch.known_truth().flux / level - sight.mean) / sight.spread
        time = self._times(len(state), generator).to(state)
        noise = torch.randn(state.shape, generator=generator, device=device)
        shown = torch.where(usable, sigma, torch.inf)
        seen = SeenSpectra(flux, shown, torch.ones_like(time)) if self.body.conditional else None
        return Diffused(state + time * noise, time, seen), torch.cat([state, time], dim=1)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean squared error of the network's own output."""
        state, time = targets[:, :-1], targets[:, -1:]
        loss: Tensor = ((outputs - state) / self.body.size(time)).square().mean()
        return loss

    def scores(self, held_out: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Return the loss with its sign changed."""
        losses = [(float(self.loss(outputs, targets)), len(targets)) for outputs, targets in held_out]
        return {NEGATIVE_LOSS: -sum(loss * count for loss, count in losses) / sum(c for _, c in losses)}

    def _times(self, count: int, generator: torch.Generator) -> Tensor:
        """Return random times, shape (count, 1)."""
        device = generator.device
        if self.body.form == "ddpm":
            chosen = torch.randint(STEPS, (count, 1), generator=generator, device=device)
            return ddpm_times().to(device, torch.float32)[chosen]
        mean, deviation = LOG_TIME
        return (mean + deviation * torch.randn(count, 1, generator=generator, device=device)).exp()
