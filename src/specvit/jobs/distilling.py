"""Students of a network or of the exact posterior, behind `specvit distil`: how small may a network be?"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from specvit.errors import ConfigError
from specvit.estimators import NetworkEstimator
from specvit.estimators.architectures import architecture_of
from specvit.jobs.judged_stars import judged_stars
from specvit.jobs.learning import (
    Learner,
    check_labels_of,
    endless,
    estimates_of,
    in_memory,
    learnt,
    place_of,
    row_of,
)
from specvit.jobs.stages.posteriors import BANK, sample_posteriors
from specvit.jobs.stages.test_stars import DrawTestStars
from specvit.jobs.trial import simulator_of
from specvit.jobs.watch import Quiet, Watch
from specvit.jobs.worlds import in_words
from specvit.runs import Posteriors, RunFolder
from specvit.runs.identity import content_digest
from specvit.runs.learning_record import LearningRecord, LearningRow
from specvit.simulate import World, splits
from specvit.spectra import MemorySource, SpectraSource
from specvit.training import Recipe
from specvit.training.distillation import stating
from specvit.training.recipe import STATED

#: The teacher that is the exact posterior of the training stars themselves.
POSTERIOR = "posterior"
LABELS = "labels"


@dataclass(frozen=True)
class DistilPlan:
    """How students learn.

    Args:
        students: texts as "subspace-nano:width=32,depth=1".
        labels: they estimate.
        spectra: training stars of a fixed set; 0 for stars that never end, which the posterior cannot teach.
        updates, batch: of every training.
        seeds: trainings per student.
        options: of the recipe: teach, teacher_sigma, teacher_noise, ...
        controls: train each also on the labels themselves.
        test, posteriors: test stars, and of how many of the first the exact posterior judges.
        validation: spectra that choose the weights.
        seed: the first; others follow.
        wanted: share of the ceiling that a student is to keep.
        threads: CPU threads; 0 takes all.
        runs: folder of the runs of studies, which keeps posteriors.
    """

    students: tuple[str, ...]
    labels: tuple[str, ...] = ("log_g",)
    spectra: int = 0
    updates: int = 600
    batch: int = 64
    seeds: int = 2
    options: tuple[tuple[str, Any], ...] = ()
    controls: bool = True
    test: int = 500
    posteriors: int = 200
    validation: int = 500
    seed: int = 42
    wanted: float = 0.97
    threads: int = 1
    runs: Path = Path("runs/studies")


def distil(
    teacher: NetworkEstimator | None,
    named: str,
    world: World,
    plan: DistilPlan,
    folder: Path,
    watch: Watch | None = None,
) -> LearningRecord:
    """Return how well students do, beside the same networks that learnt from labels, and their teacher.

    Args:
        teacher: a network; None for the exact posterior.
        named: folder or name of the teacher.
        world: of all stars.
        plan: how they learn.
        folder: where networks are kept; a command that was stopped goes on with those that are missing.
        watch: told how far it is.

    Raises:
        ConfigError: for students, labels or numbers that cannot be.
    """
    watch = watch or Quiet()
    simulator = simulator_of(world)
    known = simulator.prior.label_space.names if teacher is None else teacher.names
    check_labels_of(plan.labels, known, "the teacher")
    if teacher is None and not plan.spectra:
        raise ConfigError("--spectra: the posterior teaches a fixed set; say how many stars, such as 2000")
    students = [parse_student(text) for text in plan.students]
    for text in plan.students:
        if plan.students.count(text) > 1:
            raise ConfigError(f"--students: '{text}' is named twice")
    # For their refusals, before anything is sampled.
    for text, model, size, options in students:
        _learner(text, named, model, size, options, plan, STATED if teacher is None else named)
    stars = judged_stars(world, plan.test, plan.posteriors, plan.seed, plan.runs, watch)
    validation = in_memory(simulator, splits.VALIDATION, plan.seed, plan.validation)
    compared = {}
    rows: list[LearningRow] = []
    if teacher is not None:
        itself = Learner(named_shortly(named), "teacher", teacher.network.config, Recipe(), plan.labels)
        compared = {label: estimates_of([teacher], stars.batch, label)[0] for label in plan.labels}
        rows += row_of(itself, [teacher], stars, stars.batch, 0, compared, plan.seed)
    taught = taught_sources(teacher, world, plan, watch)
    plain: SpectraSource = (
        in_memory(simulator, splits.TRAIN, plan.seed, plan.spectra)
        if plan.spectra
        else endless(simulator, plan.seed)
    )
    ways = [(named_shortly(named), taught, STATED if teacher is None else named)]
    ways += [(LABELS, plain, "")] if plan.controls else []
    with watch.task("students") as update:
        for done, (text, model, size, options) in enumerate(students):
            for how, source, name in ways:
                update(done, len(students), f"{text}, {how}")
                learner = _learner(text, how, model, size, options, plan, name)
                models = [
                    learnt(learner, source, validation, place_of(folder, learner, source, s), s, plan.threads)
                    for s in range(plan.seed, plan.seed + plan.seeds)
                ]
                rows += row_of(learner, models, stars, stars.batch, plan.spectra, compared, plan.seed)
    judges = {label: stars.judge(label, plan.seed) for label in plan.labels}
    return LearningRecord(
        verb="distil",
        compared=f"{named_shortly(named)}: {POSTERIOR if teacher is None else teacher.described}",
        world=in_words(world),
        test=plan.test,
        posteriors=stars.known_count,
        validation=plan.validation,
        seed=plan.seed,
        date=datetime.date.today().isoformat(),
        ceiling={label: judge.ceiling() for label, judge in judges.items() if judge.is_exact},
        rows=tuple(rows),
        kept={label: smallest(rows, label, plan.wanted) for label, judge in judges.items() if judge.is_exact},
        wanted=plan.wanted,
    )


def taught_sources(
    teacher: NetworkEstimator | None, world: World, plan: DistilPlan, watch: Watch
) -> SpectraSource:
    """Return the training spectra of students; of the posterior as a teacher with what it states as their labels."""
    simulator = simulator_of(world)
    if teacher is not None:
        if plan.spectra:
            return in_memory(simulator, splits.TRAIN, plan.seed, plan.spectra)
        return endless(simulator, plan.seed)
    source = simulator.source(splits.TRAIN, plan.seed, plan.spectra, truth=True)
    drawn = DrawTestStars(source).draw()
    identity = {
        "job": "posteriors of training stars",
        "spectra": drawn.identity,
        "bank": BANK,
        "seed": plan.seed,
    }
    run = RunFolder.create(plan.runs / "taught", content_digest(identity), {}, identity=identity)
    with watch.task("posteriors of the training stars") as update:
        if not run.finished:
            sample_posteriors(simulator, drawn, plan.spectra, plan.seed, update).posteriors.write(run)
            run.finish()
    found = Posteriors.read(run)
    # What did not converge is left out: a wrong statement teaches worse than none.
    good = found.converged
    batch = drawn.batch[torch.from_numpy(found.rows[good])]
    columns = {
        label: (
            torch.from_numpy(found.of("mean", label)[good]),
            torch.from_numpy(found.of("variance", label)[good]).sqrt(),
        )
        for label in plan.labels
    }
    said = stating(batch, columns, source.label_space)
    return MemorySource(said, source.grid, source.label_space, source.lsf)


def parse_student(text: str) -> tuple[str, str, str, dict[str, Any]]:
    """Return text, model, size and options of MODEL-SIZE:OPTION=VALUE,...; ConfigError names what is wrong."""
    name, _, settings = text.partition(":")
    model, _, size = name.partition("-")
    architecture = architecture_of(model)
    config = architecture.size(size or architecture.default_size)
    options: dict[str, Any] = {}
    for setting in filter(None, settings.split(",")):
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(
                f"--students: expected OPTION=VALUE after the colon of '{text}', got '{setting}'"
            )
        options[key] = value
    config.with_options(options)
    return text, model, size or architecture.default_size, options


def smallest(rows: Sequence[LearningRow], label: str, wanted: float) -> str:
    """Return the network with the fewest weights whose share of the ceiling is at least the wanted one, or ""."""
    good = [
        row
        for row in rows
        if row.label == label and row.share is not None and (row.share.value or 0) >= wanted
    ]
    if not good:
        return ""
    best = min(good, key=lambda row: row.parameters)
    return f"{best.name} ({best.how})"


def named_shortly(name: str) -> str:
    """Return what a network is told by: its name, or the last part of its folder."""
    return Path(name).name


def _learner(
    text: str, how: str, model: str, size: str, options: dict[str, Any], plan: DistilPlan, teacher: str
) -> Learner:
    config = architecture_of(model).size(size).with_options(options)
    own = architecture_of(model).recipe
    recipe = replace(own, steps=plan.updates, minutes=0.0, batch=plan.batch, validations=6)
    if teacher:
        recipe = recipe.with_options({"teacher": teacher, **dict(plan.options)})
    return Learner(text, how, config, recipe, plan.labels)
