"""Being told to stop: Ctrl-C, a batch system's SIGTERM or a closed terminal end a command in order, in bounded time.

Owns what this process does with those signals. What worker processes do is in `specvit.runs.processes`.
"""

from __future__ import annotations

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


_first: int | None = None


def received() -> int | None:
    """Return the number of the signal that asked this process to stop, or None."""
    return _first


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
        if _first is None:
            # Nothing is left to tidy: from here to its end the interpreter dies without a traceback.
            for number in taken:
                signal.signal(number, signal.SIG_DFL)


def _receive(number: int, _frame: object) -> None:
    global _first
    if _first is None:
        _first = number
        raise Interrupted(number)


def _watch(reader: int, last_words: Callable[[int], object]) -> None:
    first = None
    while first not in SIGNALS:
        first = os.read(reader, 1)[0]
    began = time.monotonic()
    while (left := began + GRACE - time.monotonic()) > 0 and select.select([reader], [], [], left)[0]:
        if os.read(reader, 1)[0] in SIGNALS and time.monotonic() - began > APART:
            break
    import multiprocessing

    for child in multiprocessing.active_children():
        child.kill()
    last_words(first)
    os._exit(128 + first)
