"""Estimators behind one protocol: fit on a source, predict labels with errors, save and load verified."""

from specvit.models.bundle import Bundle, load_bundle, save_bundle
from specvit.models.cnn import CNNConfig
from specvit.models.linear import PLS, PCARidge, Ridge
from specvit.models.mlp import MLPConfig
from specvit.models.moments import Moments
from specvit.models.network import NetworkConfig, SpectrumNetwork, build_network
from specvit.models.origin import Origin, TrainingRecord
from specvit.models.prediction import Diagnostics, Prediction, Quantiles
from specvit.models.protocol import Estimator
from specvit.models.scatter import ResidualScatter
from specvit.models.swin import SwinConfig
from specvit.models.trees import LightGBM
from specvit.models.vit import ViTConfig

__all__ = [
    "PLS",
    "Bundle",
    "CNNConfig",
    "Diagnostics",
    "Estimator",
    "LightGBM",
    "MLPConfig",
    "Moments",
    "NetworkConfig",
    "Origin",
    "PCARidge",
    "Prediction",
    "Quantiles",
    "ResidualScatter",
    "Ridge",
    "SpectrumNetwork",
    "SwinConfig",
    "TrainingRecord",
    "ViTConfig",
    "build_network",
    "load_bundle",
    "save_bundle",
]
