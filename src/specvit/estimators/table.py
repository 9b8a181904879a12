"""The one table of estimators: a row each, and nothing else anywhere knows them by name.

To add an estimator, add a row here, to add a kind of network one in `architectures`; one of your own needs no
row, `module:Class` names it (see `choice`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from specvit.documents import Section
from specvit.estimators.architectures import ARCHITECTURES, Architecture
from specvit.estimators.network_estimator import NetworkEstimator
from specvit.estimators.network_fitter import NetworkFitter
from specvit.estimators.options import (
    LightGBMSection,
    PCARidgeSection,
    PLSSection,
    PosteriorMeanSection,
    RidgeSection,
    TemplateFitSection,
    checked_options,
    with_view,
)
from specvit.estimators.probe import Probe, ProbeOptions
from specvit.estimators.sensitivity import density_of
from specvit.estimators.spec import EstimatorSpec, Setting
from specvit.inference import PosteriorMean, TemplateFit
from specvit.models.cost import TRAINING_PASSES, forward_flops
from specvit.models.experts import ExpertsOptions, MixtureOfExperts
from specvit.models.linear import PLS, PCARidge, Ridge
from specvit.models.trees import LightGBM
from specvit.simulate import endless

#: What a saved network calls itself, whatever its architecture.
NETWORK = "network"

LINEAR_MEANING = (
    "A weighted sum of all pixels, its weights fitted on the training spectra. It shows how much of "
    "{target} can be read without any bend in the relation between flux and label."
)


def _checks(who: str, kind: type[Section]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda options: checked_options(who, kind, options)


def linear(cls: type[Ridge] | type[PLS], title: str, options: type[Section]) -> EstimatorSpec:
    """Return the row of a linear estimator."""

    def cost(model: Any) -> dict[str, float]:
        return {
            "train_spectra": model.origin.training.train_spectra,
            "parameters": len(model.names) * (model.origin.grid.size + 1),
        }

    def build(setting: Setting) -> Any:
        return cls(setting.labels, **with_view(setting.options), density=density_of(setting, cls.name))

    check = _checks(cls.name, options)
    return EstimatorSpec(cls.name, title, LINEAR_MEANING, "linear", build, cls.load, cost, cls.name, check)


def network(architecture: Architecture) -> EstimatorSpec:
    """Return the row of a kind of network."""

    def build(setting: Setting) -> NetworkEstimator:
        size = setting.size or architecture.default_size
        options, recipe = architecture.split_options(size, {"seed": setting.seed, **setting.options})
        config = architecture.size(size).with_options(options)
        name = f"{architecture.name}-{size}"
        fitter = NetworkFitter(
            config,
            recipe,
            setting.labels,
            setting.device,
            setting.folder,
            setting.listen,
            density_of(setting, name),
            lambda: endless(setting.world(name), setting.seed),
        )
        return NetworkEstimator(name, fitter)

    def check(options: Mapping[str, Any]) -> dict[str, Any]:
        # Any size will do: all sizes of a kind have the same options.
        known, _ = architecture.split_options(architecture.default_size, options)
        architecture.pattern.with_options(known)
        return dict(options)

    return EstimatorSpec(
        name=architecture.name,
        title=architecture.title,
        meaning=architecture.meaning,
        family="network",
        build=build,
        load=NetworkEstimator.load,
        cost=network_cost,
        saved_as=NETWORK,
        check=check,
        architecture=architecture,
    )


def network_cost(model: Any) -> dict[str, float]:
    """Return parameters, spectra seen and operations of a trained network."""
    training, forward = model.origin.training, forward_flops(model.network)
    seen = training.train_spectra + (training.pretraining or {}).get("train_spectra", 0)
    return {
        "parameters": model.network.parameter_count,
        "train_spectra": seen,
        "forward_flops": forward,
        "train_flops": TRAINING_PASSES * forward * seen,
    }


def trees(setting: Setting) -> LightGBM:
    """Return LightGBM, which estimates one label unless more are asked for: each takes as long."""
    return LightGBM(
        setting.labels or ("log_g",),
        **with_view(setting.options),
        seed=setting.seed,
        threads=setting.threads,
        density=density_of(setting, LightGBM.name),
    )


def trees_cost(model: Any) -> dict[str, float]:
    """Return the spectra the trees were grown on."""
    return {"train_spectra": model.origin.training.train_spectra}


def experts_cost(model: Any) -> dict[str, float]:
    """Return the spectra the experts were fitted on, and their numbers where that means anything."""
    parameters = {"parameters": model.experts.parameters} if model.experts.parameters else {}
    return {"train_spectra": model.origin.training.train_spectra, **parameters}


def probe_cost(model: Any) -> dict[str, float]:
    """Return the spectra a probe was fitted on."""
    return {"train_spectra": model.origin.training.train_spectra}


def check_probe(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a probe as it reads them; ConfigError names one that is wrong."""
    known = checked_options(Probe.name, ProbeOptions, options)
    Probe(**known)
    return known


def free(model: Any) -> dict[str, float]:
    """Return the cost of an estimator that learns from no spectra."""
    return {}


_ROWS = (
    linear(Ridge, "Ridge", RidgeSection),
    linear(PCARidge, "PCA + Ridge", PCARidgeSection),
    linear(PLS, "PLS", PLSSection),
    EstimatorSpec(
        name=LightGBM.name,
        title="LightGBM",
        meaning=(
            "Decision trees on single pixels, added one after another for as long as the validation spectra "
            "gain. They follow bends that a weighted sum cannot, but each tree averages little of the noise away."
        ),
        family="trees",
        build=trees,
        load=LightGBM.load,
        cost=trees_cost,
        saved_as=LightGBM.name,
        check=_checks(LightGBM.name, LightGBMSection),
    ),
    EstimatorSpec(
        name=MixtureOfExperts.name,
        title="Mixture of experts",
        meaning=(
            "Models of parts of the stars, each fitted on its own, mixed by a gate that sees the spectrum alone. What "
            "it gains over one such model is how much the relation between flux and {target} bends between the parts."
        ),
        family="linear",
        build=lambda s: MixtureOfExperts(s.labels, s.seed, s.threads, **s.options),
        load=MixtureOfExperts.load,
        cost=experts_cost,
        saved_as=MixtureOfExperts.name,
        check=_checks(MixtureOfExperts.name, ExpertsOptions),
    ),
    EstimatorSpec(
        name=Probe.name,
        title="Probe",
        meaning=(
            "{target} read off one layer of a trained network, which stays as it is. It shows what that layer knows in "
            "the form that Ridge, trees or a small network can read."
        ),
        family="linear",
        build=lambda s: Probe(s.labels, s.seed, s.threads, **s.options),
        load=Probe.load,
        cost=probe_cost,
        saved_as=Probe.name,
        check=check_probe,
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
        check=_checks(TemplateFit.name, TemplateFitSection),
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
            s.world("posterior").observed, s.prior("posterior"), seed=s.seed, **s.options
        ),
        load=PosteriorMean.load,
        cost=free,
        saved_as=PosteriorMean.name,
        check=_checks(PosteriorMean.name, PosteriorMeanSection),
    ),
    *(network(architecture) for architecture in ARCHITECTURES.values()),
)

#: Name -> row, in the order estimators are offered.
TABLE: dict[str, EstimatorSpec] = {spec.name: spec for spec in _ROWS}
