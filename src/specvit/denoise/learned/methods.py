"""How each kind of learned denoiser is built, trained and asked. One class a kind, one function that chooses.

A `Method` has a body that is trained, the objective of its training, and `restore`, which answers for it.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from specvit.denoise.learned.basis import BasisDiffusion, BasisPosterior, BasisRestorer, told_by
from specvit.denoise.learned.config import BASIS, DIFFUSIONS, DenoiserConfig
from specvit.denoise.learned.diffusion import LEAST, MOST, Diffused, Diffuser, Diffusion
from specvit.denoise.learned.restoration import BLIND_TO_TRUTH, HIDING, TASKS, Restoration
from specvit.denoise.learned.restorer import BlindRestorer, Restorer, combined, noise_of
from specvit.denoise.learned.sampling import (
    Guess,
    ancestral,
    flow,
    guided_guess,
    noise_times,
    product_guess,
)
from specvit.denoise.learned.seen import SeenSpectra, Sight
from specvit.denoise.restoring import NoisySpectra, Restored
from specvit.models.conditioning import normalise
from specvit.models.usable import usable_median, usable_pixels
from specvit.spectra import SpectraBatch
from specvit.training.objectives import Objective

#: Noise of a diffusion state, in units of that of the observation, at the first and the last step of a posterior sample.
#: At first the state says a hundredth of what the observation says. At last it has to tell also those directions of which
#: the observation says next to nothing: of one whose prior is a tenth of the noise, 0.05 would leave a quarter of the
#: variance out, and faint stars have many.
FIRST, LAST = 10.0, 0.02

#: Samples by which the width of samples is corrected, and spectra at once.
CORRECTING, AT_ONCE = 32, 64

#: Samples of spectra of which a mean is wanted, where it is not known without them; and states drawn at once.
FOR_MEAN, STATES = 16, 2048


class Method(Protocol):
    """A kind of learned denoiser."""

    body: nn.Module

    @property
    def about(self) -> str:
        """What it does, for the card."""

    @property
    def sees_truth(self) -> bool:
        """Whether its training knows noise-free flux."""

    def prepare(self, sample: SpectraBatch) -> None:
        """Set the statistics that are not trained from some training spectra."""

    def objective(self, masked: float) -> Objective:
        """Return what the body is trained for."""

    def correct(self, held_out: SpectraBatch) -> None:
        """Correct what is stated of errors by spectra that were not learnt from, after the training."""

    def restore(self, noisy: NoisySpectra) -> Restored:
        """Answer for spectra relative to their level."""

    def probe(self, noisy: NoisySpectra) -> Tensor:
        """Return an answer to fixed spectra in which all weights take part, and no chance, shape (B, L)."""


def make_method(config: DenoiserConfig, pixels: int) -> Method:
    """Return the kind of denoiser that a description asks for, not trained; draws from PyTorch's generator."""
    if config.objective == BASIS:
        return _Basis(config, pixels)
    return _Pixels(config, pixels) if config.objective in DIFFUSIONS else _OnePass(config, pixels)


def _seen(noisy: NoisySpectra, strength: float = 1.0) -> SeenSpectra:
    return SeenSpectra(noisy.flux, noisy.sigma, torch.full_like(noisy.flux[:, :1], strength))


def _fit(sight: Sight, sample: SpectraBatch, with_truth: bool) -> None:
    sight.fit(sample.flux, sample.sigma, sample.known_truth().flux if with_truth else None)


class _OnePass:
    """Restorers and blind restorers; one that is told the strength also samples, see `sampling.product_guess`."""

    def __init__(self, config: DenoiserConfig, pixels: int) -> None:
        self.config, self.sight = config, Sight(pixels, config.sigma)
        self.hides = config.objective in HIDING
        self.body: nn.Module = (
            BlindRestorer(config.blind_spot, self.sight)
            if self.hides
            else Restorer(config.unet, self.sight, config.components)
        )

    @property
    def about(self) -> str:
        kind = "blind-spot network" if self.hides else "U-Net"
        return f"A {kind} that {_lowered(TASKS[self.config.objective])}; loss {self.config.loss_name}."

    @property
    def sees_truth(self) -> bool:
        return self.config.objective not in BLIND_TO_TRUTH

    def prepare(self, sample: SpectraBatch) -> None:
        _fit(self.sight, sample, self.sees_truth)
        if isinstance(self.body, Restorer) and self.body.subspace is not None:
            self.body.fit(sample.known_truth().flux, sample.flux, sample.sigma)

    def objective(self, masked: float) -> Objective:
        config = self.config
        return Restoration(self.sight, config.objective, config.loss_name, config.low, config.high, masked)

    def correct(self, held_out: SpectraBatch) -> None:
        pass

    def restore(self, noisy: NoisySpectra) -> Restored:
        if isinstance(self.body, BlindRestorer):
            seen = _seen(noisy)
            mean, variance = combined(self.body(seen), seen, noise_of(self.sight, seen))
            return Restored(mean, variance.sqrt())
        assert isinstance(self.body, Restorer)
        told = self.config.objective == "residual"
        seen = _seen(noisy, noisy.strength if told else 1.0)
        mean = noisy.flux + self.body.change(seen)
        if told:
            # Of a dead pixel nothing is there to be changed by a share.
            mean = torch.where(torch.isfinite(noisy.sigma), mean, self.body(seen))
        samples = self._samples(noisy) if told and noisy.draws else None
        return Restored(mean, None if samples is None else _spread(samples), samples)

    def probe(self, noisy: NoisySpectra) -> Tensor:
        return self.restore(noisy).mean

    def _samples(self, noisy: NoisySpectra) -> Tensor:
        """Return draws (B, S, L) from the posterior; of a dead pixel what the drawn others say of it."""
        live, drawn = torch.isfinite(noisy.sigma), []
        noise = torch.where(live, noisy.sigma, self.sight.spread)
        times = noise_times(self.config.steps_of_sampler, LAST, FIRST)
        observed = torch.where(live, noisy.flux, self.sight.mean) / noise
        for _ in range(noisy.draws):

            def restore(state: Tensor, factor: float) -> Tensor:
                told = torch.full_like(state[:, :1], factor)
                found: Tensor = self.body(
                    SeenSpectra(torch.where(live, state * noise, 0.0), noisy.sigma, told)
                )
                return found / noise

            start = observed + FIRST * _normal(observed, noisy.generator)
            drawn.append(flow(product_guess(restore, observed), start, times) * noise)
        return torch.stack(drawn, dim=1)


class _Pixels:
    """Diffusion of pixels: conditional ones sample by themselves, others are guided to the observation."""

    def __init__(self, config: DenoiserConfig, pixels: int) -> None:
        self.config, self.sight = config, Sight(pixels, config.sigma)
        self.diffuser = Diffuser(config.unet, self.sight, config.objective, config.conditional)
        self.body: nn.Module = self.diffuser

    @property
    def about(self) -> str:
        what = (
            "given an observed spectrum" if self.config.conditional else "of stars in general, guided by DPS"
        )
        return f"A diffusion of pixels, {what}: {DIFFUSIONS[self.config.objective]}."

    @property
    def sees_truth(self) -> bool:
        return True

    def prepare(self, sample: SpectraBatch) -> None:
        _fit(self.sight, sample, True)

    def objective(self, masked: float) -> Objective:
        return Diffusion(self.diffuser)

    def correct(self, held_out: SpectraBatch) -> None:
        pass

    def restore(self, noisy: NoisySpectra) -> Restored:
        drawn = [self._draw(noisy) for _ in range(max(noisy.draws, FOR_MEAN))]
        samples = self.sight.mean + self.sight.spread * torch.stack(drawn, dim=1)
        return Restored(
            samples.mean(dim=1), _spread(samples), samples[:, : noisy.draws] if noisy.draws else None
        )

    def probe(self, noisy: NoisySpectra) -> Tensor:
        return self._guess(_seen(noisy) if self.config.conditional else None)(noisy.flux, 1.0)

    def prior(self, count: int, generator: torch.Generator) -> Tensor:
        """Return `count` spectra of no star in particular, relative to their level, shape (count, L)."""
        like = self.sight.mean.expand(count, -1)
        found = self._sampled(self._guess(None), like, generator)
        return self.sight.mean + self.sight.spread * found

    def _draw(self, noisy: NoisySpectra) -> Tensor:
        if self.config.conditional:
            return self._sampled(self._guess(_seen(noisy)), noisy.flux, noisy.generator)
        known = self.sight.known(_seen(noisy))
        noise = torch.where(known.live, known.noise / self.sight.spread, torch.inf)
        guess = guided_guess(self._guess(None), known.residual / self.sight.spread, noise)
        return self._sampled(guess, noisy.flux, noisy.generator)

    def _guess(self, seen: SeenSpectra | None) -> Guess:
        def guess(state: Tensor, time: float) -> Tensor:
            found: Tensor = self.diffuser(Diffused(state, torch.full_like(state[:, :1], time), seen))
            return found

        return guess

    def _sampled(self, guess: Guess, like: Tensor, generator: torch.Generator) -> Tensor:
        times = noise_times(self.config.steps_of_sampler, LEAST, MOST)
        start = MOST * _normal(like, generator)
        if self.config.sampler == "flow":
            return flow(guess, start, times)
        return ancestral(guess, start, times, generator)


class _Basis:
    """Diffusion in the directions of noise-free spectra; its mean takes one pass."""

    def __init__(self, config: DenoiserConfig, pixels: int) -> None:
        self.config = config
        self.restorer = BasisRestorer(config.basis, pixels)
        self.body: nn.Module = self.restorer

    @property
    def about(self) -> str:
        return (
            "A network that guesses the coefficients of a spectrum in the directions of noise-free spectra, at any noise; "
            "samples are of the posterior that these guesses imply, with the Gaussian likelihood of the visible sigma."
        )

    @property
    def sees_truth(self) -> bool:
        return True

    def prepare(self, sample: SpectraBatch) -> None:
        self.restorer.fit(sample.known_truth().flux, sample.flux, sample.sigma)

    def objective(self, masked: float) -> Objective:
        return BasisDiffusion(self.restorer)

    def correct(self, held_out: SpectraBatch) -> None:
        usable, flux, sigma, level = normalise(held_out.flux, held_out.sigma)
        generator = torch.Generator(flux.device).manual_seed(0)
        shown, clean = torch.where(usable, sigma, torch.inf), held_out.known_truth().flux / level
        parts = []
        for first in range(0, len(flux), AT_ONCE):
            rows = slice(first, first + AT_ONCE)
            samples = self.restore(NoisySpectra(flux[rows], shown[rows], 1.0, CORRECTING, generator)).samples
            assert samples is not None
            spread = samples.std(dim=1)
            # The mean of a few samples has an error of its own; where all stars are alike there is nothing to draw.
            off = (samples.mean(dim=1) - clean[rows]).abs() / spread / (1 + 1 / CORRECTING) ** 0.5
            parts.append(torch.where(spread > 1e-3 * spread.amax(), off, torch.nan))
        self.restorer.correct(usable_median(sigma, usable).log(), torch.cat(parts))

    def restore(self, noisy: NoisySpectra) -> Restored:
        space, usable = self.restorer.subspace, usable_pixels(noisy.flux, noisy.sigma)
        found = space.solve(usable, noisy.flux, torch.where(usable, noisy.sigma, 1.0))
        # Summed pixel by pixel: samples are only as right as the likelihood.
        normal = space.exact_normal(found.weight).double()
        h = ((found.weight * (noisy.flux - space.mean)) @ space.basis.T).double()
        level = space.level_features(found)
        one = torch.ones(len(h), 1, dtype=torch.float64, device=h.device)
        mean = self.restorer.spectra(self.restorer(told_by(h, normal, level, one)))
        if not noisy.draws:
            return Restored(mean)
        stars = max(1, STATES // noisy.draws)
        parts = [
            self._samples(h[k : k + stars], normal[k : k + stars], level[k : k + stars], noisy)
            for k in range(0, len(h), stars)
        ]
        level_of_noise = usable_median(torch.where(usable, noisy.sigma, 1.0), usable).log()
        samples = self.restorer.widened(level_of_noise, torch.cat(parts))
        return Restored(mean, _spread(samples), samples)

    def probe(self, noisy: NoisySpectra) -> Tensor:
        return self.restore(noisy).mean

    def _samples(self, h: Tensor, normal: Tensor, level: Tensor, noisy: NoisySpectra) -> Tensor:
        posterior = BasisPosterior(self.restorer, h, normal, level, noisy.draws)
        guess = product_guess(posterior.restore, posterior.observed)
        times = noise_times(self.config.steps_of_sampler, LAST, FIRST)
        start = posterior.observed + FIRST * _normal(posterior.observed, noisy.generator)
        state = flow(guess, start, times[:-1])
        # The last guess is taken as coefficients: where the spectrum says nothing, w says nothing of c.
        variance = 1 / (1 + 1 / times[-2] ** 2)
        told = variance * (posterior.observed + state / times[-2] ** 2)
        coefficients = posterior.coefficients(told, variance**0.5).float()
        found: Tensor = self.restorer.spectra(coefficients).unflatten(0, (-1, noisy.draws))
        return found


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def _spread(samples: Tensor) -> Tensor | None:
    """Return the standard deviation over samples (B, S, L); None of a single one."""
    return samples.std(dim=1) if samples.shape[1] > 1 else None


def _lowered(text: str) -> str:
    return text if text.startswith(("learnt", "foretells")) else f"was {text}"
