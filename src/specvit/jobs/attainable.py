"""The smallest attainable error of each test spectrum, as estimators are measured against it.

Reads the `ceiling` arrays of a run; computes no ceiling.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Values = np.ndarray


@dataclass(frozen=True)
class Attainable:
    """What any estimator could attain on N test spectra.

    Args:
        variance: smallest mean squared error of the target per spectrum, shape (N,); NaN where unknown.
        mean: the estimate that attains it, shape (N,), NaN where unknown; None if there is none.
    """

    variance: Values
    mean: Values | None = None

    @property
    def exact(self) -> bool:
        """Whether this is the exact posterior's variance, which no estimator can go below."""
        return self.mean is not None

    @property
    def known(self) -> Values:
        """Where the variance is known, shape (N,)."""
        return np.isfinite(self.variance)


def attainable(arrays: dict[str, Values], count: int, variance: float) -> Attainable:
    """Return the exact posterior's variance where the run has one, else `shrunken`.

    Args:
        arrays: `ceiling` of `specvit.runs.results`.
        count: number N of test spectra.
        variance: of the target under the prior.
    """
    if "bayes_var" not in arrays:
        return shrunken(arrays, count, variance)
    rows = arrays["rows"][: len(arrays["bayes_var"])]
    return Attainable(_at(rows, arrays["bayes_var"], count), _at(rows, arrays["bayes_mean"], count))


def shrunken(arrays: dict[str, Values], count: int, variance: float) -> Attainable:
    """Return V·CRLB / (V + CRLB), the posterior's variance if prior and likelihood were Gaussian."""
    return Attainable(_at(arrays["rows"], 1 / (1 / variance + 1 / arrays["crlb_5"]), count))


def most_widely(arrays: dict[str, Values], count: int, variance: float, enough: int) -> Attainable:
    """Return the exact variance if `enough` spectra, or all that have any, have it; else `shrunken`."""
    found = attainable(arrays, count, variance)
    if found.known.sum() >= min(enough, len(arrays["rows"])):
        return found
    return shrunken(arrays, count, variance)


def _at(rows: Values, values: Values, count: int) -> Values:
    """Return `values` at `rows` of `count` spectra, NaN elsewhere."""
    spread = np.full(count, np.nan)
    spread[rows] = values
    return spread
