"""What is recorded of a clean spectrum: noise, normalisation, and the sigma an estimator may see.

The arithmetic of the simulator, in place and in as few passes over the pixels as it takes; for a tile on a
CPU and for thousands of spectra on an accelerator alike. Knows no stars, no instrument and no seeds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from specvit.errors import ConfigError
from specvit.instrument import NoiseTerms
from specvit.numerics import row_median, to_device
from specvit.spectra import Truth

Normalisation = Literal["observed_median", "noise_free_median"]
VisibleSigma = Literal["pipeline", "tilted", "true"]

#: A pipeline knows the magnitude from photometry, so the continuum level it assumes cannot collapse: it is at
#: least this share of the flat-AB level, even where noise makes the observed median tiny (SNR << 1).
MINIMUM_LEVEL = 0.1

#: What is read off the observed flux for a "tilted" sigma: the slope of a line through the medians of this many parts
#: of the spectrum, over the pipeline's continuum. One number: from a running mean, even over a quarter of the pixels,
#: sigma alone tells log g of a bright star (docs/instrument.md).
PARTS = 16
#: From the middle to an end. The coolest stars reach 0.32; noise of the faintest must not turn the line over.
STEEPEST = 0.5


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
        if self.visible_sigma not in get_args(VisibleSigma):
            raise ConfigError(
                f"visible_sigma: '{self.visible_sigma}' is not known; choose pipeline, tilted or true"
            )

    def record(
        self,
        flux: Tensor,
        terms: NoiseTerms,
        continuum: Tensor,
        noise: Tensor,
        seen: Records,
        factor: Tensor | None = None,
        live: Tensor | None = None,
    ) -> None:
        """Write into `seen` what is observed of clean flux (B, L).

        A dead pixel has flux 0 and sigma infinity; level, S/N and slope are those of the others.

        Args:
            flux: noise-free, band-normalised, shape (B, L).
            terms: the noise as a function of flux.
            continuum: the pipeline's, median over pixels 1, shape (L,).
            noise: standard normal, shape (B, L); overwritten.
            seen: overwritten.
            factor: multiplies the noise level of each spectrum, shape (B,); None: 1 for all.
            live: numbers of the pixels that are not dead; None: all.
        """
        if live is not None:
            alone = Records.empty((len(flux), len(live)), seen.truth is not None, flux.new_empty)
            alive = NoiseTerms(terms.response[:, live], terms.variance[:, live])
            self.record(flux[:, live], alive, continuum[live], noise[:, live], alone, factor)
            _put(alone, seen, flux, live)
            return
        level = self.noise_level if factor is None else (self.noise_level * factor)[:, None]
        sigma = _sigma(flux, terms, level, seen.sigma)
        torch.addcmul(flux, noise, sigma, out=seen.flux)
        ratio = torch.div(flux, sigma, out=noise)
        seen.snr.copy_(row_median(ratio, ratio))
        known = row_median(seen.flux, noise).clamp_(min=MINIMUM_LEVEL)
        slope = observed_slope(seen.flux, continuum, known) if self.visible_sigma == "tilted" else None
        scale = 1 / (known if self.normalisation == "observed_median" else row_median(flux, noise))
        column = scale[:, None]
        seen.flux.mul_(column)
        if seen.truth is not None:
            torch.mul(flux, column, out=seen.truth.flux)
            torch.mul(sigma, column, out=seen.truth.sigma)
            seen.truth.scale.copy_(scale)
        if self.visible_sigma != "true":
            # A smooth continuum, never the star's own flux: sigma would be a noise-free copy of the spectrum.
            assumed = torch.mul(known[:, None], continuum, out=seen.sigma)
            if slope is not None:
                position = torch.linspace(
                    -1, 1, continuum.numel(), dtype=assumed.dtype, device=assumed.device
                )
                assumed.mul_(1 + slope[:, None] * position)
            _sigma(assumed, terms, level, seen.sigma)
        seen.sigma.mul_(column)


def _put(alone: Records, seen: Records, flux: Tensor, live: Tensor) -> None:
    """Write into `seen` the records of its pixels `live` alone, and that the others are dead."""
    seen.flux.zero_()[:, live] = alone.flux
    seen.sigma.fill_(torch.inf)[:, live] = alone.sigma
    seen.snr.copy_(alone.snr)
    if seen.truth is not None and alone.truth is not None:
        # Without noise a dead pixel would show what the others do.
        torch.mul(flux, alone.truth.scale[:, None], out=seen.truth.flux)
        seen.truth.sigma.fill_(torch.inf)[:, live] = alone.truth.sigma
        seen.truth.scale.copy_(alone.truth.scale)


def _sigma(flux: Tensor, terms: NoiseTerms, level: float | Tensor, out: Tensor) -> Tensor:
    """Return level · σ(flux) in `out`."""
    sigma = terms.sigma(flux, out)
    # The usual level saves a pass over the pixels.
    return sigma if isinstance(level, float) and level == 1 else sigma.mul_(level)


def observed_slope(flux: Tensor, continuum: Tensor, known: Tensor) -> Tensor:
    """Return by how much the observed flux rises over the continuum from the middle to the last pixel, shape (B,).

    Relative to the level: that of a least-squares line through the medians of `PARTS` parts of flux / continuum.

    Args:
        flux: observed, with noise, shape (B, L).
        continuum: shape (L,).
        known: the level of each spectrum, shape (B,).
    """
    bounds, per_part = parts_of(continuum.numel())
    over = flux / continuum
    # Of a part with dead pixels only nothing is known.
    medians = [row_median(over[:, low:high]) for low, high in itertools.pairwise(bounds)]
    weights = to_device(torch.from_numpy(per_part).to(flux.dtype), flux.device)
    rises = (torch.stack(medians, dim=1) * weights).sum(dim=1) / known
    return torch.nan_to_num(rises, 0.0, 0.0, 0.0).clamp_(-STEEPEST, STEEPEST)


@lru_cache
def parts_of(pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of the parts of a spectrum, int32, and the weights that turn their medians into a slope.

    The slope is per unit of a position that goes from -1 at the first pixel to 1 at the last; weights are float32.
    """
    count = min(PARTS, pixels)
    bounds = np.arange(count + 1) * pixels // count
    position = (bounds[:-1] + bounds[1:] - 1) / max(pixels - 1, 1) - 1
    position -= position.mean()
    # One pixel has no slope.
    return bounds.astype(np.int32), (position / max(np.square(position).sum(), 1e-30)).astype(np.float32)
