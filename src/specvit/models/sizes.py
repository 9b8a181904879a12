"""One dial: named sizes of every network. Owns the numbers; the configurations say what they mean."""

from __future__ import annotations

from dataclasses import replace

from specvit.errors import ConfigError
from specvit.models.cnn import CNNConfig
from specvit.models.mlp import MLPConfig
from specvit.models.network import NetworkConfig
from specvit.models.swin import SwinConfig
from specvit.models.vit import ViTConfig

SIZES = ("nano", "small", "base", "reference")

#: Local patches and a readout after pooling: can start from the library's components, and learns far sooner.
LOCAL_VIT = ViTConfig(patch=64, tokeniser="local", width=64, depth=3, heads=4, readout=2)
#: The same in windows on a pyramid.
LOCAL_SWIN = SwinConfig(64, 8, 64, 4, 2, 2, 2.0, tokeniser="local", readout=2)

#: model -> size -> description. "nano" learns in minutes on two cores, "small" in an hour, "base" wants a
#: GPU; "reference" is the published ViT.
PRESETS: dict[str, dict[str, NetworkConfig]] = {
    "subspace": {
        "nano": NetworkConfig("subspace", MLPConfig(256, 3, "residual")),
        "small": NetworkConfig("subspace", MLPConfig(512, 4, "residual")),
        "base": NetworkConfig("subspace", MLPConfig(1024, 6, "residual")),
    },
    "mlp": {
        "nano": NetworkConfig("mlp", MLPConfig(256, 2, "residual")),
        "small": NetworkConfig("mlp", MLPConfig(512, 3, "residual")),
        "base": NetworkConfig("mlp", MLPConfig(2048, 4, "residual")),
    },
    "cnn": {
        "nano": NetworkConfig("cnn", CNNConfig(16, 7, 3, 1)),
        "small": NetworkConfig("cnn", CNNConfig(32, 9, 3, 2)),
        "base": NetworkConfig("cnn", CNNConfig(48, 9, 4, 2)),
    },
    "vit": {
        "nano": NetworkConfig("vit", LOCAL_VIT),
        "small": NetworkConfig("vit", replace(LOCAL_VIT, patch=32, width=128, depth=4)),
        "base": NetworkConfig(
            "vit", replace(LOCAL_VIT, patch=32, width=256, depth=6, heads=8, readout_width=512)
        ),
        "reference": NetworkConfig("vit", ViTConfig.reference(), head="point"),
    },
    "swin": {
        "nano": NetworkConfig("swin", LOCAL_SWIN),
        "small": NetworkConfig("swin", replace(LOCAL_SWIN, patch=32, stages=3, ratio=4.0)),
        "base": NetworkConfig(
            "swin", replace(LOCAL_SWIN, patch=16, width=96, heads=6, stages=3, ratio=4.0, readout_width=512)
        ),
    },
}


def default_size(model: str) -> str:
    """Return the size that learns most in five minutes on two cores."""
    # Drawing its spectra costs more than training either of its smaller sizes.
    return "small" if model == "subspace" else "nano"


def network_config(model: str, size: str = "nano") -> NetworkConfig:
    """Return the description of a named model and size.

    Raises:
        ConfigError: for an unknown model, or a size this model does not have.
    """
    if model not in PRESETS:
        raise ConfigError(f"model: '{model}' is not known; choose {', '.join(PRESETS)}")
    if size not in PRESETS[model]:
        raise ConfigError(f"size: '{size}' is not there for {model}; choose {', '.join(PRESETS[model])}")
    return PRESETS[model][size]
