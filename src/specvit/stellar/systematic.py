"""Systematic errors: what statistical ones lack, from stars of known parameters. Owns the numbers and how they are found.

The library is LTE in one dimension, and the "known" parameters have errors too: both are in these numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

#: Label -> 1 σ, added in quadrature to the statistical error; no star's [α/M] and [C/M] were known. Found by
#: `python tools/measure_real_stars.py` on 2026-11-28; coverage on stars that were left out is in docs/predict.md.
SYSTEMATIC = {"teff": 126.0, "log_g": 0.33, "m_h": 0.15}

#: Share of a normal distribution within 1 σ.
WITHIN_SIGMA = 0.6827


#: Said of other libraries, whose systematic errors nobody has measured.
UNMEASURED = (
    "systematic errors are those found for the built-in library: of this library they are not known; "
    "stars of known parameters tell (specvit calibrate-stars)"
)


def within_priors(
    systematic: Mapping[str, float],
    statistical: Mapping[str, float],
    priors: Mapping[str, tuple[float, float]],
) -> dict[str, float]:
    """Return systematic errors by label, none larger than leaves a total error of what was known beforehand.

    Args:
        systematic: label -> 1 sigma of all stars.
        statistical: label -> 1 sigma of this one.
        priors: label -> mean and sigma of what is known of it.
    """
    found = dict(systematic)
    for label in set(found) & set(priors):
        room = priors[label][1] ** 2 - statistical[label] ** 2
        found[label] = min(found[label], float(np.sqrt(max(room, 0.0))))
    return found


def missing_error(off: np.ndarray, sigma: np.ndarray) -> float:
    """Return the error that, added in quadrature to `sigma`, puts 68.27 % of the deviations `off` within 1 σ.

    Args:
        off: estimate minus known value, shape (N,).
        sigma: statistical errors, shape (N,).
    """
    # A star is inside once the added variance reaches what its own error lacks.
    lacking = np.sort(np.clip(off**2 - sigma**2, 0.0, None))
    return float(np.sqrt(np.quantile(lacking, WITHIN_SIGMA)))


def left_out_pulls(off: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Return deviations (N,) in units of total errors whose systematic part all the other stars gave, shape (N,)."""
    others = [missing_error(np.delete(off, k), np.delete(sigma, k)) for k in range(len(off))]
    pulls: np.ndarray = off / np.hypot(sigma, others)
    return pulls
