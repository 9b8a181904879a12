"""Calling a function in processes that may die: a library that ends the process costs one item, not the run.

Owns processes and their pipes; knows nothing of spectra.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from specvit.errors import RunError
from specvit.runs.processes import end_with_parent, signals_held


@dataclass(frozen=True)
class Outcome:
    """What became of one item: a value, or the reason why there is none."""

    key: int
    value: Any = None
    failure: str | None = None


@dataclass
class _Worker:
    process: Any
    connection: Connection
    log: Path
    ready: bool = False
    item: tuple[int, Any] | None = None
    started: float = field(default_factory=time.monotonic)


def map_isolated(
    build: Callable[[], Callable[[Any], Any]],
    items: Iterable[tuple[int, Any]],
    workers: int = 1,
    timeout: float = 900.0,
) -> Iterator[Outcome]:
    """Yield an `Outcome` for every (key, item), in the order they finish.

    Args:
        build: called once in each process, returns the function to call with each item; both are pickled.
        items: keys and arguments.
        workers: number of processes; they start clean and are replaced when they die.
        timeout: seconds after which an item is given up and its process ended.

    Raises:
        RunError: if `build` fails: no item could succeed.
    """
    queue = iter(items)
    pool: list[_Worker] = []
    with tempfile.TemporaryDirectory(prefix="specvit-") as logs:
        try:
            waiting = next(queue, None)
            while waiting is not None or any(worker.item for worker in pool):
                while waiting is not None and len(pool) < workers:
                    pool.append(_start(build, Path(logs) / f"{time.monotonic_ns()}.log"))
                for worker in pool:
                    if worker.ready and worker.item is None and waiting is not None:
                        worker.item, worker.started = waiting, time.monotonic()
                        worker.connection.send(waiting[1])
                        waiting = next(queue, None)
                yield from _collect(pool, timeout)
        finally:
            for worker in pool:
                _stop(worker)


def _context() -> Any:
    """Return a way to start clean processes: forked from a server with this package loaded, else spawned."""
    # A plain fork would inherit locks that threads of this process hold, without the threads.
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__package__])
    return context


def _start(build: Callable[[], Callable[[Any], Any]], log: Path) -> _Worker:
    context = _context()
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, build, str(log)), daemon=True)
    with signals_held():
        process.start()
    # Or the pipe would stay open here after the worker died, and its end would never be seen.
    theirs.close()
    return _Worker(process, ours, log)


def _collect(pool: list[_Worker], timeout: float) -> Iterator[Outcome]:
    """Yield what has arrived within a second; drop workers that died or took too long from `pool`."""
    arrived = wait([worker.connection for worker in pool], timeout=1.0)
    for worker in list(pool):
        outcome = None
        if worker.connection in arrived:
            outcome = _receive(worker)
        elif worker.item is not None and time.monotonic() - worker.started > timeout:
            outcome = Outcome(worker.item[0], failure=f"took more than {timeout:g} s")
            worker.process.kill()
            worker.ready = False
        if not worker.process.is_alive() or (outcome is not None and outcome.failure and not worker.ready):
            pool.remove(worker)
            _stop(worker)
        if outcome is not None:
            worker.item = None
            yield outcome


def _receive(worker: _Worker) -> Outcome | None:
    try:
        kind, value = worker.connection.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join(5)
        reason = f"its process ended with code {worker.process.exitcode}{_last_words(worker.log)}"
        if worker.item is None:
            raise RunError(f"a worker could not start: {reason}") from None
        worker.ready = False
        return Outcome(worker.item[0], failure=reason)
    if kind == "ready":
        worker.ready = True
        return None
    if kind == "broken":
        raise RunError(f"a worker could not start: {value}")
    assert worker.item is not None
    return Outcome(worker.item[0], value) if kind == "done" else Outcome(worker.item[0], failure=value)


def _last_words(log: Path) -> str:
    """Return the last line a dead process wrote, as ': text', or nothing."""
    text = log.read_text(errors="replace").split("\n") if log.exists() else []
    spoken = [line.strip() for line in text if line.strip()]
    return f": {spoken[-1][:120]}" if spoken else ""


def _stop(worker: _Worker) -> None:
    if worker.process.is_alive():
        worker.process.kill()
    worker.process.join(5)
    worker.connection.close()


def _serve(connection: Connection, build: Callable[[], Callable[[Any], Any]], log: str) -> None:
    """Answer items until the pipe closes; everything printed goes to `log`."""
    end_with_parent()
    # On descriptors, not on sys.stdout: what a C library prints before it ends the process is the only clue
    # there is.
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    try:
        function = build()
    except Exception as error:
        connection.send(("broken", f"{type(error).__name__}: {error}"))
        return
    connection.send(("ready", None))
    while True:
        try:
            item = connection.recv()
        except EOFError:
            return
        try:
            connection.send(("done", function(item)))
        except Exception as error:
            connection.send(("failed", f"{type(error).__name__}: {error}"))
