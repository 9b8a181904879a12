"""Who carries out the runs of a plan: this process, local worker processes, or an existing Dask cluster.

A run is handed over as plain values, and writes its own folder; nothing comes back but whether it failed. Stores must
therefore lie where every worker can write.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

from specvit.errors import ConfigError, RunError, SpecvitError
from specvit.jobs.config.trial import trial_config
from specvit.jobs.trial import Yardstick, run_trial, run_yardstick, yardstick_from
from specvit.runs.cluster import dask_executor
from specvit.runs.processes import WorkerPool
from specvit.studies.plan import Task
from specvit.studies.store import Store, forget_failure, keep_failure, state_of
from specvit.studies.variants import prepare_any_trial

#: Trials draw from PyTorch's global generator: a worker with several threads must not mix two.
_ONE_AT_A_TIME = threading.Lock()

#: Called with a finished task and the line that says why it failed, "" if it did not.
Told = Callable[[Task, str], None]


def carry_out_all(
    tasks: Sequence[Task],
    store: Store,
    told: Told,
    workers: int = 1,
    dask: str | None = None,
    hours: float | None = None,
) -> bool:
    """Carry out tasks; one that fails is recorded in its folder, and the others go on.

    Args:
        tasks: in the order they are begun.
        store: where their folders are.
        told: called as each ends.
        workers: local processes, one thread each.
        dask: address of a Dask scheduler, instead of local processes.
        hours: none is begun after that time; None for no limit.

    Returns:
        Whether all were begun.

    Raises:
        ConfigError: for no workers.
        RunError: if no scheduler answers, or a worker died.
    """
    if workers < 1:
        raise ConfigError(f"--workers: expected at least 1, got {workers}")
    if hours is not None and not hours > 0:
        raise ConfigError(f"--hours: expected more than 0, got {hours:g}")
    deadline = float("inf") if hours is None else time.monotonic() + 3600 * hours
    if dask is None and (workers == 1 or len(tasks) < 2):
        for task in tasks:
            if time.monotonic() >= deadline:
                return False
            told(task, carry_out(handed_over(task, store)))
        return True
    if dask is not None:
        with dask_executor(dask) as (executor, width):
            return _through(executor, width, tasks, store, told, deadline)
    # spawn: a forked child would inherit the parent's OpenMP threads in an undefined state.
    with WorkerPool(workers, "spawn") as pool:
        return _through(pool, workers, tasks, store, told, deadline)


def handed_over(task: Task, store: Store) -> dict[str, Any]:
    """Return a task as plain values that any process can read."""
    run = task.run
    what: dict[str, Any] = {"folder": str(store.folder_of(run).absolute())}
    if isinstance(run, Yardstick):
        return {**what, "yardstick": run.to_dict()}
    elsewhere = [yardstick.to_dict() for yardstick in run.elsewhere]
    return {**what, "trial": run.config.to_dict(), "elsewhere": elsewhere, "focus": run.focus}


def carry_out(handed: dict[str, Any]) -> str:
    """Carry out one task; return "" or, if it failed, the reason in one line, after recording the traceback."""
    folder = Path(handed["folder"])
    with _ONE_AT_A_TIME:
        try:
            _carry_out(handed, folder)
        except Exception as error:
            keep_failure(folder, traceback.format_exc())
            text = " ".join(str(error).split()) or type(error).__name__
            return text if isinstance(error, SpecvitError) else f"{type(error).__name__}: {text}"
    return ""


def _carry_out(handed: dict[str, Any], folder: Path) -> None:
    if "yardstick" in handed:
        yardstick = yardstick_from(handed["yardstick"])
        forget_failure(folder)
        if state_of(folder, yardstick) != "done":
            run_yardstick(yardstick, folder)
        return
    further = tuple(yardstick_from(values) for values in handed["elsewhere"])
    trial = prepare_any_trial(trial_config(handed["trial"], str(folder)))
    trial = replace(trial, elsewhere=further, focus=handed["focus"])
    forget_failure(folder)
    if state_of(folder, trial) != "done":
        run_trial(trial, folder)


def _through(
    executor: Executor, width: int, tasks: Sequence[Task], store: Store, told: Told, deadline: float
) -> bool:
    """Keep `width` tasks at work until all have been begun, or the time is up; wait for those at work."""
    waiting, at_work = list(tasks), dict[Future[str], Task]()
    try:
        while waiting or at_work:
            while waiting and len(at_work) < width and time.monotonic() < deadline:
                task = waiting.pop(0)
                at_work[executor.submit(carry_out, handed_over(task, store))] = task
            if not at_work:
                return False
            for future in wait(at_work, return_when=FIRST_COMPLETED).done:
                told(at_work.pop(future), future.result())
    except CancelledError as error:
        raise RunError(
            "--dask: the scheduler is gone; with one that answers, the same command continues"
        ) from error
    return True
