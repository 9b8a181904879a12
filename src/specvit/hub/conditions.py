"""Under which conditions a variant was scored: its configuration, put together as its trials were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from specvit.errors import ConfigError
from specvit.estimators.architectures import ARCHITECTURES
from specvit.hub.knowledge import Knowledge, Known
from specvit.jobs.config.trial import TrialConfig, trial_config
from specvit.report.words import count
from specvit.studies.variants import merged


@dataclass(frozen=True)
class Conditions:
    """What a variant was trained with.

    Args:
        estimator: its name.
        training: spectra and updates, in words.
        noise: noise level of training and test, in words.
        changes: the keys that set it apart in its study, in words.
    """

    estimator: str
    training: str
    noise: str
    changes: str


def baseline(knowledge: Knowledge, estimator: str) -> TrialConfig:
    """Return what a trial of an estimator is at the scale before any study changes it."""
    return trial_config(merged(knowledge.settings.settings, {"estimator": {"name": estimator}}), "the scale")


def config_of(known: Known, variant: str, knowledge: Knowledge) -> TrialConfig | None:
    """Return the configuration of a variant that was judged; None if it is not what is declared any more."""
    if known.study is None or known.result is None:
        return None
    try:
        tables = merged(
            knowledge.settings.settings,
            known.study.base,
            known.study.scale(knowledge.scale).settings,
            nested(known.result.variants[variant].changes),
        )
        return trial_config(tables, f"study {known.id}, variant {variant}")
    except ConfigError:
        return None


def conditions_of(known: Known, variant: str, knowledge: Knowledge) -> Conditions | None:
    """Return the conditions of a variant that was judged; None as `config_of`."""
    config = config_of(known, variant, knowledge)
    if config is None or known.result is None:
        return None
    trained, tested = config.simulate.noise_level, config.test.noise_level
    return Conditions(
        config.estimator.name,
        training_text(config),
        f"{trained:g}" if tested in (None, trained) else f"{trained:g}, tested at {tested:g}",
        changes_text(known.result.variants[variant].changes),
    )


def training_text(config: TrialConfig) -> str:
    """Return from which spectra an estimator learns, and for how long."""
    name = config.estimator.name
    if name.partition("-")[0] not in ARCHITECTURES:
        return f"{count(config.simulate.train)} spectra"
    spectra = f"{count(config.simulate.train)} spectra" if config.training.from_set else "new spectra"
    return f"{spectra}, {count(config.training.updates)} updates"


def changes_text(changes: Mapping[str, Any]) -> str:
    """Return the keys that set a variant apart."""
    return ", ".join(f"{key} = {value}" for key, value in changes.items()) or "as it is"


def nested(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted keys as nested tables; ConfigError for a key that is a table and a value."""
    found: dict[str, Any] = {}
    for key, value in changes.items():
        *sections, last = key.split(".")
        table = found
        for section in sections:
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                raise ConfigError(f"{key}: '{section}' has a value of its own")
        table[last] = value
    return found
