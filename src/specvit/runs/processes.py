"""Worker processes that end with the process that started them, whatever ends it, and say nothing when they do."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

from specvit.errors import RunError
from specvit.runs.memory import keep_freed_memory

#: What asks a job to stop. Only its first process listens.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def signals_held() -> Iterator[None]:
    """Put signals off while the enclosed lines start processes, and let those be born deaf to them.

    A terminal sends Ctrl-C to every process of a job. Workers must leave it to their parent to end them: on their
    own they print tracebacks, the earliest while they still import what would teach them not to.
    """
    arrived: list[int] = []
    # A blocked signal still reaches the process through another thread; Python then calls the handler here.
    here = threading.current_thread() is threading.main_thread()
    handlers: dict[int, Callable[[int, Any], Any]] = {
        number: handler for number in SIGNALS if here and callable(handler := signal.getsignal(number))
    }
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    for number in handlers:
        signal.signal(number, lambda number, _frame: arrived.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number in arrived[:1]:
            handlers[number](number, None)


class WorkerPool(ProcessPoolExecutor):
    """A process pool that leaves no worker behind.

    An error of one task lets the running ones finish and drops the others. An interruption (any `BaseException`
    that is no `Exception`) kills the workers at once, so they must write files that are whole or not there.

    Args:
        workers: number of processes.
        start_method: of `multiprocessing`; None is the platform's.
        initializer, initargs: called once in each process.

    Raises:
        RunError: at the end of the block, if a worker died.
    """

    def __init__(
        self,
        workers: int,
        start_method: str | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        self._mine: set[Any] = set()
        # The locks of the pool may start Python's resource tracker, which a closed terminal would end.
        with signals_held():
            super().__init__(
                workers,
                multiprocessing.get_context(start_method),
                _begin,
                (initializer, initargs),
            )

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Add a task; processes are started by the first ones."""
        with signals_held():
            before = set(multiprocessing.active_children())
            future = super().submit(function, *args, **kwargs)
            self._mine |= set(multiprocessing.active_children()) - before
        return future

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        """Wait for the workers' end, after killing them if this is an interruption."""
        if kind is not None and not issubclass(kind, Exception):
            for worker in self._mine:
                worker.kill()
        self.shutdown(wait=True, cancel_futures=kind is not None)
        if isinstance(error, BrokenProcessPool):
            raise RunError(
                "a worker process died, perhaps for want of memory; give fewer --workers, "
                "the same command continues"
            ) from error


def end_with_parent() -> None:
    """Make this worker process end as soon as its parent has; the first call in every worker process.

    Without it the workers of a killed job go on writing, beside those of the job that continues it, and then
    wait for work for ever.
    """
    # A server that forks workers may have been started by somebody who holds no signals.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    # At once: nothing that an exit handler could tidy is wanted any more.
    os._exit(1)


def _begin(initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> None:
    end_with_parent()
    keep_freed_memory()
    if initializer is not None:
        initializer(*initargs)
