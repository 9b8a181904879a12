"""The survey, behind `specvit run`: simulate, fit the estimators, compute the ceilings, score everything.

Every step is a stage of the run folder: a survey that was stopped continues after its last finished stage. The
report is made from the folder alone, by whoever called this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from specvit.errors import ConfigError, DataError
from specvit.estimators import TABLE, Choice, Setting, choose_all, find_bundle
from specvit.evaluate.slices import BESIDE_LABELS
from specvit.jobs.config import Config, EvaluateSection, ModelsSection
from specvit.jobs.sources import Sources, simulated
from specvit.jobs.stages import (
    BoundStars,
    DrawTestStars,
    ExplainNetwork,
    FitEstimator,
    Fitted,
    SamplePosteriors,
    Sampling,
    ScoreAll,
    Scoring,
    ShowExamples,
    TestStars,
)
from specvit.jobs.watch import Quiet, Watch
from specvit.jobs.work import Work
from specvit.jobs.worlds import build_world, differences, in_words, set_threads, unsuitable, world_of
from specvit.runs import RunFolder, RunIndex, StarBounds, world_warning
from specvit.runs.identity import file_digest
from specvit.simulate import Simulator, World
from specvit.spectra.labels import STELLAR_UNITS

NAME = "survey"


def run_survey(config: Config, watch: Watch | None = None, fresh: bool = False) -> RunFolder:
    """Carry out, or continue, the survey of a configuration and return its folder.

    Args:
        config: the resolved configuration.
        watch: who is told; nobody if None.
        fresh: start over in a new folder even if the run exists.

    Raises:
        ConfigError, DataError: for a configuration that cannot be meant; names the field.
        RunError: if the run folder cannot be written.
    """
    watch = watch or Quiet()
    set_threads(config.run.threads)
    world = world_of(config.library, config.instrument, config.simulate)
    simulator, choices = build_world(world), choose_all(config.models.names)
    check_labels("models.labels", config.models.labels, simulator.prior.label_space.names)
    check_options(config.models, choices)
    # All that can be refused is refused before there is a folder.
    missing = check_slices(config.evaluate, simulator.prior.label_space.names)
    usable, left_out = _divide(choices, simulator, config.models.labels[0])
    run = RunFolder.create(
        config.run.folder,
        config.run.name,
        config.to_dict(),
        identity=survey_identity(config, simulator, choices),
        fresh=fresh,
    )
    watch.say(f"run folder: {run.path}")
    if run.finished:
        watch.say("this run is finished; --fresh starts over in a new folder")
        return run
    if simulator.cut is not None:
        watch.say(simulator.cut)
    for name in missing:
        watch.say(f"slice '{name}' is left out: the library lacks one of its labels")
    for choice, reason in left_out:
        watch.say(f"{choice.title} is left out: {reason}")
    # Before the long work, and again beside the scores.
    for choice, differs in usable:
        if differs:
            watch.warn(world_warning(choice.title, differs))
    _carry_out(config, world, simulator, usable, Work(run, watch))
    run.finish()
    RunIndex(run.path.parent).update(run)
    return run


def survey_identity(config: Config, simulator: Simulator, choices: Sequence[Choice]) -> dict[str, Any]:
    """Return what the results of a survey depend on, with files by their content instead of their names."""
    science = config.science()
    # Their content is in `world`; a name or path alone would tie the run to a place.
    for section in ("library", "instrument"):
        del science[section]
    # Estimators stand below by content; options count for those that are fitted here.
    del science["models"]["names"]
    fitted = {choice.spec.name for choice in choices if choice.is_fitted_here}
    options = science["models"]["options"]
    science["models"]["options"] = {name: options[name] for name in options if name in fitted}
    return {
        "job": NAME,
        "settings": science,
        "world": simulator.identity,
        # In their order, which is that of the report.
        "estimators": [[choice.key, estimator_identity(choice)] for choice in choices],
    }


def estimator_identity(choice: Choice) -> str:
    """Return what an estimator of a job is: its name, or the content of the folder or file it is read from.

    Of a class of the user's own that is the file it is written in; what that file imports is not followed.
    """
    content = choice.folder or choice.source
    return choice.name if content is None else file_digest(content)


def learnt_from(options: Mapping[str, Any]) -> dict[str, str]:
    """Return option -> content of the saved network that it names: to start from, to learn from, or to be probed."""
    found = {}
    for option in ("start", "teacher", "network"):
        name = options.get(option)
        try:
            found[option] = file_digest(find_bundle(str(name))) if name else ""
        # A word such as "random", or what will be refused by whoever reads it.
        except DataError:
            continue
    return {option: digest for option, digest in found.items() if digest}


def check_labels(option: str, labels: Sequence[str], known: Sequence[str]) -> None:
    """Raise ConfigError, naming the option, for a label that the library does not have."""
    for label in labels:
        if label not in known:
            raise ConfigError(f"{option}: '{label}' is not a label of the library ({', '.join(known)})")


def check_options(models: ModelsSection, choices: Sequence[Choice]) -> None:
    """Raise ConfigError for options of no estimator, or that it does not have; one not in the run needs none."""
    specs = TABLE | {choice.spec.name: choice.spec for choice in choices}
    for name, options in models.options.items():
        if name not in specs:
            raise ConfigError(f"models.options.{name}: no such estimator; choose {', '.join(specs)}")
        specs[name].check(options)


def check_slices(evaluate: EvaluateSection, known: Sequence[str]) -> list[str]:
    """Return the slices that cannot be cut here, as the library lacks one of their labels.

    Raises:
        ConfigError: for a key that no library has.
    """
    missing = []
    for name, box in evaluate.slices.items():
        for key in box:
            if key not in (*known, *STELLAR_UNITS, *BESIDE_LABELS):
                choices = ", ".join((*known, *BESIDE_LABELS))
                raise ConfigError(f"evaluate.slices.{name}: '{key}' is not known; choose {choices}")
        if not set(box) <= {*known, *BESIDE_LABELS}:
            missing.append(name)
    return missing


def scoring_of(evaluate: EvaluateSection, seed: int) -> Scoring:
    """Return how the evaluation section of a configuration scores."""
    return Scoring(evaluate.snr_edges, evaluate.slices, evaluate.bootstrap, seed)


#: Estimators of a run, each with `differences` of the world it was trained in.
Usable = list[tuple[Choice, dict[str, str]]]


def _divide(
    choices: Sequence[Choice], simulator: Simulator, target: str
) -> tuple[Usable, list[tuple[Choice, str]]]:
    """Return the estimators that can be used here, and others with the reason why they cannot be.

    Raises:
        ConfigError: if none can.
    """
    usable: Usable = []
    left_out: list[tuple[Choice, str]] = []
    for choice in choices:
        reason = unsuitable(choice, simulator, target)
        if reason is None:
            usable.append((choice, differences(choice, simulator)))
        else:
            left_out.append((choice, reason))
    if not usable:
        told = "; ".join(f"{choice.name}: {reason}" for choice, reason in left_out)
        raise ConfigError(
            f"models.names: none of the estimators can be used in this world; name another ({told})"
        )
    return usable, left_out


def _carry_out(
    config: Config,
    world: World,
    simulator: Simulator,
    choices: Usable,
    work: Work,
) -> None:
    simulate, limits, target = config.simulate, config.limits, config.models.labels[0]
    sources = simulated(simulator, simulate.seed, simulate.train, simulate.validation, simulate.test)
    test = work.do(DrawTestStars(sources.test))
    fitted = _fit_all(config, simulator, choices, sources, test, work)
    bounds = work.do(BoundStars(simulator, world.emulator(), test, limits.ceiling_stars, target))
    sampling = _posteriors(config, simulator, test, work)
    work.do(ShowExamples(simulator, test, target))
    _explain(config.evaluate.explain_stars, simulator, test, fitted, target, work)
    work.do(_scores(config, world, simulator, sources, test, fitted, bounds, sampling))


def _fit_all(
    config: Config,
    simulator: Simulator,
    choices: Usable,
    sources: Sources,
    test: TestStars,
    work: Work,
) -> list[Fitted]:
    """Fit or load every estimator; `choices` are those that can be used, with `differences` of their worlds."""
    fitted = []
    for choice, differs in choices:
        setting = Setting(
            # A network estimates all labels of its spectra at once; others are fitted label by label.
            labels=config.models.labels if choice.spec.architecture is None else None,
            simulator=simulator,
            seed=config.simulate.seed,
            threads=config.run.threads,
            options=choice.spec.check(config.models.options_of(choice.spec.name, choice.spec.draws_spectra)),
        )
        fitted.append(work.do(FitEstimator(choice, setting, sources, test, differs)))
        if warning := fitted[-1].record.warning:
            work.watch.say(f"{choice.title}: {warning}")
    return fitted


def _posteriors(config: Config, simulator: Simulator, test: TestStars, work: Work) -> Sampling | None:
    # Exact and Gaussian ceiling are compared on the same stars.
    stars = min(config.limits.bayes_stars, config.limits.ceiling_stars)
    return work.do(SamplePosteriors(simulator, test, stars, config.simulate.seed)) if stars else None


def _explain(
    stars: int, simulator: Simulator, test: TestStars, fitted: Sequence[Fitted], target: str, work: Work
) -> None:
    """Keep what one network of the run looks at: one with attention over the whole spectrum if there is one."""
    networks = {one: one.choice.spec.architecture for one in fitted}
    known = [one for one, architecture in networks.items() if architecture is not None]
    attending = [one for one, architecture in networks.items() if architecture and architecture.attends]
    if stars >= 2 and known:
        work.do(ExplainNetwork((attending or known)[0], simulator, test, stars, target))


def _scores(
    config: Config,
    world: World,
    simulator: Simulator,
    sources: Sources,
    test: TestStars,
    fitted: Sequence[Fitted],
    bounds: StarBounds,
    sampling: Sampling | None,
) -> ScoreAll:
    prior = simulator.prior
    return ScoreAll(
        job=NAME,
        target=config.models.labels[0],
        test=test,
        fitted=fitted,
        scoring=scoring_of(config.evaluate, config.simulate.seed),
        variances={name: prior.variance(name) for name in prior.label_space.names},
        setting={"World": in_words(world)},
        counts=sources.counts,
        bounds=bounds,
        sampling=sampling,
    )
