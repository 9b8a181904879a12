"""Why a file cannot be opened or read, in the system's own terms.

A file that is locked, forbidden, on a drive that does not answer, or no file at all is not damaged, and nobody is told
that it is. Content is the business of each form's reader.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path

from specvit.errors import AccessError, DataError

#: Numbers of errors of a disk or of the network between it and this machine.
_AWAY = (
    *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH),
    *(errno.ENXIO, errno.ENODEV, errno.EREMOTEIO, errno.ENETDOWN, errno.ENETUNREACH, errno.ECONNRESET),
)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def system_cause(path: Path, number: int | None, said: str, what: str) -> str | None:
    """Return cause and mend of an error of the system, or None if its number says nothing of the kind.

    Args:
        path: the file.
        number: errno.
        said: the system's words.
        what: what the file should be, for the mend.
    """
    if number == errno.ENOENT and _ADDRESS.match(str(path)):
        return f"is an address, expected a {what}; download it first"
    if number in (errno.EACCES, errno.EPERM):
        return f"no permission to read it; ask its owner, or give another {what}"
    if number in (errno.EAGAIN, errno.EBUSY, errno.EDEADLK, errno.ETXTBSY, errno.ENOLCK):
        return f"in use by another process ({said}); wait until that has ended"
    if number in _AWAY:
        return f"its disk or network drive does not answer ({said}); try again when it does"
    if number in (errno.EMFILE, errno.ENFILE):
        return f"too many files are open ({said}); close some, or raise the limit with `ulimit -n`"
    if number == errno.ENOMEM:
        return "does not fit into memory; close other programs"
    return None


def access_error(path: Path, error: OSError, what: str) -> AccessError:
    """Return the error that says why the system does not give a file.

    Args:
        path: the file.
        error: the system's.
        what: what the file should be ("library file").
    """
    said = error.strerror or str(error)
    cause = system_cause(path, error.errno, said, what)
    return AccessError(f"{path}: {cause or f'cannot be read ({said}); give another {what}'}")


def is_there(path: Path, what: str) -> bool:
    """Return whether a file or folder is there.

    Raises:
        AccessError: if the system does not say: its folder is forbidden, or out of reach.
    """
    try:
        return path.exists()
    except OSError as error:
        raise access_error(path, error, what) from error


def read_bytes(path: Path, what: str, remake: str, missing: str | None = None) -> bytes:
    """Return the content of a file.

    Args:
        path: the file.
        what: what it should be ("library file"), for messages.
        remake: how to get it if it is missing or empty.
        missing: said instead if it is missing.

    Raises:
        AccessError: if the system does not give it: forbidden, in use, out of reach, an address.
        DataError: if it is missing, a folder or empty.
    """
    return _read(path, what, remake, -1, missing)


def check_readable(path: Path, what: str, remake: str) -> None:
    """Raise as `read_bytes` does if a file, which another library will read, cannot be opened and read."""
    _read(path, what, remake, 1)


def _read(path: Path, what: str, remake: str, size: int, missing: str | None = None) -> bytes:
    try:
        if path.exists() and not path.is_file():  # opening a named pipe would wait for ever
            found = "a folder" if path.is_dir() else "no regular file"
            raise DataError(f"{path}: is {found}, expected a {what}; give the file")
        with path.open("rb") as file:
            content = file.read(size)
    except MemoryError as error:
        raise DataError(f"{path}: does not fit into memory; read a smaller file") from error
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR) and not _ADDRESS.match(str(path)):
            raise DataError(missing or f"{path}: no such file, expected a {what}; {remake}") from error
        raise access_error(path, error, what) from error
    if not content:
        raise DataError(f"{path}: is empty (0 bytes), expected a {what}; {remake}")
    return content
