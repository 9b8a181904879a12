"""Being told to stop: Ctrl-C, a batch system's SIGTERM or a closed terminal end a command in order, in bounded time.

Owns what this process does with those signals. What worker processes do is in `specvit.runs.processes`.
"""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Seconds that tidying may take: a thread may wait for the network. Batch systems and torchrun kill after 30.
GRACE = 10.0
#: Seconds after which another signal means "at once"; sooner, it is the same event told twice.
APART = 1.0


class Interrupted(BaseException):
    """A signal asks this process to stop; like KeyboardInterrupt, it passes through `except Exception`."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class _State:
    first: int | None = None
    raised = False
    held = 0


_state = _State()


def received() -> int | None:
    """Return the number of the signal that asked this process to stop, or None."""
    return _state.first


@contextmanager
def interruptible(last_words: Callable[[int], object]) -> Iterator[None]:
    """Raise Interrupted in the enclosed lines when the first signal arrives; for the main thread of a command.

    If they have not ended `GRACE` seconds later, or another signal follows, the process ends at once and takes its
    worker processes along. Signals that were ignored before, as under `nohup`, stay ignored.

    Args:
        last_words: called with the signal's number before such an end.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    taken = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    for number in taken:
        signal.signal(number, _receive)
    # The watch hears of a signal even while the main thread is inside a long call of a C library.
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader, last_words), daemon=True).start()
    try:
        yield
    finally:
        if _state.first is None:
            # Nothing is left to tidy: from here to its end the interpreter dies without a traceback.
            for number in taken:
                signal.signal(number, signal.SIG_DFL)


@contextmanager
def signals_held() -> Iterator[None]:
    """Put signals off while the enclosed lines start processes, and let those be born deaf to them.

    A terminal sends Ctrl-C to every process of a job. Workers must leave it to their parent to end them: on their
    own they print tracebacks, the earliest while they still import what would teach them not to.
    """
    _state.held += 1
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        _state.held -= 1
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _raise_unless_held()


def _receive(number: int, _frame: object) -> None:
    if _state.first is None:
        _state.first = number
        _raise_unless_held()


def _raise_unless_held() -> None:
    if _state.first is not None and not _state.held and not _state.raised:
        _state.raised = True
        raise Interrupted(_state.first)


def _watch(reader: int, last_words: Callable[[int], object]) -> None:
    first = None
    while first not in SIGNALS:
        first = os.read(reader, 1)[0]
    began = time.monotonic()
    while (left := began + GRACE - time.monotonic()) > 0 and select.select([reader], [], [], left)[0]:
        if os.read(reader, 1)[0] in SIGNALS and time.monotonic() - began > APART:
            break
    for child in multiprocessing.active_children():
        child.kill()
    last_words(first)
    os._exit(128 + first)
