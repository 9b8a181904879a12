"""Estimators behind one protocol: fit on a source, predict labels with errors, save and load verified."""

from specvit.models.bundle import Bundle, Origin, load_bundle, save_bundle
from specvit.models.cnn import CNNConfig
from specvit.models.linear import PLS, PCARidge, Ridge
from specvit.models.mlp import MLPConfig
from specvit.models.moments import Moments
from specvit.models.network import NetworkConfig, SpectrumNetwork, build_network
from specvit.models.protocol import Estimator, Prediction
from specvit.models.scatter import ResidualScatter
from specvit.models.sizes import SIZES, network_config
from specvit.models.swin import SwinConfig
from specvit.models.trees import LightGBM
from specvit.models.vit import ViTConfig

__all__ = [
    "PLS",
    "SIZES",
    "Bundle",
    "CNNConfig",
    "Estimator",
    "LightGBM",
    "MLPConfig",
    "Moments",
    "NetworkConfig",
    "Origin",
    "PCARidge",
    "Prediction",
    "ResidualScatter",
    "Ridge",
    "SpectrumNetwork",
    "SwinConfig",
    "ViTConfig",
    "build_network",
    "load_bundle",
    "network_config",
    "save_bundle",
]
