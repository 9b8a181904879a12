"""Worker processes that end with the process that started them, even if that one was killed."""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing.connection import wait


def end_with_parent() -> None:
    """Make this worker process end as soon as its parent has: an initializer of process pools.

    Without it the workers of a killed job go on writing, beside those of the job that continues it, and then
    wait for work for ever.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    # At once: nothing that an exit handler could tidy is wanted any more.
    os._exit(1)
