"""The spectra of a job: what is trained on, chosen by, and scored on. Owns which split is used for what."""

from __future__ import annotations

from dataclasses import dataclass

from specvit.simulate import Simulator, splits
from specvit.spectra import SpectraSource


@dataclass(frozen=True)
class Sources:
    """The spectra of one job, no star of which is in two of them.

    Args:
        train: a fixed set, for estimators that read it whole; None if the job has none that does.
        drawn: spectra drawn as a training goes, which it never comes to the end of; or the fixed set again.
        validation: for every choice made in a fit.
        test: touched by the scores only.
        simulator: the world of them, None for stored spectra without one.
        seed: of what was drawn.
    """

    train: SpectraSource | None
    drawn: SpectraSource
    validation: SpectraSource
    test: SpectraSource
    simulator: Simulator | None
    seed: int

    @property
    def counts(self) -> dict[str, int]:
        """Split -> number of spectra; training spectra only where their number is fixed."""
        fixed = {} if self.train is None else {splits.TRAIN: len(self.train)}
        return {**fixed, splits.VALIDATION: len(self.validation), splits.TEST: len(self.test)}


def simulated(simulator: Simulator, seed: int, train: int, validation: int, test: int) -> Sources:
    """Return the spectra of a simulated world; `train` is the size of the fixed set, 0 for none."""
    return Sources(
        train=simulator.source(splits.TRAIN, seed, train) if train else None,
        # The same split: its first stars are those of the fixed set.
        drawn=simulator.source(splits.TRAIN, seed, splits.ENDLESS),
        validation=simulator.source(splits.VALIDATION, seed, validation),
        # Stages show truth beside estimates; estimators never receive it.
        test=simulator.source(splits.TEST, seed, test, truth=True),
        simulator=simulator,
        seed=seed,
    )
