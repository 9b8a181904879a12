"""Means over training runs and test stars at once: what would change with other seeds and with other stars.

The same S seeds and N stars stand behind every variant that is compared, so a difference between variants is one
matrix (S, N), paired in both directions, and its mean has two sources of chance that do not average each other out:
more stars tell nothing of the scatter between trainings. Both levels are drawn anew and apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq

from specvit.errors import ShapeError
from specvit.evaluate.resampled import Resampled
from specvit.evaluate.resampling import LEVEL, Interval, interval_of

Values = np.ndarray

#: Draws: the ends of a 99.5 % interval, which a correction for ten contrasts needs, still rest on 10 of them each.
CROSSED_RESAMPLES = 4_000
#: Chance of seeing an effect of the size that is called detectable.
POWER = 0.8


@dataclass(frozen=True, eq=False)
class CrossedMean:
    """The mean of a matrix of seeds x stars, and how it would scatter.

    Args:
        value: the mean.
        draws: the mean as it might have come out with other seeds and stars, shape (resamples,); with other stars
            alone if there is one seed.
        seeds, stars: shape of the matrix.
    """

    value: float
    draws: Values
    seeds: int
    stars: int

    def interval(self, level: float = LEVEL) -> Interval:
        """Return the value with its interval."""
        return interval_of(self.value, self.draws, level)

    @property
    def chance_not_below(self) -> float:
        """One-sided p-value of "the mean is not below zero"."""
        return float((1 + (self.draws >= 0).sum()) / (1 + len(self.draws)))

    @property
    def chance_not_above(self) -> float:
        """One-sided p-value of "the mean is not above zero"."""
        return float((1 + (self.draws <= 0).sum()) / (1 + len(self.draws)))

    def detectable(self, level: float = LEVEL) -> float:
        """Return the size of a true mean that would have been told from zero in `POWER` of all repetitions."""
        tails = np.quantile(self.draws, [0.5 * (1 - level), 0.5 * (1 + level), 1 - POWER, POWER])
        return float(0.5 * (tails[1] - tails[0] + tails[3] - tails[2]))


def crossed_mean(values: Values, resamples: int = CROSSED_RESAMPLES, seed: int = 0) -> CrossedMean:
    """Return the mean of `values` over S seeds (rows) and N stars (columns), with its scatter over both.

    Stars are bootstrapped: that holds their part of the scatter and the part that belongs to neither level alone. The
    seeds add what their means scatter beyond it, a variance (MS_seeds - MS_rest) / N that two or three of them hardly
    know: each draw takes MS_seeds times (S - 1) / chi² of S - 1 degrees of freedom, so that where seeds rule the
    draws are those of Student's t.

    Args:
        values: shape (S, N), paired over both.
        resamples: number of draws.
        seed: of the draws.

    Raises:
        ShapeError: unless there are at least one row and two columns.

    Source: Owen 2007, Ann. Appl. Stat. 1, 386 (bootstrap of crossed random effects); Hannig 2009, Statistica Sinica
    19, 491 (generalised fiducial distributions, of which the two-way layout is an example).
    """
    return _CrossedMeans([values], resamples, seed).of([1.0])


def crossed_ratio(
    part: Values, whole: Values, resamples: int = CROSSED_RESAMPLES, seed: int = 0
) -> Interval | None:
    """Return mean(part) / mean(whole) with Fieller's interval: the ratios r at which part - r whole may be zero.

    None where `whole` itself is not told from zero: what it is a share of may be nothing, and no interval is finite.

    Args:
        part, whole: shape (S, N), paired over both and with each other.
        resamples, seed: as of `crossed_mean`, whose chances decide.

    Source: Fieller 1954, J. R. Stat. Soc. B 16, 175.
    """
    means = _CrossedMeans([part, whole], resamples, seed)
    bottom = means.of([0.0, 1.0])
    ends = bottom.interval()
    if ends.low <= 0 <= ends.high:
        return None
    value = means.of([1.0, 0.0]).value / bottom.value
    sign = np.sign(bottom.value)

    def end(tail: float) -> float:
        """Return where the tail of part - r whole, which falls with r unless the whole is negative, is zero."""

        def at(ratio: float) -> float:
            draws = means.of([1.0, -ratio]).draws
            return float(sign * np.quantile(draws, tail if sign > 0 else 1 - tail))

        step = max(abs(value), 1.0)
        low = high = value
        while at(low) < 0:
            low, step = low - step, 2 * step
        while at(high) > 0:
            high, step = high + step, 2 * step
        return float(brentq(at, low, high, xtol=1e-6 * max(abs(value), 1e-3))) if low < high else value

    return Interval(value, end(0.5 * (1 - LEVEL)), end(0.5 * (1 + LEVEL)))


@lru_cache(maxsize=4)
def _resampled(stars: int, resamples: int, seed: int) -> Resampled:
    """Return the resamples of so many stars: those of one study are asked for again for every variant and measure."""
    return Resampled(stars, resamples, seed)


class _CrossedMeans:
    """Weighted sums of matrices (S, N) over the same seeds and stars, all with the same draws."""

    def __init__(self, matrices: Sequence[Values], resamples: int, seed: int) -> None:
        values = np.stack(matrices).astype(np.float64)
        if values.ndim != 3 or values.shape[1] < 1 or values.shape[2] < 2:
            raise ShapeError(f"crossed mean: expected seeds x stars, at least (1, 2); got {values.shape[1:]}")
        _, self.seeds, self.stars = values.shape
        self.mean, self.rows, columns = values.mean(axis=(1, 2)), values.mean(axis=2), values.mean(axis=1)
        deviations = _resampled(self.stars, resamples, seed).means((columns - self.mean[:, None]).T)[1]
        # Of a bootstrap's variance 1 / N is missing.
        self.deviations = deviations * np.sqrt(self.stars / (self.stars - 1))
        if self.seeds > 1:
            generator = np.random.default_rng((seed, 1))
            rest = values - self.rows[:, :, None] - columns[:, None] + self.mean[:, None, None]
            self.rest = np.einsum("asn,bsn->ab", rest, rest) / ((self.seeds - 1) * (self.stars - 1))
            self.chi2 = generator.chisquare(self.seeds - 1, resamples)
            self.normal = generator.standard_normal(resamples)

    def of(self, weights: Sequence[float]) -> CrossedMean:
        """Return the mean of the sum of the matrices times their weights."""
        w = np.asarray(weights)
        mean, deviation = float(self.mean @ w), self.deviations @ w
        if self.seeds > 1:
            of_rows = self.stars * np.square(w @ self.rows - mean).sum()
            excess = np.maximum(of_rows / self.chi2 - w @ self.rest @ w, 0)
            deviation = deviation + np.sqrt(excess / (self.seeds * self.stars)) * self.normal
        return CrossedMean(mean, mean + deviation, self.seeds, self.stars)
