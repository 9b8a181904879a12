"""One command at a time in a folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from specvit.errors import RunError
from specvit.runs.atomic import disk_errors


@contextmanager
def only_command_in(folder: Path, busy: str) -> Iterator[None]:
    """Keep other commands out of `folder`, which is made if need be, while the enclosed lines run.

    Args:
        folder: holds the file `.lock` from then on.
        busy: what is said if another command is there: what it does, and the mend.

    Raises:
        RunError: if another process is there, or the folder cannot be written.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    with lock:
        try:
            # The kernel drops the lock with the process, so kill -9 leaves nothing to clean up.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{folder}: {busy}") from None
        yield
