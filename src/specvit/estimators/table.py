"""The one table of estimators: a row each, and nothing else anywhere knows them by name.

To add an estimator, add a row here; one of your own needs no row, `module:Class` names it (see `choice`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from specvit.errors import ConfigError
from specvit.estimators.network_estimator import NetworkEstimator
from specvit.estimators.network_fitter import NetworkFitter
from specvit.estimators.spec import Architecture, EstimatorSpec, Setting
from specvit.inference import PosteriorMean, TemplateFit
from specvit.models.cnn import CNNConfig
from specvit.models.cost import TRAINING_PASSES, forward_flops
from specvit.models.linear import PLS, PCARidge, Ridge
from specvit.models.mlp import MLPConfig
from specvit.models.network import FrontConfig, NetworkConfig
from specvit.models.options import split_by_owner
from specvit.models.swin import SwinConfig
from specvit.models.trees import LightGBM
from specvit.models.vit import ViTConfig
from specvit.training.recipe import Recipe

#: What a saved network calls itself, whatever its architecture.
NETWORK = "network"

LINEAR_MEANING = (
    "A weighted sum of all pixels, its weights fitted on the training spectra. It shows how much of "
    "{target} can be read without any bend in the relation between flux and label."
)
NETWORK_MEANING = (
    "A neural network trained on simulated spectra to predict {target} from flux and sigma. Its distance "
    "to the Bayes ceiling is what its design and training have not found of the information that is there."
)


def linear(cls: type[Ridge] | type[PLS], title: str) -> EstimatorSpec:
    """Return the row of a linear estimator."""

    def cost(model: Any) -> dict[str, float]:
        return {
            "train_spectra": model.origin.training.train_spectra,
            "parameters": len(model.names) * (model.origin.grid.size + 1),
        }

    def build(setting: Setting) -> Any:
        return cls(setting.labels, **setting.options)

    return EstimatorSpec(cls.name, title, LINEAR_MEANING, "linear", build, cls.load, cost, cls.name)


def network(
    name: str, title: str, architecture: Architecture, meaning: str = NETWORK_MEANING
) -> EstimatorSpec:
    """Return the row of a kind of network."""

    def build(setting: Setting) -> NetworkEstimator:
        size = setting.size or architecture.default_size
        config, recipe = designed(architecture, name, size, dict(setting.options))
        fitter = NetworkFitter(
            config,
            recipe,
            setting.labels,
            setting.device,
            setting.folder,
            setting.listen,
        )
        return NetworkEstimator(f"{name}-{size}", fitter)

    return EstimatorSpec(
        name, title, meaning, "network", build, load_network, network_cost, NETWORK, architecture
    )


def designed(
    architecture: Architecture, name: str, size: str, options: dict[str, Any]
) -> tuple[NetworkConfig, Recipe]:
    """Return a size of an architecture and its recipe, with options of either replaced.

    Raises:
        ConfigError: for a size this network does not have, or an option that neither has; names the nearest.
    """
    config, recipe = size_of(architecture, name, size), architecture.recipe
    ours, theirs = split_by_owner(f"{name}-{size}", options, config.option_names, list(recipe.to_dict()))
    return config.with_options(ours), recipe.with_options(theirs)


def size_of(architecture: Architecture, name: str, size: str) -> NetworkConfig:
    """Return the description of a size; ConfigError lists the known ones."""
    if size not in architecture.sizes:
        raise ConfigError(f"size: '{size}' is not there for {name}; choose {', '.join(architecture.sizes)}")
    return architecture.sizes[size]


def load_network(folder: Path) -> NetworkEstimator:
    """Return a saved network of any kind in the table.

    Raises:
        DataError: if the folder was changed or is incomplete, or holds a kind that is not known.
    """
    return NetworkEstimator.load(folder, patterns={name: a.pattern for name, a in architectures().items()})


def network_cost(model: Any) -> dict[str, float]:
    """Return parameters, spectra seen and operations of a trained network."""
    seen, forward = model.origin.training.train_spectra, forward_flops(model.network)
    return {
        "parameters": model.network.parameter_count,
        "train_spectra": seen,
        "forward_flops": forward,
        "train_flops": TRAINING_PASSES * forward * seen,
    }


def trees_cost(model: Any) -> dict[str, float]:
    """Return the spectra the trees were grown on."""
    return {"train_spectra": model.origin.training.train_spectra}


def free(model: Any) -> dict[str, float]:
    """Return the cost of an estimator that learns from no spectra."""
    return {}


#: Local patches and a readout after pooling: can start from the library's components, and learns far sooner.
LOCAL_VIT = ViTConfig(patch=64, tokeniser="local", width=64, depth=3, heads=4, readout=2)
#: The same in windows on a pyramid.
LOCAL_SWIN = SwinConfig(64, 8, 64, 4, 2, 2, 2.0, tokeniser="local", readout=2)
#: On the sufficient statistics of noise-free spectra.
SUBSPACE = FrontConfig(kind="subspace")

# Sizes: "nano" learns in minutes on two cores, "small" in an hour, "base" wants a GPU; "reference" is the
# published ViT. Recipes are what worked: see docs/training.md for the measurements.
_ROWS = (
    linear(Ridge, "Ridge"),
    linear(PCARidge, "PCA + Ridge"),
    linear(PLS, "PLS"),
    EstimatorSpec(
        name=LightGBM.name,
        title="LightGBM",
        meaning=(
            "Decision trees on single pixels, added one after another for as long as the validation spectra "
            "gain. They follow bends that a weighted sum cannot, but each tree averages little of the noise away."
        ),
        family="trees",
        build=lambda s: LightGBM(s.labels or ("log_g",), **s.options, seed=s.seed, threads=s.threads),
        load=LightGBM.load,
        cost=trees_cost,
        saved_as=LightGBM.name,
    ),
    EstimatorSpec(
        name=TemplateFit.name,
        title="Template fit (ML)",
        meaning=(
            "The labels, flux scale and continuum whose model spectrum fits best by maximum likelihood, as "
            "observers fit templates. It knows the noise of every pixel but not how stars are distributed, so "
            "faint stars scatter far and its R² falls below that of estimators that lean on the prior."
        ),
        family="template",
        build=lambda s: TemplateFit(s.world("template").observed, seed=s.seed, **s.options),
        load=TemplateFit.load,
        cost=free,
        saved_as=TemplateFit.name,
    ),
    EstimatorSpec(
        name=PosteriorMean.name,
        title="Posterior mean",
        meaning=(
            "The mean of the exact posterior of {target}, which weighs every star that could have made the "
            "spectrum. On average it reaches the Bayes ceiling, so what separates the two on these spectra is "
            "chance."
        ),
        family="posterior",
        build=lambda s: PosteriorMean(
            s.world("posterior").observed, s.world("posterior").prior, seed=s.seed, **s.options
        ),
        load=PosteriorMean.load,
        cost=free,
        saved_as=PosteriorMean.name,
    ),
    network(
        "subspace",
        "Subspace network",
        Architecture(
            {
                "nano": NetworkConfig("subspace", MLPConfig(256, 3, "residual"), SUBSPACE),
                "small": NetworkConfig("subspace", MLPConfig(512, 4, "residual"), SUBSPACE),
                "base": NetworkConfig("subspace", MLPConfig(1024, 6, "residual"), SUBSPACE),
            },
            Recipe(batch=256, lr=3e-3),
            # Drawing its spectra costs more than training either of its smaller sizes.
            default_size="small",
        ),
        "A small network on the few dozen numbers that a noise-free spectrum has, estimated from the noisy one "
        "with the noise of every pixel. Almost nothing the spectrum says of {target} is lost in these numbers, so "
        "it comes close to the Bayes ceiling after minutes of training.",
    ),
    network(
        "vit",
        "SpecViT",
        Architecture(
            {
                "nano": NetworkConfig("vit", LOCAL_VIT),
                "small": NetworkConfig("vit", replace(LOCAL_VIT, patch=32, width=128, depth=4)),
                "base": NetworkConfig(
                    "vit", replace(LOCAL_VIT, patch=32, width=256, depth=6, heads=8, readout_width=512)
                ),
                "reference": NetworkConfig("vit", ViTConfig.reference(), head="point"),
            },
            Recipe(batch=64, lr=3e-3, validations=10),
        ),
    ),
    network(
        "mlp",
        "MLP",
        Architecture(
            {
                "nano": NetworkConfig("mlp", MLPConfig(256, 2, "residual")),
                "small": NetworkConfig("mlp", MLPConfig(512, 3, "residual")),
                "base": NetworkConfig("mlp", MLPConfig(2048, 4, "residual")),
            },
            Recipe(batch=128, lr=1e-3),
        ),
    ),
    network(
        "cnn",
        "CNN",
        Architecture(
            {
                "nano": NetworkConfig("cnn", CNNConfig(16, 7, 3, 1)),
                "small": NetworkConfig("cnn", CNNConfig(32, 9, 3, 2)),
                "base": NetworkConfig("cnn", CNNConfig(48, 9, 4, 2)),
            },
            Recipe(batch=64, lr=2e-3, validations=10),
        ),
    ),
    network(
        "swin",
        "Swin-1D",
        Architecture(
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
    ),
)

#: Name -> row, in the order estimators are offered.
TABLE: dict[str, EstimatorSpec] = {spec.name: spec for spec in _ROWS}


def architectures() -> dict[str, Architecture]:
    """Return the kinds of network: name -> architecture."""
    return {name: spec.architecture for name, spec in TABLE.items() if spec.architecture is not None}


def architecture_of(model: str) -> Architecture:
    """Return a kind of network by name; ConfigError lists the known ones."""
    known = architectures()
    if model not in known:
        raise ConfigError(f"model: '{model}' is not known; choose {', '.join(known)}")
    return known[model]


def network_config(model: str, size: str = "nano") -> NetworkConfig:
    """Return the description of a kind of network and size.

    Raises:
        ConfigError: for an unknown kind, or a size this one does not have.
    """
    return size_of(architecture_of(model), model, size)
