"""Means over training runs and test stars at once: what would change with other seeds and with other stars.

The same S seeds and N stars stand behind every variant that is compared, so a difference between variants is one
matrix (S, N), paired in both directions, and its mean has two sources of chance that do not average each other out:
more stars tell nothing of the scatter between trainings. Both levels are drawn anew and apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
    if values.ndim != 2 or values.shape[0] < 1 or values.shape[1] < 2:
        raise ShapeError(f"crossed mean: expected seeds x stars, at least (1, 2); got {values.shape}")
    values = values.astype(np.float64)
    seeds, stars = values.shape
    mean, rows, columns = float(values.mean()), values.mean(axis=1), values.mean(axis=0)
    deviation = Resampled(stars, resamples, seed).means((columns - mean)[:, None])[1][:, 0]
    # Of a bootstrap's variance 1 / N is missing.
    deviation = deviation * np.sqrt(stars / (stars - 1))
    if seeds > 1:
        generator = np.random.default_rng((seed, 1))
        of_rows = stars * np.square(rows - mean).sum()
        rest = np.square(values - rows[:, None] - columns + mean).sum() / ((seeds - 1) * (stars - 1))
        drawn = of_rows / generator.chisquare(seeds - 1, resamples)
        scale = np.sqrt(np.maximum(drawn - rest, 0) / (seeds * stars))
        deviation = deviation + scale * generator.standard_normal(resamples)
    return CrossedMean(mean, mean + deviation, seeds, stars)
