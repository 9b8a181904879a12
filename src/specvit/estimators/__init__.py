"""Estimators by name: the one table of them, saved and shipped ones, and networks with their way of being fitted."""

from specvit.estimators.architectures import network_config
from specvit.estimators.choice import Choice, choose, choose_all, known_names, load_estimator
from specvit.estimators.making import make_estimator, split_options
from specvit.estimators.network_estimator import NetworkEstimator
from specvit.estimators.network_fitter import NetworkFitter
from specvit.estimators.pretrained import find_bundle, load_pretrained, pretrained_names
from specvit.estimators.spec import EstimatorSpec, Setting
from specvit.estimators.table import TABLE

__all__ = [
    "TABLE",
    "Choice",
    "EstimatorSpec",
    "NetworkEstimator",
    "NetworkFitter",
    "Setting",
    "choose",
    "choose_all",
    "find_bundle",
    "known_names",
    "load_estimator",
    "load_pretrained",
    "make_estimator",
    "network_config",
    "pretrained_names",
    "split_options",
]
