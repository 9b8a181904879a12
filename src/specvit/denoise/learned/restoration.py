"""What a one-pass denoiser is trained for: inputs, targets and loss of each task. The engine is `specvit.training`'s.

Supervised tasks know the noise-free flux of simulated spectra; "noise2noise" is given a second exposure in its place
(Lehtinen et al. 2018, ICML), "blind" nothing but the noisy pixel itself (Laine et al. 2019, NeurIPS).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from specvit.denoise.learned.restorer import combined, noise_of
from specvit.denoise.learned.seen import SeenSpectra, Sight
from specvit.errors import DataError
from specvit.models.conditioning import normalise
from specvit.spectra import SpectraBatch
from specvit.training.feeds import masked
from specvit.training.objectives import NEGATIVE_LOSS

#: Task -> what it is, for cards.
TASKS = {
    "clean": "learnt to give the noise-free flux of spectra as they are observed",
    "bounded": "learnt to give the noise-free flux of spectra with a share of their noise, which it is not told",
    "residual": "learnt what to add to spectra with a share of their noise, which it is told",
    "noise2noise": "learnt to give a second exposure of the same star, never the noise-free flux",
    "blind": "learnt to foretell each noisy pixel from the others, never the noise-free flux (self-supervised)",
    "blind-supervised": "foretells each pixel from the others, and was trained on the noise-free flux: supervised",
}
#: Those that never see noise-free flux.
BLIND_TO_TRUTH = ("noise2noise", "blind")
#: Those of a network that does not see the pixel it speaks of.
HIDING = ("blind", "blind-supervised")
#: Loss by task; the first is the default.
LOSSES_OF = {
    **dict.fromkeys(("clean", "bounded", "residual"), ("mse", "wmae", "wmse")),
    # A mean over second exposures is the mean of the star for squares alone.
    "noise2noise": ("mse", "wmse"),
    "blind": ("gaussian", "laplace"),
    "blind-supervised": ("laplace", "gaussian"),
}
#: Of what is drawn anew, in held-out spectra: alike every time.
HELD_OUT_SEED = 0


@dataclass(frozen=True)
class Restoration:
    """The objective of a `Restorer` or `BlindRestorer`; the held-out loss selects the weights.

    Args:
        sight: of the body.
        task: one of `TASKS`.
        loss_name: one of `LOSSES_OF[task]`: "mse" in units of the spread of pixels, "wmae" and "wmse" weigh each pixel
            by 1 / σ and 1 / σ²; likelihoods "gaussian" and "laplace".
        low, high: share of the noise that "bounded" and "residual" spectra have, uniform between these.
        masked_share: share of training spectra in which random stretches of pixels are marked dead.
    """

    sight: Sight
    task: str
    loss_name: str
    low: float = 0.0
    high: float = 1.0
    masked_share: float = 0.0

    score = NEGATIVE_LOSS
    monitor = (NEGATIVE_LOSS,)

    @property
    def front(self) -> nn.Module:
        """Statistics of the training spectra."""
        return self.sight

    @property
    def identity(self) -> dict[str, Any]:
        """Task, loss and what is shown."""
        return {
            "objective": "restoration",
            "task": self.task,
            "loss": self.loss_name,
            "noise": [self.low, self.high],
            "shown": self.sight.shown,
            "masked": self.masked_share,
        }

    def check(self, validation: SpectraBatch) -> None:
        """Raise DataError unless the task has what it needs; all but "blind" simulate from the noise-free flux."""
        if self.task != "blind" and validation.truth is None:
            raise DataError(
                f"objective: '{self.task}' needs held-out spectra whose noise-free flux is known; simulate them, or "
                "take objective = blind"
            )

    def prepare(self, batch: SpectraBatch, seed: int | None) -> tuple[SeenSpectra, Tensor]:
        """Return spectra as seen, and what is wanted of each pixel, its noise and its flux, shape (B, 3, L)."""
        generator = torch.Generator(batch.flux.device).manual_seed(HELD_OUT_SEED if seed is None else seed)
        if seed is not None and self.masked_share:
            batch = masked(batch, self.masked_share, seed)
        usable, flux, sigma, level = normalise(batch.flux, batch.sigma)
        one = torch.ones_like(flux[:, :1])
        share, told = one, one
        if self.task in ("bounded", "residual"):
            clean, true_sigma = self._truth(batch, level)
            draw = torch.rand(one.shape, generator=generator, device=one.device)
            share = self.low + (self.high - self.low) * draw
            flux = clean + share * true_sigma * self._noise(flux, generator)
            told = share if self.task == "residual" else one
        shown = torch.where(usable, sigma, torch.inf)
        seen = SeenSpectra(torch.where(usable, flux, 0.0), shown, told)
        if self.task == "blind":
            wanted = torch.where(usable, flux, torch.inf)
        else:
            wanted, true_sigma = self._truth(batch, level)
            if self.task == "noise2noise":
                wanted = wanted + true_sigma * self._noise(flux, generator)
        noise = noise_of(self.sight, seen) if self.task in HIDING else shown
        return seen, torch.stack([wanted, noise, seen.flux], dim=1)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over pixels for which something is wanted."""
        wanted, noise, flux = targets.unbind(dim=1)
        asked = torch.isfinite(wanted)
        if self.task in HIDING:
            asked = asked & torch.isfinite(noise)
            return _mean(self._likelihood(outputs, wanted, noise, flux), asked)
        error = outputs - torch.where(asked, wanted, 0.0)
        if self.loss_name == "mse":
            return _mean((error / self.sight.spread.square().mean().sqrt()).square(), asked)
        # A dead pixel has no weight: its sigma is infinite.
        weighed = error / noise
        return _mean(weighed.abs() if self.loss_name == "wmae" else weighed.square(), asked)

    def scores(self, held_out: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Return the loss with its sign changed."""
        total, count = 0.0, 0
        for outputs, targets in held_out:
            total += float(self.loss(outputs, targets)) * len(targets)
            count += len(targets)
        return {NEGATIVE_LOSS: -total / count}

    def _likelihood(self, outputs: Tensor, wanted: Tensor, noise: Tensor, flux: Tensor) -> Tensor:
        """Return the negative log-likelihood of each pixel, up to a constant."""
        variance = (2 * outputs[:, 1]).exp() + noise.square()
        # Self-supervised: of the noisy pixel. Supervised: of the noise-free one, after the noisy one was looked at.
        mean = outputs[:, 0]
        if self.task == "blind-supervised":
            mean = combined(outputs, SeenSpectra(flux, noise, noise[:, :1]), noise)[0]
        error = mean - torch.where(torch.isfinite(wanted), wanted, 0.0)
        if self.loss_name == "gaussian":
            return 0.5 * (error.square() / variance + variance.log())
        # Of the standard deviation √variance: b = √(variance / 2).
        width = (0.5 * variance).sqrt()
        return error.abs() / width + width.log() + math.log(2)

    def _truth(self, batch: SpectraBatch, level: Tensor) -> tuple[Tensor, Tensor]:
        truth = batch.known_truth()
        return truth.flux / level, truth.sigma / level

    def _noise(self, like: Tensor, generator: torch.Generator) -> Tensor:
        return torch.randn(like.shape, generator=generator, device=like.device)


def _mean(values: Tensor, asked: Tensor) -> Tensor:
    return torch.where(asked, values, 0.0).sum() / asked.sum().clamp(min=1)
