"""A trained network on a few labelled stars of another world, behind `specvit finetune`: what does it save?"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from specvit.errors import ConfigError
from specvit.estimators import NetworkEstimator
from specvit.estimators.architectures import architecture_of
from specvit.jobs.judged_stars import judged_stars
from specvit.jobs.learning import Learner, check_labels_of, estimates_of, learnt, place_of, row_of
from specvit.jobs.regridded import Regridded
from specvit.jobs.trial import simulator_of
from specvit.jobs.watch import Quiet, Watch
from specvit.jobs.worlds import in_words
from specvit.runs.learning_record import LearningRecord, LearningRow
from specvit.simulate import Simulator, World, splits
from specvit.spectra import MemorySource, SpectraSource, WavelengthGrid, collect
from specvit.training import Recipe

#: What of a network is trained further -> `Recipe.frozen`; "scratch" starts anew.
SCRATCH = "scratch"
MODES = {SCRATCH: "none", "frozen": "encoder", "last": "all-but-last", "all": "none"}
UNCHANGED = "as it was"


@dataclass(frozen=True)
class TunePlan:
    """How a network is trained further.

    Args:
        spectra: numbers of labelled stars, each the first of the next larger set.
        modes: of `MODES`.
        labels: that are scored.
        updates, batch: of every training.
        lr, layer_decay: of what starts from the network; the latter where all of it is trained.
        seeds: trainings of each.
        test, posteriors: test stars, and of how many of the first the exact posterior judges.
        validation: labelled stars that choose the weights, the same for all.
        seed: the first; others follow.
        threads: CPU threads; 0 takes all.
        runs: folder of the runs of studies, which keeps posteriors.
    """

    spectra: tuple[int, ...]
    modes: tuple[str, ...] = tuple(MODES)
    labels: tuple[str, ...] = ("log_g",)
    updates: int = 300
    batch: int = 64
    lr: float = 5e-4
    layer_decay: float = 0.7
    seeds: int = 2
    test: int = 500
    posteriors: int = 200
    validation: int = 300
    seed: int = 42
    threads: int = 1
    runs: Path = Path("runs/studies")


def fine_tune(
    first: NetworkEstimator,
    named: str,
    world: World,
    plan: TunePlan,
    folder: Path,
    watch: Watch | None = None,
) -> LearningRecord:
    """Return how a network does in another world: as it is, trained further in several ways, and anew.

    Args:
        first: the network.
        named: its folder.
        world: of the labelled stars and the test; its labels must have the bounds of the network's.
        plan: how it is trained.
        folder: where networks are kept; a command that was stopped goes on with those that are missing.
        watch: told how far it is.

    Raises:
        ConfigError: for modes, labels or numbers that cannot be, or other bounds.
        WavelengthRangeError: for a spectrograph that covers too little of the network's pixels.
    """
    watch, simulator = watch or Quiet(), simulator_of(world)
    check_labels_of(plan.labels, first.names, "the network")
    for mode in plan.modes:
        if mode not in MODES:
            raise ConfigError(f"--modes: '{mode}' is not known; choose {', '.join(MODES)}")
    stars = judged_stars(world, plan.test, plan.posteriors, plan.seed, plan.runs, watch)
    seen = on_pixels(simulator.source(splits.TEST, plan.seed, plan.test), first.grid)
    batch = collect(seen)
    validation = _held(simulator, splits.VALIDATION, plan.seed, plan.validation, first.grid)
    itself = Learner(Path(named).name, UNCHANGED, first.network.config, Recipe(), plan.labels)
    compared = {label: estimates_of([first], batch, label)[0] for label in plan.labels}
    rows = row_of(itself, [first], stars, batch, 0, compared, plan.seed)
    trainings = [(mode, count) for count in plan.spectra for mode in plan.modes]
    with watch.task("trainings") as update:
        for done, (mode, count) in enumerate(trainings):
            update(done, len(trainings), f"{mode}, {count} stars")
            train = _held(simulator, splits.TRAIN, plan.seed, count, first.grid)
            learner = _learner(first, named, mode, plan)
            models = [
                learnt(learner, train, validation, place_of(folder, learner, train, s), s, plan.threads)
                for s in range(plan.seed, plan.seed + plan.seeds)
            ]
            scored = replace(learner, labels=plan.labels)
            rows += row_of(scored, models, stars, batch, count, compared, plan.seed)
    judges = {label: stars.judge(label, plan.seed) for label in plan.labels}
    return LearningRecord(
        verb="finetune",
        compared=f"{Path(named).name}, {UNCHANGED}: {first.described}",
        world=in_words(world),
        test=plan.test,
        posteriors=stars.known_count,
        validation=plan.validation,
        seed=plan.seed,
        date=datetime.date.today().isoformat(),
        ceiling={label: judge.ceiling() for label, judge in judges.items() if judge.is_exact},
        rows=tuple(rows),
        saved=labels_saved(rows, plan.labels),
    )


def labels_saved(
    rows: Sequence[LearningRow], labels: Sequence[str]
) -> dict[str, dict[str, dict[int, float | None]]]:
    """Return way -> label -> {stars: how many stars from scratch give the same R², over these stars}.

    None where the curve from scratch does not reach that score, or lies above it from its first point on.
    """
    found: dict[str, dict[str, dict[int, float | None]]] = {}
    for label in labels:
        mine = [row for row in rows if row.label == label and row.spectra and row.r2.value is not None]
        curve = [(row.spectra, row.r2.value) for row in mine if row.how == SCRATCH]
        for row in mine:
            if row.how != SCRATCH and len(curve) > 1:
                needed = _reaches(curve, float(row.r2.value or 0.0))  # type: ignore[arg-type]
                worth = None if needed is None else needed / row.spectra
                found.setdefault(row.how, {}).setdefault(label, {})[row.spectra] = worth
    return found


def on_pixels(source: SpectraSource, grid: WavelengthGrid) -> SpectraSource:
    """Return spectra on the pixels of a network: as they are, or moved there."""
    return source if source.grid.fingerprint == grid.fingerprint else Regridded(source, grid)


def _reaches(curve: list[tuple[int, float]], score: float) -> float | None:
    """Return the number of stars at which a curve first reaches a score, linear in ln stars; None if nowhere."""
    for (few, low), (many, high) in pairwise(curve):
        if low <= score <= high:
            share = (score - low) / (high - low) if high > low else 0.0
            return float(np.exp(np.log(few) + share * (np.log(many) - np.log(few))))
    return None


def _held(simulator: Simulator, split: str, seed: int, count: int, grid: WavelengthGrid) -> MemorySource:
    source = on_pixels(simulator.source(split, seed, count, truth=True), grid)
    return MemorySource(collect(source), source.grid, source.label_space, source.lsf)


def _learner(first: NetworkEstimator, named: str, mode: str, plan: TunePlan) -> Learner:
    config = first.network.config
    recipe = replace(
        architecture_of(config.model).recipe, steps=plan.updates, minutes=0.0, batch=plan.batch, validations=6
    )
    if mode != SCRATCH:
        decay = plan.layer_decay if mode == "all" else 1.0
        recipe = replace(recipe, start=named, frozen=MODES[mode], lr=plan.lr, layer_decay=decay)
    return Learner(Path(named).name, mode, config, recipe, first.names)
