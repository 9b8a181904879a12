"""A wider range of brightness and noise than a survey has, for training: networks answer only where they have been.

A network trained on a survey's own S/N states errors of that S/N for a brighter star too, and is wrong. Owns which
stars are drawn from outside the survey, and how bright and how noisy they are; labels stay as the prior has them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from specvit.errors import ConfigError
from specvit.instrument import Instrument

#: Name of the condition that multiplies the noise level of a star; spectra without it have a factor of 1.
NOISE_FACTOR = "noise_factor"

#: Step of the table of S/N over magnitude: between its points log S/N is straight to 0.1 %.
MAG_STEP = 0.1


@dataclass(frozen=True)
class Widening:
    """Which S/N, noise levels and magnitudes the stars of a training have beside those of the survey.

    Args:
        share: of the stars that are drawn from the wider ranges; the others are the survey's own.
        snr: (low, high): the magnitude of a star is chosen so that its S/N lies here under default conditions,
            for a spectrum at the level of a flat source.
        noise_factor: (low, high): multiplies the noise level of half of these stars, uniform in the logarithm; the
            other half keeps that of the world.
        mag: (low, high): magnitudes beyond are not drawn, whatever `snr` asks for; None: no limit but the
            instrument's.

    Raises:
        ConfigError: for a share outside 0 to 1 or a range that is not positive and rising.
    """

    share: float = 0.5
    snr: tuple[float, float] = (1.5, 400.0)
    noise_factor: tuple[float, float] = (0.1, 2.0)
    mag: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ConfigError(f"widening: share: expected 0 to 1, got {self.share}")
        for name in ("snr", "noise_factor"):
            low, high = getattr(self, name)
            if not 0 < low <= high < math.inf:
                raise ConfigError(f"widening: {name}: expected 0 < low <= high, got {low:g} to {high:g}")
        if self.mag is not None and not -math.inf < self.mag[0] <= self.mag[1] < math.inf:
            raise ConfigError(f"widening: mag: expected low <= high, got {self.mag[0]:g} to {self.mag[1]:g}")


class WiderConditions:
    """Draws the conditions of a training: those of an instrument, some of them widened.

    Args:
        widening: what to widen.
        instrument: whose magnitudes and noise these are.
        noise_level: of the world; S/N is over it.

    Raises:
        ConfigError: if no magnitude the instrument covers lies in `widening.mag`, or without noise.
    """

    def __init__(self, widening: Widening, instrument: Instrument, noise_level: float) -> None:
        if noise_level == 0:
            raise ConfigError(
                "noise_level: spectra without noise have no S/N to widen; give no widening (specvit train --widened 0)"
            )
        self.widening = widening
        low, high = instrument.conditions.limits["mag"]
        if widening.mag is not None:
            low, high = max(low, widening.mag[0]), min(high, widening.mag[1])
        if low > high:
            raise ConfigError(
                f"widening: mag: {widening.mag} is not among the magnitudes {instrument.name} covers"
            )
        self._mag = np.linspace(low, high, 1 + max(1, math.ceil((high - low) / MAG_STEP)))
        self._log_snr = np.log(flat_snr(instrument, self._mag) / noise_level)

    def widened(self, conditions: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Return the conditions of B stars, those of some replaced, and `NOISE_FACTOR` added.

        Args:
            conditions: name -> shape (B,), float32, on the CPU.
            generator: draws four numbers a star, whatever the ranges are.
        """
        count, wide = len(conditions["mag"]), self.widening
        chosen, noisier, factor_at, mag_at = torch.rand(4, count, generator=generator).double().numpy()
        is_wide = chosen < wide.share
        log_low, log_high = np.log(wide.noise_factor)
        factor = np.where(is_wide & (noisier < 0.5), np.exp(log_low + (log_high - log_low) * factor_at), 1.0)
        # S/N falls with the magnitude: the faint end of a star's range is that of the lowest S/N.
        faint, bright = (self._mag_of(math.log(snr) + np.log(factor)) for snr in wide.snr)
        mag = np.where(is_wide, bright + (faint - bright) * mag_at, conditions["mag"].double().numpy())
        return {
            **conditions,
            "mag": torch.from_numpy(mag).float(),
            NOISE_FACTOR: torch.from_numpy(factor).float(),
        }

    def _mag_of(self, log_snr: np.ndarray) -> np.ndarray:
        # np.interp wants rising abscissae; beyond the table it stays at its ends.
        mag: np.ndarray = np.interp(log_snr, self._log_snr[::-1], self._mag[::-1])
        return mag


def flat_snr(instrument: Instrument, mag: np.ndarray) -> np.ndarray:
    """Return the median S/N of the pipeline's continuum at magnitudes (K,) under default conditions, shape (K,)."""
    conditions = instrument.fixed_conditions(len(mag), mag=np.asarray(mag, dtype=np.float64))
    level = torch.ones(len(mag), dtype=torch.float64)
    sigma = instrument.pipeline_sigma(level, conditions)
    live = torch.from_numpy(instrument.live)
    snr: np.ndarray = (instrument.continuum.double() / sigma)[:, live].median(dim=1).values.numpy()
    return snr
