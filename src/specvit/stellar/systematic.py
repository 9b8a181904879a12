"""Systematic errors: what statistical ones lack, from stars of known parameters. Owns the numbers and how they are found.

The library is LTE in one dimension, and the "known" parameters have errors too: both are in these numbers.
"""

from __future__ import annotations

import numpy as np

#: Label -> 1 σ, added in quadrature to the statistical error; no star's [α/M] and [C/M] were known. Found by
#: `python tools/measure_real_stars.py` on 2026-11-28; coverage on stars that were left out is in docs/predict.md.
SYSTEMATIC = {"teff": 126.0, "log_g": 0.33, "m_h": 0.15}

#: Share of a normal distribution within 1 σ.
WITHIN_SIGMA = 0.6827


def total_error(label: str, statistical: float) -> float:
    """Return the statistical and the systematic error of a label in quadrature, in its unit."""
    return float(np.hypot(statistical, SYSTEMATIC.get(label, 0.0)))


def missing_error(off: np.ndarray, sigma: np.ndarray) -> float:
    """Return the error that, added in quadrature to `sigma`, puts 68.27 % of the deviations `off` within 1 σ.

    Args:
        off: estimate minus known value, shape (N,).
        sigma: statistical errors, shape (N,).
    """
    # A star is inside once the added variance reaches what its own error lacks.
    lacking = np.sort(np.clip(off**2 - sigma**2, 0.0, None))
    return float(np.sqrt(np.quantile(lacking, WITHIN_SIGMA)))


def left_out_coverage(off: np.ndarray, sigma: np.ndarray) -> float:
    """Return the share of stars within a total error whose systematic part all the other stars gave."""
    inside = [
        abs(off[k]) < np.hypot(sigma[k], missing_error(np.delete(off, k), np.delete(sigma, k)))
        for k in range(len(off))
    ]
    return float(np.mean(inside))
