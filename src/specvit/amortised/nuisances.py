"""What real spectra have and templates have not: how it is drawn in a training. Owns the sizes of all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from specvit.errors import ConfigError

#: S/N per pixel of training spectra: from and to.
SNR = (4.0, 400.0)
#: km/s: spread of most stars, and the largest |v| of the others, a tenth.
VELOCITY_SPREAD, VELOCITY_REACH, FAST = 80.0, 600.0, 0.1
#: km/s between the telescope's frame and that of the file.
EARTH = 15.0
#: Lengths (Å) and largest amplitude of waves in the continuum, and how many a spectrum has.
WAVE_LENGTHS, WAVE_SIZE, WAVES = (60.0, 400.0), 0.015, 4
#: Slopes of the spectrum over its range that a flux calibration may leave: 1 σ of ln flux.
TILT = 0.3
#: Mean number of dead stretches, their longest share of the pixels; share of pixels with much more noise than others.
STRETCHES, STRETCH, SPIKES = 2.0, 0.02, 0.03


@dataclass(frozen=True)
class Nuisances:
    """Which of them training spectra have; all, unless it is to be known what one is worth.

    Args:
        velocity: what the quick velocity leaves of it; without it, spectra are exactly in the rest frame.
        width: a line-spread function wider or narrower than stated.
        continuum: waves and slopes. Without it, spectra are not divided by a continuum either.
        masks: windows of the air, dead pixels.
        model_error: noise of the size of what the library gets wrong.
    """

    velocity: bool = True
    width: bool = True
    continuum: bool = True
    masks: bool = True
    model_error: bool = True

    def without(self, name: str) -> Nuisances:
        """Return the others; ConfigError lists the known names."""
        names = [each.name for each in fields(self)]
        if name not in names:
            raise ConfigError(f"nuisance: '{name}' is not known; choose one of {', '.join(names)}")
        return Nuisances(**{**self.to_dict(), name: False})

    def to_dict(self) -> Mapping[str, Any]:
        """Return which there are, by name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}
