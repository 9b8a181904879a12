"""Estimators by name: saved and shipped ones, and networks with their way of being fitted."""

from specvit.estimators.network_estimator import NetworkEstimator
from specvit.estimators.network_fitter import NetworkFitter, make_estimator, split_options
from specvit.estimators.pretrained import find_bundle, load_pretrained, pretrained_names
from specvit.estimators.registry import load_estimator

__all__ = [
    "NetworkEstimator",
    "NetworkFitter",
    "find_bundle",
    "load_estimator",
    "load_pretrained",
    "make_estimator",
    "pretrained_names",
    "split_options",
]
