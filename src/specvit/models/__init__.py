"""Estimators behind one protocol: fit on a source, predict labels with errors, save and load verified."""

from specvit.models.bundle import Bundle, load_bundle, save_bundle
from specvit.models.linear import PLS, PCARidge, Ridge
from specvit.models.moments import Moments
from specvit.models.origin import Origin, TrainingRecord
from specvit.models.protocol import Estimator, Prediction
from specvit.models.scatter import ResidualScatter
from specvit.models.trees import LightGBM

__all__ = [
    "PLS",
    "Bundle",
    "Estimator",
    "LightGBM",
    "Moments",
    "Origin",
    "PCARidge",
    "Prediction",
    "ResidualScatter",
    "Ridge",
    "TrainingRecord",
    "load_bundle",
    "save_bundle",
]
