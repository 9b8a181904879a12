"""Files that are there whole or not at all, and disk errors in one line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from specvit.errors import RunError


def write_atomic(path: Path, write: Callable[[BinaryIO], None] | bytes | str) -> Path:
    """Write a file so that a crash leaves the old one or the new one, never a part; return `path`.

    Args:
        path: the file; missing parent folders are made.
        write: the content, or a function that writes it to an open binary file.

    Raises:
        RunError: if the disk is full or the folder cannot be written; nothing is left behind.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(partial, "wb") as file:
                if callable(write):
                    write(file)
                else:
                    file.write(write.encode() if isinstance(write, str) else write)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    return path


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of the enclosed lines into a RunError that names `path` and the mend."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot write {path}: {error.strerror or error}; free some space or choose another folder "
            "with --set run.folder=DIR"
        ) from error
