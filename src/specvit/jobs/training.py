"""The training, behind `specvit train`: train one estimator on simulated or stored spectra, and score it.

The stages are those of the survey; a network is trained in all processes of a distributed start, the run folder
is the first one's.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from specvit.denoise.making import FITTED
from specvit.documents.words import did_you_mean
from specvit.errors import ConfigError
from specvit.estimators import Choice, Setting
from specvit.estimators.network_fitter import network_to_start_from
from specvit.estimators.table import TABLE
from specvit.jobs.config.training import DataSection, TrainingConfig, is_reference
from specvit.jobs.sources import Sources
from specvit.jobs.stages import DrawTestStars, FitEstimator, Fitted, RecordScores, ScoreAll, TestStars
from specvit.jobs.stages.fit import checkpoint_folder, stage_name
from specvit.jobs.survey import check_labels, scoring_of
from specvit.jobs.watch import Quiet, Watch
from specvit.jobs.work import Work
from specvit.jobs.worlds import build_world, in_words, set_threads, world_of
from specvit.runs import RunFolder, RunIndex
from specvit.simulate import ReferenceShards, Simulator, StoredSpectra, World, endless, splits
from specvit.spectra import SpectraSource
from specvit.training.distributed import Processes, join_processes, leave_processes
from specvit.training.recipe import LOSS

NAME = "training"

#: Training stars of an estimator that reads a fixed set, if no number is asked for.
FIXED_STARS = 20_000

#: Fewest different training stars: what the components of a subspace network span.
LEAST_STARS = 48


def run_training(
    config: TrainingConfig,
    watch: Watch | None = None,
    fresh: bool = False,
) -> RunFolder | None:
    """Carry out, or continue, a training and return its folder; None in all processes but the first.

    Args:
        config: the configuration.
        watch: who is told; nobody if None.
        fresh: start over in a new folder even if the run exists.

    Raises:
        ConfigError, DataError: for a configuration that cannot be meant; names the field.
        RunError: if the run folder cannot be written, or a checkpoint belongs to another training.
    """
    watch = watch or Quiet()
    set_threads(config.run.threads)
    choice, options = chosen(config)
    if not config.data.train and 0 < config.simulate.train < LEAST_STARS:
        raise ConfigError(f"--spectra: expected 0 or at least {LEAST_STARS}, got {config.simulate.train}")
    sources = open_sources(config, 0 if choice.spec.draws_spectra else FIXED_STARS)
    check_labels("--labels", config.network.labels, sources.drawn.label_space.names)
    processes = join_processes(config.network.device)
    try:
        return _carry_out(config, choice, options, sources, processes, watch, fresh)
    finally:
        leave_processes(processes)


def chosen(config: TrainingConfig) -> tuple[Choice, dict[str, Any]]:
    """Return the estimator of a training and its options, checked."""
    network = config.network
    spec = TABLE.get(network.model)
    if spec is None or not spec.learns:
        names = [*(name for name, one in TABLE.items() if one.learns), *FITTED]
        raise ConfigError(
            f"model: '{network.model}' is not known; choose {', '.join(names)}{did_you_mean(network.model, names)}"
        )
    architecture = spec.architecture
    if architecture is None:
        if network.size:
            raise ConfigError(f"--size: {network.model} has no sizes")
        return Choice(spec.name, spec.name, spec, spec.title), spec.check(network.options)
    size = network.size or architecture.default_size
    known, recipe = architecture.split_options(size, network.options)
    # For its refusals, before any file of spectra is opened.
    architecture.size(size).with_options(known)
    network_to_start_from(recipe.start)
    name = f"{network.model}-{size}"
    return Choice(name, name, spec, spec.title_of(size), size), dict(network.options)


def open_sources(config: TrainingConfig, stars_by_default: int = 0) -> Sources:
    """Return the spectra of a training; what is not stored is simulated.

    Args:
        config: the configuration.
        stars_by_default: training stars where it asks for no number; 0: as many as are drawn.

    Raises:
        DataError: if a file or folder cannot be used; names it.
    """
    data, stars = config.data, config.simulate
    world = stored_world(data) or world_of(config.library, config.instrument, config.simulate)
    simulator = None if data.is_complete else build_world(world)

    def held_out(path: str | None, split: str, count: int) -> SpectraSource:
        if path is not None:
            return _open((path,), split, stars.seed)
        assert simulator is not None
        if split == splits.VALIDATION and config.network.options.get("monitor") == LOSS:
            # What is to be good on all spectra trained on is chosen on such spectra.
            return build_world(replace(world, widening=stars.widening)).source(split, stars.seed, count)
        # As in `simulated`: stages show the truth of test spectra, estimators never receive it.
        return simulator.source(split, stars.seed, count, truth=split == splits.TEST)

    train: SpectraSource | None = None
    drawn: SpectraSource
    if data.train:
        train = drawn = _open(data.train, splits.TRAIN, stars.seed)
    else:
        # Test spectra are the survey's own, as are, unless the loss chooses, those that choose the weights.
        wider = build_world(replace(world, widening=stars.widening))
        drawn = endless(wider, stars.seed)
        if count := stars.train or stars_by_default:
            train = drawn = wider.source(splits.TRAIN, stars.seed, count)
    return Sources(
        train=train,
        drawn=drawn,
        validation=held_out(data.validation, splits.VALIDATION, stars.validation),
        test=held_out(data.test, splits.TEST, stars.test),
        simulator=simulator,
        seed=stars.seed,
    )


def open_test_spectra(config: TrainingConfig) -> tuple[SpectraSource, World | None]:
    """Return the test spectra of a training alone, and the world they are of; None for the reference work's files.

    Raises:
        DataError: if a file or folder cannot be used; names it.
    """
    data, seed = config.data, config.simulate.seed
    if data.test is not None:
        if is_reference(data.test):
            return _open((data.test,), splits.TEST, seed), None
        stored = StoredSpectra(data.test)
        return stored, replace(stored.world, widening=None)
    world = stored_world(data) or world_of(config.library, config.instrument, config.simulate)
    world = replace(world, widening=None)
    return build_world(world).source(splits.TEST, seed, splits.ENDLESS, truth=True), world


def stored_world(data: DataSection) -> World | None:
    """Return the world that a folder of simulated training spectra was drawn from; None without one."""
    if not data.train or is_reference(data.train[0]):
        return None
    return StoredSpectra(data.train[0]).world


def training_identity(config: TrainingConfig, sources: Sources) -> dict[str, Any]:
    """Return what the results of a training depend on, with spectra by their content instead of their names."""
    science = config.science()
    # What they stand for is below, by the content of the spectra.
    for section in ("library", "instrument", "data", "simulate"):
        del science[section]
    spectra = (("train", sources.drawn), ("validation", sources.validation), ("test", sources.test))
    first = network_to_start_from(str(config.network.options.get("start", "auto")))
    return {
        "job": NAME,
        "settings": science,
        # By its weights: a folder may be trained anew under its old name.
        **({} if first is None else {"start": first.described}),
        "seed": sources.seed,
        "spectra": {role: source.provenance["identity"] for role, source in spectra},
        "counts": sources.counts,
    }


def _carry_out(
    config: TrainingConfig,
    choice: Choice,
    options: dict[str, Any],
    sources: Sources,
    processes: Processes,
    watch: Watch,
    fresh: bool,
) -> RunFolder | None:
    setting = Setting(
        labels=config.network.labels or None,
        simulator=sources.simulator,
        seed=sources.seed,
        threads=config.run.threads,
        options=options,
        device=config.network.device,
    )
    if not processes.is_first:
        # The place of the checkpoints comes from the first process, which alone writes.
        _train_along(choice, setting, sources, Path(processes.tell("")))
        return None
    identity = training_identity(config, sources)
    where = config.run
    run = RunFolder.create(where.folder, where.name, config.to_dict(), identity=identity, fresh=fresh)
    watch.say(f"run folder: {run.path}")
    # No place, no training: the others have nothing to take part in.
    processes.tell("" if run.is_done(stage_name(choice)) else str(checkpoint_folder(run, choice)))
    if run.finished:
        watch.say("this training is finished; --fresh starts over in a new folder")
        return run
    if sources.simulator is not None and sources.simulator.cut is not None:
        watch.say(sources.simulator.cut)
    work = Work(run, watch)
    test = work.do(DrawTestStars(sources.test))
    fitted = work.do(FitEstimator(choice, setting, sources, test))
    if warning := fitted.record.warning:
        watch.say(f"{choice.title}: {warning}")
    summary = work.do(_scores(config, sources, test, fitted))
    if choice.spec.architecture is not None:
        work.do(RecordScores(fitted, summary))
    run.finish()
    RunIndex(run.path.parent).update(run)
    return run


def _train_along(choice: Choice, setting: Setting, sources: Sources, folder: Path) -> None:
    """Take this process's share of the training, if there is one to be done."""
    # Path("") is Path(): the first process sent no place.
    if folder != Path() and choice.spec.draws_spectra:
        model = choice.spec.build(replace(setting, size=choice.size, folder=folder))
        model.fit(sources.drawn, sources.validation)


def _scores(config: TrainingConfig, sources: Sources, test: TestStars, fitted: Fitted) -> ScoreAll:
    known = [label for label in test.table.names if fitted.estimates.knows(label)]
    monitor = str(config.network.options.get("monitor", "log_g"))
    return ScoreAll(
        job=NAME,
        target=monitor if monitor in known else known[0],
        test=test,
        fitted=[fitted],
        scoring=scoring_of(config.evaluate, config.simulate.seed),
        variances=_variances(sources.simulator, test),
        setting=_setting(config, sources),
        counts=sources.counts,
        model=fitted.record.model,
    )


def _variances(simulator: Simulator | None, test: TestStars) -> dict[str, float]:
    """Return the variance of each label under the prior; without a world that of the test spectra."""
    if simulator is None:
        return {name: float(test.table.truth(name).var()) for name in test.table.names}
    return {name: simulator.prior.variance(name) for name in test.table.names}


def _setting(config: TrainingConfig, sources: Sources) -> dict[str, str]:
    words = {}
    if sources.simulator is not None and sources.simulator.world is not None:
        words["World"] = in_words(sources.simulator.world)
    stored = {"training": config.data.train, "validation": config.data.validation, "test": config.data.test}
    read = "; ".join(f"{role} {paths}" for role, paths in stored.items() if paths)
    return words | ({"Stored spectra": read} if read else {})


def _open(paths: tuple[str, ...], split: str, seed: int) -> SpectraSource:
    if not is_reference(paths[0]):
        return StoredSpectra(paths[0])
    training = split == splits.TRAIN
    # Its own truth is known, and never shown to an estimator: the subspace network finds its subspace from it.
    return ReferenceShards(paths, split=split, seed=seed, fresh_noise=training, truth=training)
