"""The trial: one estimator, fitted once, and what it says of the test stars; and the yardstick it is judged by.

Studies compare trials. A trial is known by the content of all that its estimates depend on, so that studies which ask
for the same one share it. A yardstick is a set of test stars with their exact posteriors; it is computed once for all
trials on these stars. Both are jobs on the stages of the survey, and both continue when they were stopped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from specvit.errors import ConfigError
from specvit.estimators import Choice, Setting, choose
from specvit.jobs.config.trial import TrialConfig
from specvit.jobs.sources import Sources
from specvit.jobs.stages import (
    BoundStars,
    DrawTestStars,
    EstimateElsewhere,
    FitEstimator,
    FocusOnLines,
    SamplePosteriors,
)
from specvit.jobs.stages.elsewhere import elsewhere_key, elsewhere_stage
from specvit.jobs.survey import check_labels, estimator_identity, learnt_from
from specvit.jobs.watch import Quiet, Watch
from specvit.jobs.work import Work
from specvit.jobs.worlds import build_world, set_threads, unsuitable, world_of
from specvit.runs import Estimates, RunFolder
from specvit.runs.identity import content_digest
from specvit.simulate import Simulator, WithoutReserve, World, splits
from specvit.spectra import Cropped, MemorySource, SpectraSource, collect, cropped_identity
from specvit.training.recipe import RESTORING

#: Worlds kept at once; a study has a few, and each takes a third of a second to build.
WORLDS = 16


@dataclass(frozen=True)
class Yardstick:
    """Test stars, and what can be known of them.

    Args:
        world: theirs.
        stars, seed: see `JudgedStarsSection`.
        bank: of the sampler of posteriors; 0 for stars without posteriors, which only their labels judge.
        bounds: whether their Cramér-Rao bounds are wanted too; they are kept beside, so this changes no digest.
        span: first and last wavelength (Å) that is not dead, or None.
    """

    world: World
    stars: int
    seed: int
    bank: int
    bounds: bool = False
    span: tuple[float, float] | None = None

    @property
    def source(self) -> SpectraSource:
        """The test spectra, with their truth."""
        whole = simulator_of(self.world).source(splits.TEST, self.seed, self.stars, truth=True)
        return whole if self.span is None else Cropped(whole, *self.span)

    @property
    def spectra(self) -> str:
        """The identity of the test spectra."""
        whole = _identity_of(self.world, splits.TEST, self.seed, self.stars)
        return whole if self.span is None else cropped_identity(whole, *self.span)

    @property
    def identity(self) -> dict[str, Any]:
        """What its content depends on."""
        return {"job": "yardstick", "spectra": self.spectra, "seed": self.seed, "bank": self.bank}

    @property
    def digest(self) -> str:
        """The digest of `identity`."""
        return content_digest(self.identity)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values; `yardstick_from` reads them back."""
        known = {"world": self.world.to_dict(), "stars": self.stars, "seed": self.seed, "bank": self.bank}
        known |= {"bounds": True} if self.bounds else {}
        return known | ({} if self.span is None else {"span": list(self.span)})


def yardstick_from(values: dict[str, Any]) -> Yardstick:
    """Return the yardstick of what `Yardstick.to_dict` gave."""
    span = values.get("span")
    own = {"world": World.from_dict(values["world"]), "span": None if span is None else tuple(span)}
    return Yardstick(**{**values, **own})


@dataclass(frozen=True)
class Trial:
    """A trial that can be carried out: everything that can be refused has been looked at.

    Args:
        config: its configuration.
        choice: the estimator.
        options: those it is built with.
        world: of training, validation and its own test stars.
        elsewhere: further stars it is to estimate.
        focus: the label for which it is to be kept what a network looks at in its own test stars; "" for none.
    """

    config: TrialConfig
    choice: Choice
    options: dict[str, Any]
    world: World
    elsewhere: tuple[Yardstick, ...] = ()
    focus: str = ""

    @property
    def identity(self) -> dict[str, Any]:
        """What its estimates depend on, with spectra and saved estimators by their content."""
        config = self.config
        stars, test = config.simulate, config.test
        count, fresh = self._training_set
        roles = {
            splits.TRAIN: _identity_of(self.world, splits.TRAIN, stars.seed, count, fresh),
            splits.VALIDATION: _identity_of(self.world, splits.VALIDATION, stars.seed, stars.validation),
        }
        others = learnt_from(self.options)
        return {
            "job": "trial",
            "estimator": [self.choice.key, estimator_identity(self.choice)],
            "labels": list(config.estimator.labels),
            "options": json.loads(json.dumps(self.options)),
            "seed": stars.seed,
            # A saved estimator learnt elsewhere: these spectra are none of its.
            "spectra": roles if self.choice.is_fitted_here else {},
            "judged": _identity_of(self.world, splits.TEST, test.seed, test.stars),
            **({"learnt from": others} if others else {}),
        }

    @property
    def digest(self) -> str:
        """The digest of `identity`."""
        return content_digest(self.identity)

    @property
    def is_in_own_world(self) -> bool:
        """Whether the stars that it is judged by are those of the world it learnt in."""
        return self.config.test.span is None and self.yardstick(exact=False).world == self.world

    def yardstick(self, exact: bool) -> Yardstick:
        """Return the stars that the configuration wants it judged by, with posteriors if `exact`."""
        test = self.config.test
        world = replace(
            self.world,
            noise_level=self.world.noise_level if test.noise_level is None else test.noise_level,
            prior=test.prior or self.world.prior,
        )
        if exact:
            # A posterior is that of the flux and of what a pipeline knows, whatever the estimator was shown.
            world = replace(world, visible_sigma="pipeline")
        return Yardstick(world, test.stars, test.seed, test.bank if exact else 0, span=test.span)

    def estimates(self, run: RunFolder) -> Estimates:
        """Return what it says of the stars that it is judged by, from its run folder."""
        if self.is_in_own_world:
            return Estimates.read(run, self.choice.key)
        return Estimates.read(run, elsewhere_key(self.choice, self.yardstick(exact=False).spectra))

    @property
    def _training_set(self) -> tuple[int, bool]:
        """Number of training stars and whether their noise is new in every pass."""
        if not self.choice.spec.draws_spectra:
            return self.config.simulate.train, False
        if self.config.training.from_set:
            return self.config.simulate.train, self.config.simulate.fresh_noise
        return splits.ENDLESS, False

    def carry_out(self, work: Work) -> None:
        """Fit the estimator and let it estimate all stars that it is asked about."""
        config, simulator, sources = self.config, simulator_of(self.world), self.sources()
        test = work.do(DrawTestStars(sources.test))
        setting = Setting(
            labels=config.estimator.labels or None,
            simulator=simulator,
            seed=config.simulate.seed,
            threads=config.run.threads,
            options=self.options,
        )
        fitted = work.do(FitEstimator(self.choice, setting, sources, test))
        for yardstick in self.elsewhere:
            # Named by the identity of the stars, so that those which were done are known without drawing them.
            if not work.run.is_done(elsewhere_stage(yardstick.spectra)):
                others = DrawTestStars(yardstick.source).draw()
                work.do(EstimateElsewhere(self.choice, fitted.record.model, others))
        if self.focus:
            work.do(FocusOnLines(self.choice, fitted.record.model, simulator, test, self.focus))

    def sources(self) -> Sources:
        """Return its spectra."""
        simulator, stars, test = simulator_of(self.world), self.config.simulate, self.config.test
        count, fresh = self._training_set
        # Without a reserve, and in memory: stated errors, which no trial is judged by, are corrected by these few
        # spectra instead of tens of thousands, which would take longer than the training.
        learnt = WithoutReserve(simulator, splits.TRAIN, stars.seed, count, False, fresh, torch.device("cpu"))
        train = learnt if count < splits.ENDLESS else None
        restoring = self.options.get("pretrain") in RESTORING
        drawn = simulator.source(splits.VALIDATION, stars.seed, stars.validation, truth=restoring)
        held_out = MemorySource(collect(drawn), drawn.grid, drawn.label_space, drawn.lsf)
        return Sources(
            train=train,
            drawn=learnt,
            validation=held_out,
            test=simulator.source(splits.TEST, test.seed, test.stars, truth=True),
            simulator=simulator,
            seed=stars.seed,
        )


def prepare_trial(config: TrialConfig) -> Trial:
    """Return the trial of a configuration, checked without drawing a spectrum.

    Raises:
        ConfigError, DataError: for what cannot be meant; names the key.
    """
    choice = choose(config.estimator.name, "estimator.name")
    world = replace(
        world_of(config.library, config.instrument, config.simulate),
        visible_sigma=config.simulate.visible_sigma,
    )
    simulator = simulator_of(world)
    check_labels("estimator.labels", config.estimator.labels, simulator.prior.label_space.names)
    own = dict(config.estimator.options)
    if choice.spec.draws_spectra and choice.is_fitted_here:
        own = {**config.training.options, **own, "steps": config.training.updates, "minutes": 0.0}
    elif not choice.is_fitted_here and own:
        raise ConfigError(f"estimator.options: '{config.estimator.name}' comes trained and has none")
    target = (config.estimator.labels or simulator.prior.label_space.names)[0]
    reason = unsuitable(choice, simulator, target)
    if reason is not None:
        raise ConfigError(f"estimator.name: '{config.estimator.name}': {reason}")
    return Trial(config, choice, choice.spec.check(own) if choice.is_fitted_here else {}, world)


def run_trial(trial: Trial, folder: Path, watch: Watch | None = None) -> RunFolder:
    """Carry out, or continue, a trial in `folder` and return its run folder.

    Raises:
        RunError: if the folder cannot be written; else whatever the estimator raises.
    """
    watch, config = watch or Quiet(), trial.config
    set_threads(config.run.threads)
    run = RunFolder.create(folder.parent, folder.name, config.to_dict(), identity=trial.identity)
    trial.carry_out(Work(run, watch))
    run.finish()
    return run


def run_yardstick(yardstick: Yardstick, folder: Path, watch: Watch | None = None) -> RunFolder:
    """Draw the stars of a yardstick and sample their posteriors, or continue, in `folder`."""
    watch = watch or Quiet()
    run = RunFolder.create(folder.parent, folder.name, yardstick.to_dict(), identity=yardstick.identity)
    work = Work(run, watch)
    test = work.do(DrawTestStars(yardstick.source))
    if yardstick.bank:
        simulator = simulator_of(yardstick.world)
        work.do(SamplePosteriors(simulator, test, len(test), yardstick.seed, yardstick.bank))
    if yardstick.bounds:
        simulator, names = simulator_of(yardstick.world), test.table.names
        work.do(BoundStars(simulator, yardstick.world.emulator(), test, len(test), names[0]))
    run.finish()
    return run


def simulator_of(world: World) -> Simulator:
    """Return the simulator of a world, built once per process; ConfigError as `build_world`."""
    return _built(json.dumps(world.to_dict(), sort_keys=True))


@lru_cache(maxsize=WORLDS)
def _built(world: str) -> Simulator:
    return build_world(World.from_dict(json.loads(world)))


def _identity_of(world: World, split: str, seed: int, count: int, fresh: bool = False) -> str:
    return _source_identity(json.dumps(world.to_dict(), sort_keys=True), split, seed, count, fresh)


# A digest of the emulator's weights each time would be most of a plan's time.
@lru_cache(maxsize=10_000)
def _source_identity(world: str, split: str, seed: int, count: int, fresh: bool) -> str:
    identity: str = _built(world).source(split, seed, count, fresh_noise=fresh).provenance["identity"]
    return identity
