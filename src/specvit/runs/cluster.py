"""Who does independent tasks: this process, local worker processes, or an existing Dask cluster.

A task is a function of its own arguments that any process can import; what it makes it writes to disk, where every
worker can reach it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from specvit.errors import ConfigError, RunError, import_optional
from specvit.runs.processes import WorkerPool

#: Time a Dask scheduler has to answer.
DASK_TIMEOUT = "10s"

Task = TypeVar("Task")
Result = TypeVar("Result")


@contextmanager
def dask_executor(address: str) -> Iterator[tuple[Executor, int]]:
    """Yield a cluster as an executor, and how many tasks it works on at once.

    Raises:
        RunError: if no scheduler answers.
    """
    distributed = import_optional("distributed", "hpc", "--dask")
    try:
        client = distributed.Client(address, timeout=DASK_TIMEOUT)
    except (OSError, TimeoutError, ValueError) as error:
        raise RunError(
            f"--dask {address}: no scheduler answers there ({error}); start one with `dask scheduler`"
        ) from error
    with client:
        # One task per worker: more would wait for each other in one process. Twice as many are asked for, as a
        # cluster may grow and a worker should not wait for us.
        width = 2 * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        yield client.get_executor(pure=False), width


def results_of(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int = 1, dask: str | None = None
) -> Generator[Result]:
    """Yield the results of tasks as they come; of the tasks only those at work are held.

    Args:
        function: of one task.
        tasks: drawn when there is somebody to do them.
        workers: local processes.
        dask: address of a Dask scheduler, instead of local processes.

    Raises:
        ConfigError: for no workers.
        RunError: if no scheduler answers, or a worker died.
    """
    if workers < 1:
        raise ConfigError(f"--workers: expected at least 1, got {workers}")
    if dask is not None:
        with dask_executor(dask) as (executor, width):
            yield from _through(executor, width, function, iter(tasks))
    elif workers == 1:
        yield from map(function, tasks)
    else:
        # spawn: a forked child would inherit the parent's OpenMP threads in an undefined state.
        with WorkerPool(workers, "spawn") as pool:
            yield from _through(pool, workers, function, iter(tasks))


def _through(
    executor: Executor, width: int, function: Callable[[Task], Result], tasks: Iterator[Task]
) -> Iterator[Result]:
    at_work: set[Future[Result]] = set()
    try:
        while True:
            at_work |= {executor.submit(function, task) for task in islice(tasks, width - len(at_work))}
            if not at_work:
                return
            done = wait(at_work, return_when=FIRST_COMPLETED).done
            at_work -= done
            for future in done:
                yield future.result()
    except CancelledError as error:
        raise RunError(
            "--dask: the scheduler is gone; with one that answers, the same command continues"
        ) from error
