"""The exact likelihood of the simulated world, pixel by pixel, for many labels of many stars.

Owns the Gaussian likelihood with a variance that depends on the labels (the star's own photon noise, hence the
log-determinant) and the treatment of the unknown amplitude. Draws nothing from priors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from specvit.errors import ConfigError, DataError, ShapeError
from specvit.instrument import Instrument, ObservedEmulator
from specvit.spectra import SpectraBatch

#: Variance of a dead pixel, in flux² where the median flux is 1: it carries no information.
DEAD_VARIANCE = 1e20

#: Relative deviation of the variance from a straight line in the flux that counts as rounding.
AFFINE_TOLERANCE = 1e-4

#: Elements of one working array. On a CPU a handful of them stays in a core's cache.
CPU_ELEMENTS, DEVICE_ELEMENTS = 1 << 20, 1 << 27


@dataclass(frozen=True)
class Observation:
    """Spectra and what is known of their noise: var(x) = base + gain · x for noise-free flux x.

    Args:
        flux: observed flux, shape (B, L), in any unit per star.
        base: variance of everything but the star, shape (B, L), flux².
        gain: variance per unit of the star's flux (its photon noise), shape (B, L), flux.
        scale: flux = band-normalised flux of the instrument · scale, shape (B,): the true amplitude, used only
            when the amplitude is taken as known and to start the others.
    """

    flux: Tensor
    base: Tensor
    gain: Tensor
    scale: Tensor

    def __post_init__(self) -> None:
        shape = self.flux.shape
        if len(shape) != 2 or self.base.shape != shape or self.gain.shape != shape:
            raise ShapeError(
                f"observation: flux, base and gain must share one shape (B, L); got {tuple(shape)}, "
                f"{tuple(self.base.shape)} and {tuple(self.gain.shape)}"
            )
        if self.scale.shape != shape[:1]:
            raise ShapeError(
                f"observation: scale must have shape ({shape[0]},), got {tuple(self.scale.shape)}"
            )

    def __len__(self) -> int:
        return self.flux.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> Observation:
        """Return the selected stars."""
        return Observation(self.flux[rows], self.base[rows], self.gain[rows], self.scale[rows])

    @property
    def weight(self) -> Tensor:
        """Working inverse variance, shape (B, L): that of a star of flux `scale` in every pixel."""
        return 1 / (self.base + self.gain * self.scale[:, None])

    @classmethod
    def from_noise_model(
        cls,
        flux: Tensor,
        scale: Tensor,
        conditions: Mapping[str, Tensor],
        instrument: Instrument,
        noise_level: float = 1.0,
        dead: Tensor | None = None,
    ) -> Observation:
        """Return the observation of `flux` under known observing conditions.

        The conditions and `scale` set the noise level only. A pipeline's sigma tells the same: it is a function
        of both.

        Args:
            flux: observed flux, shape (B, L).
            scale: flux over band-normalised flux, shape (B,); `Truth.scale`.
            conditions: name -> shape (B,).
            instrument: whose noise it is.
            noise_level: multiplies sigma.
            dead: boolean, shape (B, L): pixels to ignore.

        Raises:
            ConfigError: if `noise_level` is not positive: without noise there is no posterior.
            DataError: if the instrument's variance is not a straight line in the flux.
        """
        if not noise_level > 0:
            raise ConfigError(f"noise_level: a posterior needs noise, expected > 0, got {noise_level}")
        variance = [
            (instrument.noise_sigma(torch.full_like(flux, level), conditions) * noise_level).square()
            for level in (0.0, 1.0, 2.0)
        ]
        base, gain = variance[0], variance[1] - variance[0]
        bent = (variance[2] - base - 2 * gain).abs() / variance[2]
        if bool((bent > AFFINE_TOLERANCE).any()):
            raise DataError(
                f"{instrument.name}: the variance is not a straight line in the flux (off by {bent.max():.1e}); "
                "the Bayes ceiling needs photon noise plus a flux-independent part"
            )
        base, gain = base * scale[:, None].square(), gain * scale[:, None]
        if dead is not None:
            base, gain = base.masked_fill(dead, DEAD_VARIANCE), gain.masked_fill(dead, 0.0)
            flux = flux.masked_fill(dead, 0.0)
        return cls(flux, base, gain, scale)

    @classmethod
    def from_batch(cls, batch: SpectraBatch, instrument: Instrument, noise_level: float = 1.0) -> Observation:
        """Return the observation of a simulated batch; dead pixels (`sigma = inf`) are ignored.

        Raises:
            DataError: if the batch was drawn without truth: the flux scale is missing.
        """
        if batch.truth is None:
            raise DataError(
                "observation: this batch has no truth, so its flux scale is unknown; draw it with truth"
            )
        dead = torch.isinf(batch.sigma)
        return cls.from_noise_model(
            batch.flux, batch.truth.scale, batch.conditions, instrument, noise_level, dead
        )

    @classmethod
    def from_pipeline(cls, flux: Tensor, sigma: Tensor) -> Observation:
        """Return the observation as a pipeline states it: variance sigma² whatever the star, amplitude near 1.

        Not the exact likelihood (the star's own photon noise is that of a smooth continuum), but all that an
        estimator has. Pixels with `sigma = inf` are ignored.

        Args:
            flux: observed flux relative to its own median, shape (B, L).
            sigma: 1 σ per pixel, shape (B, L).
        """
        dead = torch.isinf(sigma)
        base = sigma.square().masked_fill(dead, DEAD_VARIANCE)
        return cls(flux.masked_fill(dead, 0.0), base, torch.zeros_like(base), torch.ones_like(flux[:, 0]))


def log_likelihood(
    observed: ObservedEmulator,
    observation: Observation,
    labels: Tensor,
    amplitude_normal: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return ln p(y | labels) per sample and the amplitude used, each of shape (B, S), float64.

    y = A f + noise of variance base + gain A f, so

        ln p = -1/2 Σ [(y - A f)² / (base + gain A f) + ln(base + gain A f)].

    Args:
        observed: noise-free spectra f.
        observation: B stars.
        labels: shape (B, S, P), inside the emulator's domain.
        amplitude_normal: standard normal, shape (B, S), or None. None: A = scale is known. Otherwise A is a
            nuisance with a flat prior in ln A: it is drawn from the Gaussian q(A | labels) of generalised least
            squares with the working weights, and the value returned is ln[p(y | labels, A) / (A q(A | labels))],
            an unbiased estimate of the marginal likelihood: importance sampling in (labels, A) stays exact.
    """
    stars, samples = labels.shape[:2]
    result = torch.empty(stars, samples, dtype=torch.float64, device=labels.device)
    amplitude = observation.scale.double()[:, None].expand(stars, samples).clone()
    pixels = observation.flux.shape[1]
    elements = CPU_ELEMENTS if labels.device.type == "cpu" else DEVICE_ELEMENTS
    rows = max(1, elements // pixels)
    per_star = min(samples, rows)
    together = max(1, rows // per_star)
    for first in range(0, stars, together):
        part = slice(first, first + together)
        star = observation[part]
        for start in range(0, samples, per_star):
            block = slice(start, start + per_star)
            normal = None if amplitude_normal is None else amplitude_normal[part, block]
            value, used = _block(observed, star, labels[part, block], normal)
            result[part, block], amplitude[part, block] = value, used
    return result, amplitude


def _block(
    observed: ObservedEmulator, star: Observation, labels: Tensor, normal: Tensor | None
) -> tuple[Tensor, Tensor]:
    shape = labels.shape[:2]
    dtype = star.flux.dtype
    flux = observed(labels.flatten(0, 1).to(dtype), check=False).view(*shape, -1)
    if normal is None:
        amplitude = star.scale[:, None].expand(shape).double()
        log_proposal = torch.zeros((), dtype=torch.float64, device=flux.device)
    else:
        weight = star.weight
        cross = (flux @ (weight * star.flux)[..., None])[..., 0].double()
        square = (flux.square() @ weight[..., None])[..., 0].double()
        error = square.rsqrt()
        amplitude = (cross / square + error * normal).clamp(min=1e-6)
        log_proposal = -0.5 * normal.square() - 0.5 * math.log(2 * math.pi) - error.log() + amplitude.log()
    model = flux.mul_(amplitude.to(dtype)[..., None])
    variance = torch.addcmul(star.base[:, None], star.gain[:, None], model)
    residual = model.sub_(star.flux[:, None]).square_().div_(variance)
    # ln(var / working var): sums of small numbers keep their float32 digits.
    relative = variance.mul_(star.weight[:, None]).log_()
    value = -0.5 * (residual.sum(-1).double() + relative.sum(-1).double())
    return value - log_proposal, amplitude
