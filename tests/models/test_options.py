"""Numbers of networks and recipes that cannot be meant are refused by name, not met as errors of tensors."""

from dataclasses import fields, replace

import pytest

from specvit.denoise.learned.basis import BasisConfig
from specvit.denoise.learned.blind_spot import BlindSpotConfig
from specvit.denoise.learned.config import DenoiserConfig
from specvit.denoise.learned.unet import UNetConfig
from specvit.errors import ConfigError
from specvit.models.cnn import CNNConfig
from specvit.models.mlp import MLPConfig
from specvit.models.network import FrontConfig, NetworkConfig
from specvit.models.options import BOUNDS
from specvit.models.swin import SwinConfig
from specvit.models.vit.spec_vit import ViTConfig
from specvit.training.recipe import Recipe

CONFIGS = [
    *(MLPConfig(), CNNConfig(), ViTConfig(), SwinConfig(), FrontConfig(), NetworkConfig("mlp", MLPConfig())),
    *(DenoiserConfig(), BlindSpotConfig(), UNetConfig(), BasisConfig(), Recipe()),
]
NUMBERS = [
    (config, field.name)
    for config in CONFIGS
    for field in fields(config)
    if isinstance(getattr(config, field.name), int | float)
    and not isinstance(getattr(config, field.name), bool)
]
#: Of a recipe: a seed may be 0 and the recipe has bounds of its own.
NEGATIVE_IS_REFUSED = [(config, name) for config, name in NUMBERS if name != "seed"]


def named(value):
    return value if isinstance(value, str) else type(value).__name__


@pytest.mark.parametrize(("config", "name"), NEGATIVE_IS_REFUSED, ids=named)
def test_no_number_is_negative(config, name):
    with pytest.raises(ConfigError, match=rf"\b{name}\b|length"):
        replace(config, **{name: -1})


@pytest.mark.parametrize(
    ("config", "name"), [one for one in NUMBERS if not isinstance(one[0], Recipe)], ids=named
)
@pytest.mark.parametrize("odd", [float("nan"), 1e30])
def test_every_number_of_a_network_has_bounds(config, name, odd):
    assert name in BOUNDS
    with pytest.raises(ConfigError, match=rf"\b{name}\b"):
        replace(config, **{name: odd})


def test_what_is_usual_is_within_the_bounds():
    for config, name in NUMBERS:
        if name in BOUNDS:
            low, high = BOUNDS[name]
            assert low <= getattr(config, name) <= high
