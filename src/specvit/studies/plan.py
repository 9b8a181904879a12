"""What has to be run for some studies: every trial and yardstick once, with what is done and what it will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from specvit.jobs.trial import Trial, Yardstick
from specvit.studies.cost import Cost, Costs
from specvit.studies.store import State, Store
from specvit.studies.variants import ScaledStudy

#: Uses of a run that its title names.
MOST_SHOWN = 2


@dataclass(frozen=True)
class Task:
    """One run of a plan.

    Args:
        run: a trial or a yardstick.
        uses: studies that use it, each with its variant.
        state: how far it is.
        estimate: what it will take, if it is not done.
    """

    run: Trial | Yardstick
    uses: tuple[tuple[str, str], ...]
    state: State
    estimate: Cost

    @property
    def studies(self) -> tuple[str, ...]:
        """Ids of the studies that use it."""
        return tuple(dict.fromkeys(study for study, _ in self.uses))

    @property
    def title(self) -> str:
        """What a reader is told of it."""
        if isinstance(self.run, Yardstick):
            kind = "posteriors of" if self.run.bank else "table of"
            return f"{kind} {self.run.stars} test stars, noise {self.run.world.noise_level:g}"
        seed = self.run.config.simulate.seed
        shown = [f"{study}: {variant}" for study, variant in self.uses[:MOST_SHOWN]]
        more = len(self.uses) - len(shown)
        return (
            f"{self.run.choice.title}, seed {seed} ({', '.join(shown)}{f' and {more} more' if more else ''})"
        )


@dataclass(frozen=True)
class Plan:
    """All runs of some studies.

    Args:
        studies: at their scale.
        tasks: yardsticks first, so that what every verdict needs is there early.
    """

    studies: tuple[ScaledStudy, ...]
    tasks: tuple[Task, ...]

    @property
    def remaining(self) -> tuple[Task, ...]:
        """The tasks that are not done; those that failed are tried again."""
        return tuple(task for task in self.tasks if task.state != "done")

    @property
    def asked(self) -> int:
        """Trials if no study shared any."""
        return sum(len(variant.trials) for study in self.studies for variant in study.variants)

    @property
    def seconds(self) -> float:
        """Time the remaining tasks will take one after the other."""
        return sum(task.estimate.seconds for task in self.remaining)

    @property
    def bytes_needed(self) -> float:
        """Disk space the remaining tasks will take."""
        return sum(task.estimate.bytes for task in self.remaining)


def make_plan(studies: Sequence[ScaledStudy], store: Store) -> Plan:
    """Return the plan of some studies; a trial that several ask for stands in it once."""
    runs: dict[str, Trial | Yardstick] = {}
    users: dict[str, list[tuple[str, str]]] = {}
    for scaled in studies:
        for variant in scaled.variants:
            for trial in variant.trials.values():
                _enter(runs, users, (scaled.study.id, variant.name), _with_stars(trial, scaled))
            _enter(runs, users, (scaled.study.id, variant.name), variant.yardstick)
    costs = Costs.of(store)
    tasks = [
        Task(run, tuple(users[digest]), store.state_of(run), costs.estimate(run))
        for digest, run in runs.items()
    ]
    return Plan(tuple(studies), tuple(sorted(tasks, key=lambda task: isinstance(task.run, Trial))))


def _with_stars(trial: Trial, scaled: ScaledStudy) -> Trial:
    """Return a trial that also estimates the stars it is judged by, where those are not of its own world."""
    if trial.is_in_own_world:
        return trial
    return replace(trial, elsewhere=(trial.yardstick(exact=False),))


def _enter(
    runs: dict[str, Trial | Yardstick],
    users: dict[str, list[tuple[str, str]]],
    use: tuple[str, str],
    run: Trial | Yardstick,
) -> None:
    digest = run.digest
    known = runs.get(digest)
    if isinstance(known, Trial) and isinstance(run, Trial):
        # One fit serves all stars it is asked about.
        further = {one.digest: one for one in (*known.elsewhere, *run.elsewhere)}
        run = replace(known, elsewhere=tuple(further.values()), focus=known.focus or run.focus)
    if isinstance(known, Yardstick) and isinstance(run, Yardstick):
        run = replace(known, bounds=known.bounds or run.bounds)
    runs[digest] = run
    if use not in users.setdefault(digest, []):
        users[digest].append(use)
