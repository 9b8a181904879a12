"""Running studies: plan, carry out, judge what is complete, write the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from specvit.errors import AccessError, DataError, SpecvitError
from specvit.jobs.watch import Update, Watch
from specvit.runs.atomic import set_aside
from specvit.runs.study_result import StudyResult, read_study_result, result_path, write_study_result
from specvit.studies.executors import carry_out_all
from specvit.studies.judge import judge
from specvit.studies.plan import Plan, Task, make_plan
from specvit.studies.schema import Study, read_scale
from specvit.studies.store import FAILURE, Store
from specvit.studies.variants import ScaledStudy, at_scale


@dataclass(frozen=True)
class Session:
    """What became of a start.

    Args:
        results: studies that were judged.
        failed: tasks that failed, with the reason in one line.
        incomplete: ids of studies some of whose runs are missing.
    """

    results: tuple[StudyResult, ...]
    failed: tuple[tuple[Task, str], ...]
    incomplete: tuple[str, ...]


def scaled_studies(studies: Sequence[Study], scale: str) -> list[ScaledStudy]:
    """Return studies at a scale; errors as `at_scale`."""
    known = read_scale(scale)
    return [at_scale(study, scale, known) for study in studies]


def run_studies(
    plan: Plan,
    store: Store,
    results: Path,
    watch: Watch,
    workers: int = 1,
    dask: str | None = None,
    hours: float | None = None,
) -> Session:
    """Carry out what is left of a plan, judge every study that is complete, and write the results.

    Args:
        plan: of `make_plan`.
        store: of all runs.
        results: folder of the results.
        watch: who is told.
        workers, dask, hours: see `carry_out_all`.

    Raises:
        RunError: if the store or the results cannot be written, or no worker can be had.
    """
    failed: list[tuple[Task, str]] = []
    with store.locked():
        with watch.task("runs") as update:
            progress = Progress(plan, update)

            def told(task: Task, reason: str) -> None:
                if reason:
                    failed.append((task, reason))
                    watch.say(f"failed: {task.title}: {reason} ({store.folder_of(task.run) / FAILURE})")
                progress.advance(task)

            if plan.remaining:
                carry_out_all(plan.remaining, store, told, workers, dask, hours)
        judged, incomplete = judge_all(plan, store, results, watch)
    return Session(tuple(judged), tuple(failed), tuple(incomplete))


def judge_all(plan: Plan, store: Store, results: Path, watch: Watch) -> tuple[list[StudyResult], list[str]]:
    """Judge every study of a plan whose runs are all done; return the results, and the ids of the others."""
    judged, incomplete = [], []
    done = {task.run.digest for task in make_plan(plan.studies, store).tasks if task.state == "done"}
    with watch.task("verdicts") as update:
        for count, scaled in enumerate(plan.studies):
            update(count, len(plan.studies))
            if not _digests(scaled) <= done:
                incomplete.append(scaled.study.id)
                continue
            try:
                result = judge(scaled, store, earlier(results, scaled, watch))
            except SpecvitError as error:
                watch.say(f"not judged: {scaled.study.id}: {error}")
                incomplete.append(scaled.study.id)
                continue
            write_study_result(results, result)
            judged.append(result)
    return judged, incomplete


def earlier(results: Path, scaled: ScaledStudy, watch: Watch) -> StudyResult | None:
    """Return the result that a study had before, or None if it has none that can be read.

    One that cannot be read is moved aside and told of: the verdicts of before are in it.

    Raises:
        AccessError: if there is one that the system does not give.
    """
    path = result_path(results, scaled.study.id, scaled.scale)
    try:
        return read_study_result(path) if path.exists() else None
    except AccessError:
        raise
    except DataError as error:
        watch.say(f"{error}; it is kept as {set_aside(path)}, and the history of its verdicts begins anew")
        return None


def is_of_now(study: Study, result: StudyResult) -> bool:
    """Return whether a result is of the rule and the variants that are declared now."""
    return (study.rule, study.variants) == (result.rule, tuple(result.variants))


class Progress:
    """How far a plan is, by the time its tasks were expected to take.

    Args:
        plan: of `make_plan`.
        update: told after every task.
    """

    def __init__(self, plan: Plan, update: Update) -> None:
        self._left = {task.run.digest: task.estimate.seconds for task in plan.remaining}
        self._total, self._count, self._update = plan.seconds, len(plan.remaining), update

    def advance(self, task: Task) -> None:
        """Count a task as ended."""
        self._left.pop(task.run.digest, None)
        done = self._count - len(self._left)
        self._update(
            self._total - sum(self._left.values()), self._total, f"{done} of {self._count}: {task.title}"
        )


def _digests(scaled: ScaledStudy) -> set[str]:
    trials = {trial.digest for variant in scaled.variants for trial in variant.trials.values()}
    return trials | {variant.yardstick.digest for variant in scaled.variants}
