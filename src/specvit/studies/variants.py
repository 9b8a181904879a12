"""From a study at a scale to its trials: which configuration every variant has under every seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from specvit.errors import ConfigError, SpecvitError
from specvit.jobs.config.trial import TrialConfig, trial_config
from specvit.jobs.denoiser_trial import DenoiserTrial, is_denoiser_trial, prepare_denoiser_trial
from specvit.jobs.trial import Trial, Yardstick, prepare_trial
from specvit.studies.rule import claims_of
from specvit.studies.schema import Scale, Study

Tables = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """One combination of levels.

    Args:
        name: the levels, as rules call it.
        changes: the keys that set it apart, dotted.
        trials: seed -> trial.
        yardstick: the stars its trials are judged by.
    """

    name: str
    changes: dict[str, Any]
    trials: dict[int, Trial]
    yardstick: Yardstick


@dataclass(frozen=True)
class ScaledStudy:
    """A study at one scale, as trials.

    Args:
        study: what was declared.
        scale: name of the scale.
        variants: in the order of the declaration.
    """

    study: Study
    scale: str
    variants: tuple[Variant, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that all variants share."""
        return tuple(self.variants[0].trials)

    def variant(self, name: str) -> Variant:
        """Return a variant by name; the schema has checked the names in rules."""
        return next(variant for variant in self.variants if variant.name == name)


def at_scale(study: Study, name: str, scale: Scale) -> ScaledStudy:
    """Return the trials of a study at a scale.

    Raises:
        ConfigError, DataError: for a variant whose configuration cannot be meant; names study, variant and key.
    """
    changed = study.scale(name)
    seeds = changed.seeds or scale.seeds
    common = merged(scale.settings, study.base, changed.settings)
    variants = []
    for levels in product(*(factor.items() for factor in study.factors.values())):
        chosen = [level for level, _ in levels]
        below = [
            changed.factors.get(factor, {}).get(level, {})
            for factor, level in zip(study.factors, chosen, strict=True)
        ]
        own = merged(*(keys for _, keys in levels), *below)
        variants.append(_variant(study, "/".join(chosen), own, common, seeds))
    return ScaledStudy(study, name, tuple(variants))


def _variant(study: Study, name: str, own: Tables, common: Tables, seeds: Iterable[int]) -> Variant:
    where = f"study {study.id}, variant {name}"
    if "simulate.seed" in dotted(merged(common, own)):
        raise ConfigError(
            f"simulate.seed: the seeds are those of scale and study (`seeds`), the same for all variants ({where})"
        )
    trials = {}
    for seed in seeds:
        try:
            config = trial_config(merged(common, own, {"simulate": {"seed": seed}}), where)
            check_judged(study, config)
            trials[seed] = prepare_any_trial(config)
            check_flux(study, trials[seed])
            if study.needs_focus:
                trials[seed] = replace(trials[seed], focus=study.label)
                check_looks(trials[seed])
        except SpecvitError as error:
            text = str(error)
            raise type(error)(text if where in text else f"{text} ({where})") from None
    first = next(iter(trials.values()))
    if study.needs_bounds and first.config.test.span is not None:
        raise ConfigError(f"test.span: Cramér-Rao bounds are those of whole spectra ({where})")
    yardstick = replace(first.yardstick(study.is_exact), bounds=study.needs_bounds)
    return Variant(name, dotted(own), trials, yardstick)


def prepare_any_trial(config: TrialConfig) -> Trial:
    """Return the trial of a configuration, of an estimator or of a denoiser; errors as `prepare_trial`."""
    return prepare_denoiser_trial(config) if is_denoiser_trial(config) else prepare_trial(config)


def check_flux(study: Study, trial: Trial) -> None:
    """Raise ConfigError unless what is judged of a trial is what it gives."""
    if study.judges_flux != isinstance(trial, DenoiserTrial):
        name, what = trial.choice.name, "flux" if study.judges_flux else "labels"
        raise ConfigError(f"estimator.name: the study judges {what}, of which '{name}' gives none")


def check_looks(trial: Trial) -> None:
    """Raise ConfigError unless it can be said what a trial looks at in the stars it is judged by."""
    if trial.choice.spec.architecture is None or not trial.is_in_own_world:
        raise ConfigError(
            "rule: what is looked at can be said of networks alone, in test stars of the world they learnt in"
        )


def check_judged(study: Study, config: TrialConfig) -> None:
    """Raise ConfigError unless a trial estimates every label that the study judges."""
    labels = config.estimator.labels
    for label in {study.label, *(claim.label for claim in claims_of(study.parsed) if claim.label)}:
        if labels and label not in labels:
            raise ConfigError(f"estimator.labels: the study judges '{label}', which is not among them")


def merged(*tables: Mapping[str, Any]) -> Tables:
    """Return nested tables with those that come later on top, key by key.

    Raises:
        ConfigError: for a key that is a table in one and a value in another, which would silently be lost.
    """
    found: Tables = {}
    for table in tables:
        for key, value in table.items():
            old = found.get(key)
            if key in found and isinstance(old, Mapping) != isinstance(value, Mapping):
                raise ConfigError(
                    f"{key}: a table in one place of the study or scale, and a value in another"
                )
            nested = isinstance(old, Mapping) and isinstance(value, Mapping)
            found[key] = merged(old, value) if nested else value  # type: ignore[arg-type]
    return found


def dotted(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested tables as dotted key -> value."""
    found: dict[str, Any] = {}
    for key, value in tables.items():
        if isinstance(value, Mapping):
            found |= dotted(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
