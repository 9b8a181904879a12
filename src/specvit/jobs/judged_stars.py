"""Test stars with their exact posteriors, kept where studies keep theirs; and scores against these."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from specvit.evaluate import bootstrap
from specvit.evaluate.scorer import score_of
from specvit.jobs.stages.posteriors import BANK
from specvit.jobs.stages.test_stars import DrawTestStars, TestStars
from specvit.jobs.trial import Yardstick, run_yardstick
from specvit.jobs.watch import Watch
from specvit.runs import Posteriors, Score
from specvit.simulate import World
from specvit.spectra import SpectraBatch

Values = np.ndarray
RESAMPLES = 1000


@dataclass(frozen=True, eq=False)
class Judge:
    """Scores estimates of one label of N stars.

    Args:
        truth: shape (N,).
        mean, variance: of the exact posterior, (N,); None scores against the truth.
        known: which stars count, boolean (N,).
        seed: of the intervals.
    """

    truth: Values
    mean: Values | None
    variance: Values | None
    known: Values
    seed: int

    @property
    def is_exact(self) -> bool:
        """Whether scores are expected ones."""
        return self.mean is not None

    def scores(self, values: Tensor, base: Tensor | None = None) -> tuple[Score, Score | None]:
        """Return R², and its share of the ceiling, of estimates (N,).

        Args:
            values: of the label; with `base` of what that leaves of it.
            base: an estimate (N,) whose residual is the target.
        """
        said = values.numpy() if base is None else values.numpy() + base.numpy()
        left, least, total = (part[self.known] for part in self._columns(said, base))
        r2 = bootstrap(
            lambda a, t: 1 - a.mean(-1) / t.mean(-1), left, total, resamples=RESAMPLES, seed=self.seed
        )
        if not self.is_exact:
            return score_of(r2), None
        share = bootstrap(_share, left, least, total, resamples=RESAMPLES, seed=self.seed)
        return score_of(r2), score_of(share)

    def gains(self, estimates: Values) -> tuple[Values, Values]:
        """Return, per star that counts, what adds up to R² of estimates (S, N) and to the ceiling, (S, M) and (M,)."""
        rows = [self._columns(values, None) for values in estimates]
        _, least, total = rows[0]
        spread = float(total[self.known].mean())
        gained = np.stack([1 - left[self.known] / spread for left, _, _ in rows])
        return gained, 1 - least[self.known] / spread

    def ceiling(self, base: Tensor | None = None) -> Score:
        """Return the R² of the best estimator there can be, of the label or of what `base` leaves of it."""
        assert self.mean is not None
        _, least, total = (part[self.known] for part in self._columns(self.mean, base))
        return score_of(
            bootstrap(
                lambda a, t: 1 - a.mean(-1) / t.mean(-1), least, total, resamples=RESAMPLES, seed=self.seed
            )
        )

    def _columns(self, said: Values, base: Tensor | None) -> tuple[Values, Values, Values]:
        """Return squared error left, least possible, and of knowing nothing, (N,) each."""
        centre, spread = self.truth, np.zeros_like(self.truth)
        if self.mean is not None and self.variance is not None:
            centre, spread = self.mean, self.variance
        left = spread + np.square(said - centre)
        if base is None:
            # About the mean of the labels drawn, as R² is.
            return left, spread, np.square(self.truth - self.truth[self.known].mean())
        return left, spread, spread + np.square(base.numpy() - centre)


@dataclass(frozen=True, eq=False)
class JudgedStars:
    """Test stars, and the posteriors of the first of them if they are known."""

    test: TestStars
    posteriors: Posteriors | None

    @property
    def batch(self) -> SpectraBatch:
        """All of them."""
        return self.test.batch

    def first(self, count: int) -> SpectraBatch:
        """Return the first of them, with their truth."""
        return self.test.first(count)

    @property
    def known_count(self) -> int:
        """How many have a converged posterior."""
        return 0 if self.posteriors is None else int(self.posteriors.converged.sum())

    def judge(self, label: str, seed: int) -> Judge:
        """Return who scores one label, of the stars with a converged posterior, or of all without any."""
        truth, found = self.test.table.truth(label), self.posteriors
        if found is None:
            return Judge(truth, None, None, np.ones(len(truth), dtype=bool), seed)
        mean, variance, known = np.zeros(len(truth)), np.zeros(len(truth)), np.zeros(len(truth), dtype=bool)
        known[found.rows] = found.converged
        mean[found.rows], variance[found.rows] = found.of("mean", label), found.of("variance", label)
        return Judge(truth, mean, variance, known, seed)


def judged_stars(
    world: World, stars: int, posteriors: int, seed: int, runs: Path, watch: Watch, bank: int = BANK
) -> JudgedStars:
    """Return test stars of a world; posteriors of the first are computed once and kept in `runs`, as studies do.

    Args:
        world: theirs.
        stars: how many.
        posteriors: of how many of the first the posterior is wanted; 0 for none.
        seed: of stars and posteriors.
        runs: folder of the runs of studies.
        watch: told how far it is.
        bank: points of the label box that the sampler starts from.
    """
    with watch.task("draw the test spectra"):
        test = DrawTestStars(Yardstick(world, stars, seed, 0).source).draw()
    if not posteriors:
        return JudgedStars(test, None)
    yardstick = Yardstick(world, min(posteriors, stars), seed, bank)
    run = run_yardstick(yardstick, runs / "yardsticks" / yardstick.digest, watch)
    return JudgedStars(test, Posteriors.read(run))


def _share(left: Values, least: Values, total: Values) -> Values:
    found: Values = (total.mean(-1) - left.mean(-1)) / (total.mean(-1) - least.mean(-1))
    return found
