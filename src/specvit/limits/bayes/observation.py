"""Spectra and their noise as the likelihood needs them. Owns no model spectra."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from specvit.errors import ConfigError, DataError, ShapeError
from specvit.instrument import Instrument
from specvit.simulate import NOISE_FACTOR
from specvit.spectra import SpectraBatch

#: Variance of a dead pixel, in flux² where the median flux is 1: it carries no information.
DEAD_VARIANCE = 1e20


@dataclass(frozen=True)
class Observation:
    """Spectra and what is known of their noise: var(x) = base + gain · x for noise-free flux x.

    Args:
        flux: observed flux, shape (B, L), in any unit per star.
        base: variance of everything but the star, shape (B, L), flux².
        gain: variance per unit of the star's flux (its photon noise), shape (B, L), flux.
        scale: flux = band-normalised flux of the instrument · scale, shape (B,): the true amplitude if that
            is taken as known; otherwise it only sets the working weights.
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

        Conditions and `scale` set the noise level only. A pipeline's sigma says the same: it is a function
        of both.

        Args:
            flux: observed flux, shape (B, L).
            scale: flux over band-normalised flux, shape (B,); `Truth.scale`.
            conditions: name -> shape (B,); `NOISE_FACTOR`, where it is, multiplies the noise level.
            instrument: whose noise it is.
            noise_level: multiplies sigma.
            dead: boolean, shape (B, L): pixels to ignore.

        Raises:
            ConfigError: if `noise_level` is not positive: without noise there is no posterior.
        """
        if not noise_level > 0:
            raise ConfigError(f"noise_level: a posterior needs noise, expected > 0, got {noise_level}")
        terms = instrument.noise_terms(conditions, flux.dtype)
        level = (noise_level * conditions.get(NOISE_FACTOR, torch.ones_like(scale))).square()[
            :, None
        ] * scale[:, None]
        base, gain = level * scale[:, None] * terms.variance / terms.response.square(), level / terms.response
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
        """Return the observation as a pipeline states it: variance sigma² whatever the star.

        Not the exact likelihood (the star's own photon noise is that of a smooth continuum), but all that an
        estimator has. Pixels with `sigma = inf` are ignored.

        Args:
            flux: observed flux relative to its own median, shape (B, L).
            sigma: 1 σ per pixel, shape (B, L).
        """
        dead = torch.isinf(sigma)
        base = sigma.square().masked_fill(dead, DEAD_VARIANCE)
        # gain = 0: a pipeline's sigma is one number per pixel, with what it knows of photon noise in it.
        return cls(flux.masked_fill(dead, 0.0), base, torch.zeros_like(base), torch.ones_like(flux[:, 0]))
