"""The stages jobs are built from: test set, fits, bounds, posteriors, examples, explanation, focus, scores."""

from specvit.jobs.stages.bounds import BoundStars
from specvit.jobs.stages.elsewhere import EstimateElsewhere
from specvit.jobs.stages.examples import ShowExamples
from specvit.jobs.stages.explanation import ExplainNetwork, explain_network
from specvit.jobs.stages.fit import FitEstimator, FitRecord, Fitted
from specvit.jobs.stages.focus import FOCUS, FocusOnLines
from specvit.jobs.stages.posteriors import SamplePosteriors, Sampling
from specvit.jobs.stages.record_scores import RecordScores
from specvit.jobs.stages.score import ScoreAll, Scoring
from specvit.jobs.stages.test_stars import DrawTestStars, TestStars

__all__ = [
    "FOCUS",
    "BoundStars",
    "DrawTestStars",
    "EstimateElsewhere",
    "ExplainNetwork",
    "FitEstimator",
    "FitRecord",
    "Fitted",
    "FocusOnLines",
    "RecordScores",
    "SamplePosteriors",
    "Sampling",
    "ScoreAll",
    "Scoring",
    "ShowExamples",
    "TestStars",
    "explain_network",
]
