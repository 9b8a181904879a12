"""Estimators behind one protocol: fit on a source, predict labels with errors, save and load verified."""

from specvit.models.bundle import Bundle, load_bundle, save_bundle
from specvit.models.linear import PLS, PCARidge, Ridge
from specvit.models.moments import Moments
from specvit.models.origin import Origin, TrainingRecord
from specvit.models.prediction import Diagnostics, Prediction, Quantiles
from specvit.models.protocol import Estimator
from specvit.models.scatter import ResidualScatter
from specvit.models.trees import LightGBM

__all__ = [
    "PLS",
    "Bundle",
    "Diagnostics",
    "Estimator",
    "LightGBM",
    "Moments",
    "Origin",
    "PCARidge",
    "Prediction",
    "Quantiles",
    "ResidualScatter",
    "Ridge",
    "TrainingRecord",
    "load_bundle",
    "save_bundle",
]
