"""What a fitted estimator says of stars of another world than its own: other noise, other priors."""

from __future__ import annotations

from dataclasses import dataclass

from specvit.errors import DataError
from specvit.estimators import Choice
from specvit.jobs.stages.fit import predict, to_estimates
from specvit.jobs.stages.test_stars import TestStars
from specvit.jobs.watch import Update
from specvit.jobs.work import Record
from specvit.runs import Estimates, RunFolder
from specvit.runs.folder import MEND


@dataclass(frozen=True)
class EstimateElsewhere:
    """Estimate further test stars with the estimator that the run has fitted, or was given.

    Args:
        choice: which estimator.
        model: its folder, relative to the run; None for one that was there before.
        test: the further stars.
    """

    choice: Choice
    model: str | None
    test: TestStars

    @property
    def name(self) -> str:
        """Name in the provenance."""
        return elsewhere_stage(self.test.identity)

    @property
    def title(self) -> str:
        """What a watcher is told."""
        return f"{self.choice.title} on other stars"

    @property
    def key(self) -> str:
        """Name of the estimates among those of the run."""
        return elsewhere_key(self.choice, self.test.identity)

    def make(self, run: RunFolder, record: Record, update: Update) -> Estimates:
        """Return the estimates, and keep them."""
        if self.choice.is_fitted_here:
            if self.model is None:
                raise DataError(f"{run.path}: the run holds no fitted estimator; {MEND}")
            model = self.choice.spec.load(run.path / self.model)
        else:
            model = self.choice.load()
        estimates = to_estimates(predict(model, self.test, update))
        estimates.write(run, self.key)
        return estimates

    def read(self, run: RunFolder) -> Estimates:
        """Return the estimates of an earlier start."""
        return Estimates.read(run, self.key)


def elsewhere_key(choice: Choice, identity: str) -> str:
    """Return under which name a run keeps an estimator's estimates of the stars of that identity."""
    return f"{choice.key}_{identity}"


def elsewhere_stage(identity: str) -> str:
    """Return the name of the stage that estimates the stars of that identity."""
    return f"estimate {identity}"
