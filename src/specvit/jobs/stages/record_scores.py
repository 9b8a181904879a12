"""Write the scores of a trained network into the network itself: its manifest and its card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from specvit.estimators import NetworkEstimator
from specvit.jobs.stages.fit import Fitted
from specvit.jobs.watch import Update
from specvit.jobs.work import Record
from specvit.runs import RunFolder, Summary

#: Scores a saved network states of itself.
STATED = ("r2", "mae", "rmse")


@dataclass(frozen=True)
class RecordScores:
    """Save a network of the job again, with its scores on the test spectra.

    Args:
        fitted: the network.
        summary: of the job.
    """

    fitted: Fitted
    summary: Summary

    name = "publish"
    title = "write the scores into the network"

    def make(self, run: RunFolder, record: Record, update: Update) -> None:
        """Save it; the estimates stay what they are."""
        kept = self.fitted.record.model
        assert kept is not None
        folder = run.path / Path(kept)
        model = self.fitted.choice.spec.load(folder)
        assert isinstance(model, NetworkEstimator)
        model.metrics = stated_scores(self.summary, self.fitted.choice.key)
        model.by_true_label = self.summary.by_true_label[self.fitted.choice.key]
        model.save(folder)

    def read(self, run: RunFolder) -> None:
        """Nothing is handed on."""


def stated_scores(summary: Summary, estimator: str) -> dict[str, dict[str, float]]:
    """Return label -> score -> value over all test spectra, where there is one."""
    return {
        label: {
            metric: score.value
            for metric in STATED
            if (score := summary.score(estimator, metric, label)) is not None and score.value is not None
        }
        for label in summary.scores[estimator]
    }
