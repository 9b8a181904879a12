"""What is recorded of a clean spectrum: noise, normalisation, and the sigma an estimator may see.

The arithmetic of the simulator, in place and in as few passes over the pixels as it takes; for a tile on a
CPU and for thousands of spectra on an accelerator alike. Knows no stars, no instrument and no seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from specvit.errors import ConfigError
from specvit.instrument import NoiseTerms
from specvit.numerics import row_median
from specvit.spectra import Truth

Normalisation = Literal["observed_median", "noise_free_median"]
VisibleSigma = Literal["pipeline", "true"]

#: A pipeline knows the magnitude from photometry, so the continuum level it assumes cannot collapse: it is at
#: least this share of the flat-AB level, even where noise makes the observed median tiny (SNR << 1).
MINIMUM_LEVEL = 0.1


@dataclass(frozen=True)
class Records:
    """Where an observation is written: flux and sigma (B, L), snr (B,), and truth if it is wanted."""

    flux: Tensor
    sigma: Tensor
    snr: Tensor
    truth: Truth | None

    @classmethod
    def empty(cls, shape: tuple[int, int], truth: bool, new: Callable[[tuple[int, ...]], Tensor]) -> Records:
        """Return uninitialised records for flux of `shape` (B, L), made by `new`."""
        known_only_here = Truth(new(shape), new(shape), new(shape[:1])) if truth else None
        return cls(new(shape), new(shape), new(shape[:1]), known_only_here)

    def __getitem__(self, rows: slice) -> Records:
        """Return the selected rows."""
        truth = self.truth
        if truth is not None:
            truth = Truth(truth.flux[rows], truth.sigma[rows], truth.scale[rows])
        return Records(self.flux[rows], self.sigma[rows], self.snr[rows], truth)


@dataclass(frozen=True)
class Observer:
    """The conventions of a simulated survey; the options are those of `Simulator`.

    Raises:
        ConfigError: for an unknown option or a negative noise level.
    """

    noise_level: float
    normalisation: Normalisation
    visible_sigma: VisibleSigma

    def __post_init__(self) -> None:
        if not 0 <= self.noise_level < math.inf:
            raise ConfigError(f"noise_level: expected a finite number >= 0, got {self.noise_level}")
        if self.normalisation not in ("observed_median", "noise_free_median"):
            raise ConfigError(
                f"normalisation: '{self.normalisation}' is not known; "
                "choose observed_median or noise_free_median"
            )
        if self.visible_sigma not in ("pipeline", "true"):
            raise ConfigError(f"visible_sigma: '{self.visible_sigma}' is not known; choose pipeline or true")

    def record(
        self,
        flux: Tensor,
        terms: NoiseTerms,
        continuum: Tensor,
        noise: Tensor,
        seen: Records,
        factor: Tensor | None = None,
    ) -> None:
        """Write into `seen` what is observed of clean flux (B, L).

        Args:
            flux: noise-free, band-normalised, shape (B, L).
            terms: the noise as a function of flux.
            continuum: the pipeline's, median over pixels 1, shape (L,).
            noise: standard normal, shape (B, L); overwritten.
            seen: overwritten.
            factor: multiplies the noise level of each spectrum, shape (B,); None: 1 for all.
        """
        level = self.noise_level if factor is None else (self.noise_level * factor)[:, None]
        sigma = _sigma(flux, terms, level, seen.sigma)
        torch.addcmul(flux, noise, sigma, out=seen.flux)
        ratio = torch.div(flux, sigma, out=noise)
        seen.snr.copy_(row_median(ratio, ratio))
        known = row_median(seen.flux, noise).clamp_(min=MINIMUM_LEVEL)
        scale = 1 / (known if self.normalisation == "observed_median" else row_median(flux, noise))
        column = scale[:, None]
        seen.flux.mul_(column)
        if seen.truth is not None:
            torch.mul(flux, column, out=seen.truth.flux)
            torch.mul(sigma, column, out=seen.truth.sigma)
            seen.truth.scale.copy_(scale)
        if self.visible_sigma == "pipeline":
            # A smooth continuum, never the star's own flux: sigma would be a noise-free copy of the spectrum.
            assumed = torch.mul(known[:, None], continuum, out=seen.sigma)
            _sigma(assumed, terms, level, seen.sigma)
        seen.sigma.mul_(column)


def _sigma(flux: Tensor, terms: NoiseTerms, level: float | Tensor, out: Tensor) -> Tensor:
    """Return level · σ(flux) in `out`."""
    sigma = terms.sigma(flux, out)
    # The usual level saves a pass over the pixels.
    return sigma if isinstance(level, float) and level == 1 else sigma.mul_(level)
