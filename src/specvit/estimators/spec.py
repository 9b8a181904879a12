"""What a row of the table of estimators says. Owns the type; the rows are in `table`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from specvit.errors import ConfigError
from specvit.estimators.architectures import Architecture
from specvit.models.protocol import Estimator
from specvit.runs import Family
from specvit.simulate import Prior, Simulator

#: Called with one record per report of a training.
Listener = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Setting:
    """What a job hands to an estimator that is fitted in it.

    Args:
        labels: labels to estimate; None means all of the training set.
        simulator: the world of the spectra, for estimators that fit it instead of learning from spectra; None for
            spectra without one.
        seed: of all that is drawn in the fit.
        threads: CPU threads; 0 takes all.
        options: the estimator's own, by name.
        size: of a network; "" for the one that learns most in five minutes on two cores.
        device: of a network; None takes a GPU if there is one.
        folder: where a network keeps checkpoints; None keeps none.
        listen: called with every record of a training, or None.
    """

    labels: tuple[str, ...] | None = None
    simulator: Simulator | None = None
    seed: int = 0
    threads: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    size: str = ""
    device: str | None = None
    folder: Path | None = None
    listen: Listener | None = None

    def prior(self, who: str) -> str | Prior:
        """Return the prior of the world, by name where it has one: only then can an estimator be saved with it."""
        simulator = self.world(who)
        return simulator.prior if simulator.world is None else simulator.world.prior

    def world(self, who: str) -> Simulator:
        """Return the simulator; ConfigError if the spectra have none."""
        if self.simulator is None:
            raise ConfigError(f"{who}: fits the simulated world, and these spectra come without one")
        return self.simulator


@dataclass(frozen=True)
class EstimatorSpec:
    """One estimator: the only place where its name means something.

    Args:
        name: how configurations and commands call it.
        title: what a reader calls it.
        meaning: two sentences on what its curve means; "{target}" stands for the label.
        family: how it comes to its estimates, which decides how it is drawn.
        build: from a setting to the unfitted estimator.
        load: from the folder of a saved one to the estimator; DataError if it was changed or is incomplete.
        cost: of a fitted one, as `EstimatorFacts.cost`.
        saved_as: what a saved one calls itself; all networks share one name.
        check: from the options a job sets to those it is built with; ConfigError names one that cannot be.
        architecture: of a network, else None.
    """

    name: str
    title: str
    meaning: str
    family: Family
    build: Callable[[Setting], Estimator]
    load: Callable[[Path], Estimator]
    cost: Callable[[Any], dict[str, float]]
    saved_as: str
    check: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
    architecture: Architecture | None = None

    @property
    def draws_spectra(self) -> bool:
        """Whether it trains on spectra drawn as it goes, as many as its recipe takes, instead of a fixed set."""
        return self.architecture is not None

    @property
    def learns(self) -> bool:
        """Whether it is made from spectra with known labels, not from the simulated world itself."""
        return self.family in ("linear", "trees", "network")

    def title_of(self, size: str = "") -> str:
        """Return the title, with the size of a network that is trained in a job."""
        return f"{self.title} ({size})" if size else self.title
