"""Runs stages one after another, each in a process of its own: what one breaks on the device, the next does not meet.

A stage is forked from the process that has imported everything and built the world, which costs nothing, and which must
never touch the device itself. It is killed at its deadline with all it started, and dies with its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from gpu.plan import Budget
from gpu.results import DONE, FAILED, STOPPED, Results

#: Seconds between two looks at a running stage.
LOOK = 0.05

Stage = Callable[[Results, Budget], None]


def run_stage(name: str, stage: Stage, folder: Path, device: str, deadline: float) -> str:
    """Run a stage in a process of its own until its deadline; return its state, which the results say too."""
    began = time.monotonic()
    Results.begin(folder, device).start(name)
    if began >= deadline:
        Results.read(folder).end(name, STOPPED, 0.0, "no time was left for it")
        return STOPPED
    sys.stdout.flush()
    parent = os.getpid()
    with warnings.catch_warnings():
        # Python warns of threads, of which this process has none that hold a lock: none that it started itself.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _be_the_stage(
            name, stage, folder, Budget(deadline), parent, (os.cpu_count() or 1) if device == "cuda" else 1
        )
    code = _wait(child, deadline)
    results, seconds = Results.read(folder), time.monotonic() - began
    if code == 0:
        state, error = DONE, ""
    elif code is None:
        state, error = STOPPED, "its time was over"
    else:
        state = FAILED
        error = results.found(name).get("error", f"its process ended with {code}")
    results.end(name, state, seconds, error)
    return state


def _be_the_stage(name: str, stage: Stage, folder: Path, budget: Budget, parent: int, threads: int) -> None:
    """Do the work of the forked process, and end it."""
    code = 1
    try:
        os.setsid()
        die_with_parent()
        if os.getppid() != parent:
            # It ended before it could be said.
            return
        results = Results.read(folder)
        try:
            torch.set_num_threads(threads)
            stage(results, budget)
            code = 0
        # Whatever it is, the next stage runs; the error is a result.
        except BaseException as error:
            traceback.print_exc()
            results.note(name, "error", f"{type(error).__name__}: {error}".splitlines()[0][:500])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Nothing of the parent's is cleaned up twice.
        os._exit(code)


def _wait(child: int, deadline: float) -> int | None:
    """Return how a process ended, None if it was killed at the deadline; what it started ends with it."""
    code: int | None = None
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            break
        time.sleep(LOOK)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    if code is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return code


def die_with_parent() -> None:
    """Let this process be killed when its parent ends, where the system can (prctl(2), PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
