"""Observing conditions: which there are, how they are drawn, and which values can be meant.

Knows nothing of what the conditions do to a spectrum (`noise`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from specvit.errors import ConfigError, DataError, ShapeError
from specvit.instrument.schema import ConditionsSection, Range

#: name -> unit, smallest and largest value that the formulas of `noise` are meant for. Tables over seeing,
#: field angle or moon phase narrow these to their own range.
CONDITIONS: dict[str, tuple[str, float, float]] = {
    "mag": ("AB mag", -5.0, 40.0),
    "seeing": ("arcsec FWHM", 0.0, 10.0),
    "zenith_angle": ("deg", 0.0, 60.0),
    "field_angle": ("deg", 0.0, 90.0),
    "moon": ("lunar phase, 0 = dark", 0.0, 1.0),
    "exposure_time": ("s", 1e-3, 1e6),
    "exposure_count": ("exposures", 1.0, 1e6),
}


@dataclass(frozen=True)
class ObservingConditions:
    """The conditions of one instrument.

    Args:
        ranges: name -> (low, high), drawn uniformly; low = high is a fixed value.
        defaults: name -> the value used when a condition is neither drawn nor given.
        limits: name -> (smallest, largest) value the instrument's tables cover.
    """

    ranges: dict[str, tuple[float, float]]
    defaults: dict[str, float]
    limits: dict[str, tuple[float, float]]

    @classmethod
    def from_section(
        cls, section: ConditionsSection, covered: Mapping[str, tuple[float, float]], where: str
    ) -> ObservingConditions:
        """Return the conditions of an instrument file whose tables cover `covered`.

        Raises:
            ConfigError: if the file draws a condition from beyond its tables; names file and key.
        """
        ranges: dict[str, tuple[float, float]] = {}
        defaults: dict[str, float] = {}
        limits: dict[str, tuple[float, float]] = {}
        for name, (unit, lowest, highest) in CONDITIONS.items():
            value: float | Range = getattr(section, name)
            if isinstance(value, Range):
                ranges[name], defaults[name] = (value.low, value.high), value.centre
            else:
                ranges[name], defaults[name] = (value, value), value
            low, high = covered.get(name, (lowest, highest))
            limits[name] = (max(low, lowest), min(high, highest))
            lowest, highest = _with_slack(limits[name])
            if not lowest <= ranges[name][0] <= ranges[name][1] <= highest:
                raise ConfigError(
                    f"{where}: conditions.{name} = {_span(ranges[name])} {unit} is not inside "
                    f"{_span(limits[name])}, which this instrument covers"
                )
        return cls(ranges, defaults, limits)

    def sample(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `count` independent draws, name -> shape (count,), float32, on the generator's device."""
        device = generator.device
        # A number for every condition, fixed ones too: freeing one later leaves the draws of the others as
        # they are.
        uniform = torch.rand(count, len(CONDITIONS), generator=generator, device=device)
        drawn = {}
        for column, (name, (low, high)) in enumerate(self.ranges.items()):
            # float32 rounding may exceed `high` by one unit in the last place.
            drawn[name] = (low + (high - low) * uniform[:, column]).clamp_(low, high)
        return drawn

    def fixed(self, count: int, overrides: Mapping[str, float | Tensor | np.ndarray]) -> dict[str, Tensor]:
        """Return the defaults with `overrides` (a number, or one value per spectrum), each shape (count,)."""
        unknown = sorted(set(overrides) - set(CONDITIONS))
        if unknown:
            raise ConfigError(f"unknown condition '{unknown[0]}'; known are {', '.join(CONDITIONS)}")
        values = {}
        for name in CONDITIONS:
            value = torch.as_tensor(overrides.get(name, self.defaults[name]))
            value = value if value.is_floating_point() and value.ndim else value.to(torch.float32)
            if value.ndim and value.shape != (count,):
                raise ShapeError(f"{name}: expected a number or shape ({count},), got {tuple(value.shape)}")
            values[name] = value.expand(count).clone()
        self.check(values)
        return values

    def check(self, conditions: Mapping[str, Tensor]) -> None:
        """Raise if a condition is missing, unknown, or outside what the instrument covers.

        Raises:
            ConfigError: for a missing or unknown name.
            DataError: for a value that is not finite or out of range; names the condition, value and limits.
        """
        if set(conditions) != set(CONDITIONS):
            wrong = ", ".join(sorted(set(conditions) ^ set(CONDITIONS)))
            raise ConfigError(f"conditions: expected {', '.join(CONDITIONS)}; missing or unknown: {wrong}")
        for name, (low, high) in self.limits.items():
            value = conditions[name]
            lowest, highest = _with_slack((low, high))
            bad = ~((value >= lowest) & (value <= highest))
            if bool(bad.any()):
                first, unit = int(bad.int().argmax()), CONDITIONS[name][0]
                raise DataError(
                    f"{name} = {float(value[first]):g} {unit} (spectrum {first}) "
                    f"lies outside {_span((low, high))}, which this instrument covers"
                )


def _with_slack(bounds: tuple[float, float]) -> tuple[float, float]:
    """Return the bounds widened by the rounding of float32, in which tables and draws are kept."""
    low, high = bounds
    return low - 1e-6 * abs(low), high + 1e-6 * abs(high)


def _span(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:g} to {bounds[1]:g}" if bounds[0] != bounds[1] else f"{bounds[0]:g}"
