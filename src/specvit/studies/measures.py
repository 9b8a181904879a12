"""What a variant is measured by, star by star: every measure is a mean over stars, so that contrasts are too.

Knows estimates, labels and exact posteriors; nothing of studies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Values = np.ndarray


@dataclass(frozen=True, eq=False)
class Judged:
    """What is known of one label of N stars, and what S trainings of a variant say of it.

    Args:
        truth: true values, shape (N,).
        estimates: shape (S, N).
        mean, variance: of the exact posterior, shape (N,), or None.
    """

    truth: Values
    estimates: Values
    mean: Values | None = None
    variance: Values | None = None

    def on(self, stars: Values) -> Judged:
        """Return the same for the stars of a boolean mask (N,)."""
        mean, variance = (None if values is None else values[stars] for values in (self.mean, self.variance))
        return Judged(self.truth[stars], self.estimates[:, stars], mean, variance)


@dataclass(frozen=True)
class Measure:
    """One way to score an estimate.

    Args:
        of: from what is judged to the score of every training and star, shape (S, N), whose mean is the measure.
        exact: whether it needs the exact posterior.
        words: what a reader is told.
        unit: "label", "label²" or "" for a pure number.
    """

    of: Callable[[Judged], Values]
    exact: bool
    words: str
    unit: str


def _excess(judged: Judged) -> Values:
    scores: Values = np.square(judged.estimates - _known(judged.mean))
    return scores


def _error(judged: Judged) -> Values:
    scores: Values = np.square(judged.estimates - judged.truth)
    return scores


def _absolute(judged: Judged) -> Values:
    scores: Values = np.abs(judged.estimates - judged.truth)
    return scores


def _r2(judged: Judged) -> Values:
    scores: Values = 1 - _error(judged) / judged.truth.var()
    return scores


def _expected_r2(judged: Judged) -> Values:
    scores: Values = 1 - (_known(judged.variance) + _excess(judged)) / judged.truth.var()
    return scores


def _ceiling(judged: Judged) -> Values:
    known = 1 - _known(judged.variance) / judged.truth.var()
    return np.broadcast_to(known, judged.estimates.shape)


def _known(values: Values | None) -> Values:
    assert values is not None
    return values


#: Name in rules -> measure.
MEASURES: dict[str, Measure] = {
    "excess": Measure(
        _excess,
        True,
        "excess risk, the mean of (estimate - posterior mean)²: what was lost of what the spectrum says",
        "label²",
    ),
    "expected_r2": Measure(
        _expected_r2, True, "R² expected of spectra like these, without the luck of the labels drawn", ""
    ),
    "ceiling": Measure(_ceiling, True, "the Bayes ceiling of the stars the variant is judged by, as R²", ""),
    "error": Measure(_error, False, "mean squared error against the labels drawn", "label²"),
    "mae": Measure(_absolute, False, "mean absolute error against the labels drawn", "label"),
    "r2": Measure(_r2, False, "R² against the labels drawn", ""),
}
