"""The main job: simulate a survey, fit the estimators, compute the ceilings, score everything.

Every step is a stage of the run folder: a job that was stopped continues after its last finished stage. The
report is made from the folder alone, by whoever called this.
"""

from __future__ import annotations

import numpy as np

from specvit.errors import ConfigError, LabelError
from specvit.jobs.ceilings import bayes_ceiling, crlb_ceiling
from specvit.jobs.config import Config
from specvit.jobs.estimators import fit_and_predict, set_threads, title_of
from specvit.jobs.examples import example_spectra
from specvit.jobs.explanation import explanation
from specvit.jobs.networks import check_names, explained, load_saved, trained_here, unsuitable
from specvit.jobs.progress import Progress, Quiet
from specvit.jobs.scoring import summarise
from specvit.runs import RunFolder, RunIndex
from specvit.simulate import Simulator, World, emulator_fingerprint
from specvit.spectra import SpectraBatch


def run_main_job(config: Config, progress: Progress | None = None, fresh: bool = False) -> RunFolder:
    """Carry out, or continue, the run of a configuration and return its folder.

    Args:
        config: the resolved configuration.
        progress: who watches; nobody if None.
        fresh: start over in a new folder even if the run exists.

    Raises:
        ConfigError, DataError: for a configuration that cannot be meant; names the field.
        RunError: if the run folder cannot be written.
    """
    watch = progress or Quiet()
    set_threads(config.run.threads)
    try:
        simulator = world_of(config).build()
    except LabelError as error:
        raise ConfigError(f"simulate.bounds: {error}") from None
    space = simulator.prior.label_space
    for label in config.models.labels:
        if label not in space.names:
            raise ConfigError(
                f"models.labels: '{label}' is not a label of the library ({', '.join(space.names)})"
            )
    check_names(config.models.names)
    run = RunFolder.create(config.run.folder, config.run.name, config.to_dict(), fresh=fresh)
    watch.say(f"run folder: {run.path}")
    if run.finished:
        watch.say("this run is finished; --fresh starts over in a new folder")
        return run
    target = config.models.labels[0]
    test = _test_set(config, simulator, run, watch)
    names = [name for name in config.models.names if _is_suitable(name, simulator, target, watch)]
    for name in names:
        fit_and_predict(name, config, simulator, test, run, watch)
    _ceilings(config, simulator, test, target, run, watch)
    _explain(config, simulator, test, target, names, run, watch)
    with run.stage("evaluate"), watch.task("evaluate") as update:
        run.write_arrays("examples", **example_spectra(simulator, test, target))
        unit = space.units[space.index(target)]
        variance = simulator.prior.variance(target)
        summary = summarise(run, config.to_dict(), names, target, unit, variance)
        run.write_summary(summary.model_dump())
        update(1, 1)
    run.finish()
    RunIndex(run.path.parent).update(run)
    return run


def _is_suitable(name: str, simulator: Simulator, target: str, watch: Progress) -> bool:
    """Return whether an estimator can be used here; say why if not."""
    reason = unsuitable(name, simulator, target)
    if reason is not None:
        watch.say(f"{title_of(name)} is left out: {reason}")
    return reason is None


def world_of(config: Config) -> World:
    """Return the simulated world of a configuration."""
    simulate = config.simulate
    return World(
        library=config.library.name,
        instrument=config.instrument.name,
        prior=simulate.prior,
        bounds={name: (low, high) for name, (low, high) in simulate.bounds.items()},
        noise_level=simulate.noise_level,
        normalisation=simulate.normalisation,
    )


def _test_set(config: Config, simulator: Simulator, run: RunFolder, watch: Progress) -> SpectraBatch:
    """Draw the test spectra, the same for every estimator and ceiling, and store what the report needs."""
    simulate = config.simulate
    with watch.task("draw the test spectra") as update:
        test = simulator.draw("test", simulate.seed, 0, simulate.test)
        update(1, 1)
    if not run.is_done("test set"):
        with run.stage("test set") as record:
            record["emulator"] = emulator_fingerprint(simulator.observed)
            run.write_arrays(
                "test",
                label_names=np.array(simulator.prior.label_space.names),
                labels=test.known_labels().numpy(),
                snr=test.known_snr().numpy(),
                mag=test.conditions["mag"].numpy(),
            )
    return test


def _explain(
    config: Config,
    simulator: Simulator,
    test: SpectraBatch,
    target: str,
    names: list[str],
    run: RunFolder,
    watch: Progress,
) -> None:
    """Store what one network of the run looks at: a SpecViT if there is one."""
    stars = min(config.evaluate.explain_stars, len(test))
    name = explained(names)
    if name is None or stars < 2 or run.is_done("explain"):
        return
    with run.stage("explain") as record, watch.task(f"what {title_of(name)} looks at") as update:
        network = load_saved(str(run.path / "models" / name) if trained_here(name) else name)
        record["model"] = name
        run.write_arrays("explain", **explanation(network, simulator, test[:stars], target, update))


def _ceilings(
    config: Config, simulator: Simulator, test: SpectraBatch, target: str, run: RunFolder, watch: Progress
) -> None:
    limits = config.limits
    if not run.is_done("crlb"):
        with run.stage("crlb"), watch.task("Cramér-Rao ceiling") as update:
            stars = test[: min(limits.ceiling_stars, len(test))]
            emulator = world_of(config).emulator()
            run.write_arrays("ceiling", **crlb_ceiling(simulator, emulator, stars, target, update))
    if limits.bayes_stars and not run.is_done("bayes"):
        with run.stage("bayes") as record, watch.task("Bayes ceiling") as update:
            stars = test[: min(limits.bayes_stars, limits.ceiling_stars, len(test))]
            arrays, quality = bayes_ceiling(simulator, stars, target, config.simulate.seed, update)
            run.write_arrays("ceiling", **run.read_arrays("ceiling"), **arrays)
            record.update(quality)
