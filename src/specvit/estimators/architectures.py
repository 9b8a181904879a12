"""Kinds of network: a row each, with sizes and the recipe that worked. `table` makes estimators of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from specvit.errors import ConfigError
from specvit.models.cnn import CNNConfig
from specvit.models.mlp import MLPConfig
from specvit.models.network import FrontConfig, NetworkConfig
from specvit.models.options import split_by_owner
from specvit.models.swin import SwinConfig
from specvit.models.vit import ViTConfig
from specvit.training.recipe import Recipe

NETWORK_MEANING = (
    "A neural network trained on simulated spectra to predict {target} from flux and sigma. Its distance "
    "to the Bayes ceiling is what its design and training have not found of the information that is there."
)


@dataclass(frozen=True)
class Architecture:
    """A kind of network.

    Args:
        name: how configurations, commands and saved networks call it.
        title: what a reader calls it.
        sizes: name of a size -> description.
        recipe: what worked; a starting point, not a law. See docs/training.md for the measurements.
        default_size: the size that learns most in five minutes on two cores.
        meaning: two sentences on what its curve means; "{target}" stands for the label.
        attends: whether its attention is over the whole spectrum, so that it can be shown.
    """

    name: str
    title: str
    sizes: Mapping[str, NetworkConfig]
    recipe: Recipe
    default_size: str = "nano"
    meaning: str = NETWORK_MEANING
    attends: bool = False

    @property
    def pattern(self) -> NetworkConfig:
        """Any description of this kind of network: it tells which configuration class belongs to it."""
        return next(iter(self.sizes.values()))

    def size(self, name: str) -> NetworkConfig:
        """Return the description of a size; ConfigError lists the known ones."""
        if name not in self.sizes:
            raise ConfigError(f"size: '{name}' is not there for {self.name}; choose {', '.join(self.sizes)}")
        return self.sizes[name]

    def split_options(self, size: str, options: Mapping[str, Any]) -> tuple[dict[str, Any], Recipe]:
        """Return which options are the description's, and the recipe with the others.

        Raises:
            ConfigError: for a size or an option that is not known; names the nearest.
        """
        known = self.size(size).option_names
        what = f"{self.name}-{size}"
        ours, theirs = split_by_owner(what, options, known, self.recipe.option_names)
        return ours, self.recipe.with_options(theirs)


#: Local patches and a readout after pooling: can start from the library's components, and learns far sooner.
LOCAL_VIT = ViTConfig(patch=64, tokeniser="local", width=64, depth=3, heads=4, readout=2)
#: The same in windows on a pyramid.
LOCAL_SWIN = SwinConfig(64, 8, 64, 4, 2, 2, 2.0, tokeniser="local", readout=2)
#: On the sufficient statistics of noise-free spectra.
SUBSPACE = FrontConfig(kind="subspace")

# Sizes: "nano" learns in minutes on two cores, "small" in an hour, "base" wants a GPU; "reference" is the
# published ViT.
_ROWS = (
    Architecture(
        "subspace",
        "Subspace network",
        {
            "nano": NetworkConfig("subspace", MLPConfig(256, 3, "residual"), SUBSPACE),
            "small": NetworkConfig("subspace", MLPConfig(512, 4, "residual"), SUBSPACE),
            "base": NetworkConfig("subspace", MLPConfig(1024, 6, "residual"), SUBSPACE),
        },
        Recipe(batch=256, lr=3e-3),
        # Drawing its spectra costs more than training either of its smaller sizes.
        default_size="small",
        meaning=(
            "A small network on the few dozen numbers that a noise-free spectrum has, estimated from the noisy one "
            "with the noise of every pixel. Almost nothing the spectrum says of {target} is lost in these numbers, so "
            "it comes close to the Bayes ceiling after minutes of training."
        ),
    ),
    Architecture(
        "vit",
        "SpecViT",
        {
            "nano": NetworkConfig("vit", LOCAL_VIT),
            "small": NetworkConfig("vit", replace(LOCAL_VIT, patch=32, width=128, depth=4)),
            "base": NetworkConfig(
                "vit", replace(LOCAL_VIT, patch=32, width=256, depth=6, heads=8, readout_width=512)
            ),
            "reference": NetworkConfig("vit", ViTConfig.reference(), head="point"),
        },
        Recipe(batch=64, lr=3e-3, validations=10),
        attends=True,
    ),
    Architecture(
        "mlp",
        "MLP",
        {
            "nano": NetworkConfig("mlp", MLPConfig(256, 2, "residual")),
            "small": NetworkConfig("mlp", MLPConfig(512, 3, "residual")),
            "base": NetworkConfig("mlp", MLPConfig(2048, 4, "residual")),
        },
        Recipe(batch=128, lr=1e-3),
    ),
    Architecture(
        "cnn",
        "CNN",
        {
            "nano": NetworkConfig("cnn", CNNConfig(16, 7, 3, 1)),
            "small": NetworkConfig("cnn", CNNConfig(32, 9, 3, 2)),
            "base": NetworkConfig("cnn", CNNConfig(48, 9, 4, 2)),
        },
        Recipe(batch=64, lr=2e-3, validations=10),
    ),
    Architecture(
        "swin",
        "Swin-1D",
        {
            "nano": NetworkConfig("swin", LOCAL_SWIN),
            "small": NetworkConfig("swin", replace(LOCAL_SWIN, patch=32, stages=3, ratio=4.0)),
            "base": NetworkConfig(
                "swin",
                replace(LOCAL_SWIN, patch=16, width=96, heads=6, stages=3, ratio=4.0, readout_width=512),
            ),
        },
        Recipe(batch=64, lr=1e-3, validations=10),
    ),
)

#: Name -> kind of network, in the order they are offered.
ARCHITECTURES: dict[str, Architecture] = {kind.name: kind for kind in _ROWS}


def architecture_of(model: str) -> Architecture:
    """Return a kind of network by name; ConfigError lists the known ones."""
    if model not in ARCHITECTURES:
        raise ConfigError(f"model: '{model}' is not known; choose {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[model]


def network_config(model: str, size: str = "nano") -> NetworkConfig:
    """Return the description of a kind of network and size.

    Raises:
        ConfigError: for an unknown kind, or a size this one does not have.
    """
    return architecture_of(model).size(size)
