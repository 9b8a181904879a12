"""Scores of estimates against the truth: pooled metrics, bootstrap, S/N bins, coverage and efficiency."""

from specvit.evaluate.bins import BinScores, SnrBins, binned_scores, snr_bins
from specvit.evaluate.calibration import Coverage, coverage, pit
from specvit.evaluate.ceilings import Efficiency, efficiency
from specvit.evaluate.metrics import (
    OUTLIER_LIMIT,
    SCORES,
    bias,
    mae,
    outlier_fraction,
    r2,
    rmse,
    scatter,
    scores,
)
from specvit.evaluate.resampling import Interval, bootstrap, paired_difference

__all__ = [
    "OUTLIER_LIMIT",
    "SCORES",
    "BinScores",
    "Coverage",
    "Efficiency",
    "Interval",
    "SnrBins",
    "bias",
    "binned_scores",
    "bootstrap",
    "coverage",
    "efficiency",
    "mae",
    "outlier_fraction",
    "paired_difference",
    "pit",
    "r2",
    "rmse",
    "scatter",
    "scores",
    "snr_bins",
]
