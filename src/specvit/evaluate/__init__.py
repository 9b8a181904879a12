"""Scores of estimates against the truth: pooled metrics, slices, bootstrap, what is attainable, coverage."""

from specvit.evaluate.attainable import Attainable, exact_limit, gaussian_limit, most_widely
from specvit.evaluate.bins import SnrBins, snr_bins
from specvit.evaluate.by_truth import scores_by_truth
from specvit.evaluate.cells import Cells, cell_scores, plane_axes
from specvit.evaluate.coverage import Coverage, coverage
from specvit.evaluate.metrics import SCORES, bias, mae, r2, rmse, scatter
from specvit.evaluate.resampling import Interval, bootstrap, paired_difference
from specvit.evaluate.retention import Retention, oracle_gain, reliability, retention
from specvit.evaluate.scorer import LabelScores, Scorer, stated_intervals
from specvit.evaluate.slices import Slice, box_slice, everything, shared_slice, snr_slices

__all__ = [
    "SCORES",
    "Attainable",
    "Cells",
    "Coverage",
    "Interval",
    "LabelScores",
    "Retention",
    "Scorer",
    "Slice",
    "SnrBins",
    "bias",
    "bootstrap",
    "box_slice",
    "cell_scores",
    "coverage",
    "everything",
    "exact_limit",
    "gaussian_limit",
    "mae",
    "most_widely",
    "oracle_gain",
    "paired_difference",
    "plane_axes",
    "r2",
    "reliability",
    "retention",
    "rmse",
    "scatter",
    "scores_by_truth",
    "shared_slice",
    "snr_bins",
    "snr_slices",
    "stated_intervals",
]
