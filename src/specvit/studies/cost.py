"""What a run will take, from runs of its kind that are done; before there are any, from rough rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from pydantic import ValidationError

from specvit.errors import SpecvitError
from specvit.estimators.architectures import ARCHITECTURES
from specvit.estimators.table import TABLE
from specvit.jobs.config.trial import TrialConfig
from specvit.jobs.denoiser_trial import is_denoiser_trial
from specvit.jobs.trial import Trial, Yardstick
from specvit.runs import RunFolder
from specvit.runs.folder import CONFIG
from specvit.studies.store import Store

#: Seconds of one core per spectrum seen in a fit, by family, and per posterior. For plans only: nothing is decided by
#: them, and a store with finished runs does not use them.
FIRST_RATES = {"network": 2e-3, "denoiser": 1e-2, "trees": 5e-3, "linear": 3e-4}
OTHER_RATE, POSTERIOR_RATE = 1e-3, 0.3
#: A run says nothing of one with so many times its work: what it took was mostly starting.
FARTHEST = 10.0
#: Seconds of a run that do not grow with its spectra, and bytes of a folder.
LEAST_SECONDS, FIRST_BYTES = 0.5, 3e6


@dataclass(frozen=True)
class Cost:
    """What a run will take: seconds of one core, and bytes of disk."""

    seconds: float
    bytes: float


@dataclass
class Costs:
    """Work with seconds per unit of it, and bytes, by kind of run, of those that are done."""

    rates: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    sizes: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def of(cls, store: Store) -> Costs:
        """Return what the finished runs of a store took."""
        costs = cls()
        for config in sorted(store.root.glob(f"*/*/{CONFIG}")):
            try:
                costs._learn(RunFolder.open(config.parent))
            except (SpecvitError, ValidationError):
                # A damaged run, or one of another version, says nothing of costs.
                continue
        return costs

    def estimate(self, run: Trial | Yardstick) -> Cost:
        """Return what a run will take."""
        kind, work, rate = _work(run.config) if isinstance(run, Trial) else _stars(run.stars, run.bank)
        alike = [known for done, known in self.rates.get(kind, ()) if done * FARTHEST >= work]
        rate = median(alike) if alike else rate
        size = median(self.sizes[kind]) if kind in self.sizes else FIRST_BYTES
        return Cost(LEAST_SECONDS + rate * work, size)

    def _learn(self, run: RunFolder) -> None:
        if not run.finished:
            return
        config = run.config
        if "estimator" in config:
            kind, work, _ = _work(TrialConfig.model_validate(config))
        else:
            kind, work, _ = _stars(config["stars"], config["bank"])
        seconds = sum(stage["seconds"] for stage in run.stages.values())
        self.rates.setdefault(kind, []).append((work, max(seconds - LEAST_SECONDS, 0) / work))
        size = sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
        self.sizes.setdefault(kind, []).append(size)


#: What a training grows with, roughly, and with which power: of the catalogue's networks on a CPU, start included.
POWERS = {"width": 1.5, "depth": 0.8, "blocks": 0.8, "kernel": 1.0, "patch": -1.25}


def relative_effort(name: str, options: Mapping[str, Any]) -> float:
    """Return the work of a pass through a network with options over that of its size as it comes, roughly.

    Args:
        name: MODEL-SIZE.
        options: of trial and training; those that are none of the network are passed over.
    """
    model, _, size = name.partition("-")
    usual = ARCHITECTURES[model].size(size)
    own = {key: value for key, value in options.items() if key in usual.option_names}
    changed, effort = usual.with_options(own).backbone, 1.0
    for key, power in POWERS.items():
        if hasattr(changed, key):
            # A network without a block still has its tokens and its head.
            new, old = (max(getattr(one, key), 1) for one in (changed, usual.backbone))
            effort *= (new / old) ** power
    # Tokens that overlap are as many as there are strides.
    stride, patch = (getattr(changed, key, 0) for key in ("stride", "patch"))
    return effort * (stride / patch) ** POWERS["patch"] if stride and patch else effort


def _work(config: TrialConfig) -> tuple[str, float, float]:
    """Return the kind of a trial, the spectra its fit sees (more of a larger network), and a first guess of seconds for one."""
    name = config.estimator.name
    model = name.partition("-")[0]
    if model in ARCHITECTURES and model != name:
        options = {**config.training.options, **config.estimator.options}
        batch = options.get("batch", ARCHITECTURES[model].recipe.batch)
        seen = config.training.updates * float(str(batch))
        return name, seen * relative_effort(name, options), FIRST_RATES["network"]
    if is_denoiser_trial(config):
        batch = {**config.training.options, **config.estimator.options}.get("batch", 64)
        return name, config.training.updates * float(str(batch)), FIRST_RATES["denoiser"]
    family = TABLE[name].family if name in TABLE else ""
    if family in FIRST_RATES:
        return name, config.simulate.train, FIRST_RATES[family]
    # Saved networks, template fits and posterior means only estimate.
    return name, config.test.stars, OTHER_RATE


def _stars(stars: int, bank: int) -> tuple[str, float, float]:
    return ("posteriors", stars, POSTERIOR_RATE) if bank else ("stars", stars, 0.0)
