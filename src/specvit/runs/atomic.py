"""Files that are there whole or not at all, and disk errors in one line."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
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

    def write_to(partial: Path) -> None:
        with open(partial, "wb") as file:
            if callable(write):
                write(file)
            else:
                file.write(_to_bytes(write))

    return write_atomic_path(path, write_to)


def write_atomic_path(path: Path, write_to: Callable[[Path], None]) -> Path:
    """Do as `write_atomic` for a writer that wants a path: `write_to` is given one beside `path`, ending in `.partial`.

    Raises:
        RunError: as `write_atomic`.
    """
    # Beside the file, as a rename is one step within a file system only; with a name of its own, as two may write
    # at once: a Dask worker may still be at a shard for a job that was killed and is continued.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_to(partial)
            _sync(partial)
            os.replace(partial, path)
        # An interruption is no `Exception`, and must leave nothing behind either.
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    return path


def write_atomic_folder(folder: Path, files: Mapping[str, bytes | str], replace: bool = True) -> bool:
    """Write a folder of files so that it appears complete or not at all.

    Args:
        folder: where it goes; missing parents are made.
        files: name -> content.
        replace: whether an older folder of that name is replaced, whole; else it is left alone.

    Returns:
        Whether it was written; False if `replace` is False and there is such a folder by now.

    Raises:
        RunError: if the disk is full or the place cannot be written; an old folder stays, nothing is left behind.
    """
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
        try:
            # mkdtemp makes folders for their owner alone.
            partial.chmod(0o755)
            for name, content in files.items():
                (partial / name).write_bytes(_to_bytes(content))
                _sync(partial / name)
            if replace and folder.exists():
                return _exchange(partial, folder)
            try:
                os.rename(partial, folder)
            except OSError:
                if folder.exists() and not replace:
                    return False
                raise
            return True
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def set_aside(path: Path) -> Path:
    """Rename a file that is of no use, so that what is written in its place loses nothing; return its new path.

    Raises:
        RunError: if the folder cannot be written.
    """
    names = (path.with_name(f"{path.name}.unread{number or ''}") for number in count())
    aside = next(name for name in names if not name.exists())
    with disk_errors(path):
        os.rename(path, aside)
    return aside


def check_own(path: Path, notice: str, maker: str, option: str = "--output") -> None:
    """Raise RunError if there is a file that was not made here: nobody's own work is overwritten.

    Args:
        path: about to be written.
        notice: what every file of that kind holds that was made.
        maker: the command.
        option: its option that chooses the path.
    """
    with disk_errors(path):
        foreign = path.is_file() and notice.encode() not in path.read_bytes()
    if foreign:
        raise RunError(
            f"{path}: not made by `{maker}`, and would be overwritten; choose another {option}, or move it away"
        )


def _exchange(partial: Path, folder: Path) -> bool:
    """Put `partial` in the place of `folder`, which is removed; on failure `folder` stays."""
    old = partial.with_suffix(".old")
    # No system replaces a folder that holds something in one step.
    os.rename(folder, old)
    try:
        os.rename(partial, folder)
    except BaseException:
        os.rename(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
    return True


def _to_bytes(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _sync(path: Path) -> None:
    """Wait until the content is on the disk: after a power cut the name could else stand for an empty file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_MENDS = {
    errno.ENOSPC: "the disk is full; free some space and give the same command again, it continues",
    errno.EDQUOT: "the disk quota is used up; free some space and give the same command again",
    errno.EFBIG: "the file is larger than may be written here; free some space or write smaller files",
    errno.EACCES: "no permission; choose another folder",
    errno.EPERM: "no permission; choose another folder",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENOTDIR: "a file stands where a folder is needed; choose another folder",
    errno.EEXIST: "a file stands where a folder is needed; choose another folder",
}


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of the enclosed lines into a RunError that names `path` and the mend."""
    try:
        yield
    except OSError as error:
        number = error.errno
        if number is None:  # HDF5 names the number in its text only
            number = next((n for n in _MENDS if f"errno = {n}" in str(error)), None)
        reason = error.strerror or (str(error) or type(error).__name__).splitlines()[0]
        mend = _MENDS.get(number or 0, f"{reason}; choose another folder")
        raise RunError(f"cannot write {path}: {mend}") from error
