"""Magnitudes on the command line: one, a list, or a range."""

from __future__ import annotations

import math

from specvit.errors import ConfigError

MOST = 1000


def parse_magnitudes(text: str) -> list[float]:
    """Return the magnitudes of `20`, `18,20,22` or `18:23` / `18:23:0.5` (step 1, ends included).

    Raises:
        ConfigError: if the text is not of that form or names more than 1000 magnitudes.
    """
    try:
        if ":" not in text:
            return [_finite(part) for part in text.split(",")]
        parts = [_finite(part) for part in text.split(":")]
        first, last, step = (*parts, 1.0) if len(parts) == 2 else parts
    except ValueError:
        raise ConfigError(
            f"--mag {text}: expected numbers, e.g. 20 or 18,20,22 or 18:23 or 18:23:0.5"
        ) from None
    if not (step > 0 and first <= last and (last - first) / step < MOST):
        raise ConfigError(f"--mag {text}: expected FIRST <= LAST, a positive step, at most {MOST} magnitudes")
    # Multiples, as sums collect rounding; and a last step of 0.1 must not be lost to it.
    return [first + step * k for k in range(int((last - first) / step + 1e-9) + 1)]


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value
