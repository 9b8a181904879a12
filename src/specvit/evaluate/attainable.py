"""The smallest attainable error of each test spectrum, as estimators are measured against it.

Reads the bounds and posteriors of a run; computes neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from specvit.runs import Posteriors, StarBounds

Values = np.ndarray


@dataclass(frozen=True)
class Attainable:
    """What any estimator could attain of one label on N test spectra.

    Args:
        variance: smallest mean squared error per spectrum, shape (N,); NaN where unknown.
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
        known: Values = np.isfinite(self.variance)
        return known


def exact_limit(posteriors: Posteriors, label: str, count: int) -> Attainable:
    """Return the exact posterior's mean and variance of a label, on `count` spectra."""
    mean, variance = posteriors.of("mean", label), posteriors.of("variance", label)
    return Attainable(_at(posteriors.rows, variance, count), _at(posteriors.rows, mean, count))


def gaussian_limit(bounds: StarBounds, label: str, count: int, variance: float) -> Attainable:
    """Return V·CRLB / (V + CRLB), the posterior's variance if prior and likelihood were Gaussian.

    Args:
        bounds: of all labels free.
        label: which.
        count: number N of test spectra.
        variance: V, of the label under the prior.
    """
    # In this form an infinite bound leaves V; V·CRLB / (V + CRLB) would give NaN.
    return Attainable(_at(bounds.rows, 1 / (1 / variance + 1 / bounds.of("crlb", 0, label)), count))


def most_widely(exact: Attainable | None, gaussian: Attainable, enough: int) -> Attainable:
    """Return the exact limit if `enough` spectra, or all that have any, have it; else the Gaussian one."""
    if exact is not None and exact.known.sum() >= min(enough, gaussian.known.sum()):
        return exact
    return gaussian


def _at(rows: Values, values: Values, count: int) -> Values:
    """Return `values` at `rows` of `count` spectra, NaN elsewhere."""
    spread = np.full(count, np.nan)
    spread[rows] = values
    return spread
