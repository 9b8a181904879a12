"""What experts gain when the bin is known, and how much of that a routing keeps: scores that need the same stars.

All of them are of one set of stars; a ratio of differences between scores of different stars means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from specvit.evaluate.metrics import r2
from specvit.evaluate.resampling import LEVEL, RESAMPLES, Interval, bootstrap, paired_difference

Values = np.ndarray


@dataclass(frozen=True)
class Retention:
    """How a routing stands between the model of all stars and the oracle, as differences of R² on the same stars.

    Args:
        gain: routing less model of all.
        above_oracle: routing less oracle.
        kept: share of the oracle's gain; None where that gain is not told from zero, and the share is not defined.
    """

    gain: Interval
    above_oracle: Interval
    kept: Interval | None


def oracle_gain(
    truth: Values, of_all: Values, oracle: Values, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Return R² of the oracle less that of the model of all stars, each (N,), with its paired bootstrap interval."""
    return paired_difference(r2, truth, oracle, of_all, resamples=resamples, seed=seed)


def retention(
    truth: Values, of_all: Values, oracle: Values, routed: Values, resamples: int = RESAMPLES, seed: int = 0
) -> Retention:
    """Return how much of the oracle's gain a routing keeps, from N stars.

    ρ = (R²_routed - R²_all) / (R²_oracle - R²_all), with the percentile interval of its bootstrap; where the interval
    of the denominator holds zero, ρ has no finite interval (Fieller 1954, J. R. Stat. Soc. B 16, 175) and is not
    stated.

    Args:
        truth, of_all, oracle, routed: shape (N,).
        resamples, seed: of the bootstrap.
    """
    options = {"resamples": resamples, "seed": seed}
    whole = oracle_gain(truth, of_all, oracle, resamples, seed)
    kept = None
    if whole.low > 0:

        def ratio(y: Values, a: Values, b: Values, c: Values) -> Values:
            # The variance of the truth cancels: differences of squared errors are enough.
            base = np.square(y - a).mean(axis=-1)
            gained: Values = (base - np.square(y - c).mean(axis=-1)) / (base - np.square(y - b).mean(axis=-1))
            return gained

        kept = bootstrap(ratio, truth, of_all, oracle, routed, **options)
    return Retention(
        paired_difference(r2, truth, routed, of_all, level=LEVEL, **options),
        paired_difference(r2, truth, routed, oracle, level=LEVEL, **options),
        kept,
    )


def reliability(chance: Values, happened: Values, bins: int = 10) -> tuple[Values, Values, Values]:
    """Return mean stated chance, frequency and number in bins of equally many of what was stated, each (bins,).

    Args:
        chance: stated probabilities, shape (N,).
        happened: whether it was so, shape (N,).
        bins: number of them, fewer where there are fewer statements.

    Source: Murphy & Winkler 1977, J. R. Stat. Soc. C 26, 41 (reliability diagrams).
    """
    order = np.argsort(chance, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    stated = np.array([chance[part].mean() for part in parts])
    found = np.array([happened[part].mean() for part in parts])
    return stated, found, np.array([len(part) for part in parts])
