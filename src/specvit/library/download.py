"""Fetching many files over HTTP so that a broken line costs nothing: resumed, verified, retried.

A file is written under `.partial` and gets its name only after its compression has been checked to the last
byte; what has its name is finished. What there is to fetch is the business of `importers.bosz_archive`.
"""

from __future__ import annotations

import bz2
import gzip
import http.client
import os
import shutil
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import specvit
from specvit.errors import DataError, RunError
from specvit.runs.atomic import disk_errors

TIMEOUT_S = 60.0
BLOCK_BYTES = 1 << 18
RETRIES = 4
FIRST_PAUSE_S = 1.0

_BROKEN_LINE = (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException)
#: Answers that mean "later": too many requests, or trouble of the server's own.
_BUSY = (429, 500, 502, 503, 504)

T = TypeVar("T")


class NotOnServer(DataError):
    """The server says that there is no such file."""


@dataclass(frozen=True)
class RemoteFile:
    """One file to fetch: where it is and where it goes."""

    url: str
    path: Path


@dataclass(frozen=True)
class DownloadPlan:
    """What a download will do.

    Args:
        title: what is fetched, for people.
        files: all files, finished ones included.
        bytes_per_file: estimate for the unfinished ones, or None if the server does not say.
    """

    title: str
    files: Sequence[RemoteFile]
    bytes_per_file: float | None

    @property
    def remaining(self) -> list[RemoteFile]:
        """Files that are not there yet."""
        return [file for file in self.files if not file.path.is_file()]

    @property
    def bytes_needed(self) -> float | None:
        """Estimated bytes still to come, or None."""
        return None if self.bytes_per_file is None else self.bytes_per_file * len(self.remaining)


@dataclass
class DownloadReport:
    """What a download did: files fetched, bytes received, and files the server does not have."""

    fetched: int = 0
    received: int = 0
    missing: list[str] = field(default_factory=list)


def read_url(url: str, retries: int = 1) -> bytes:
    """Return the content of a small file.

    Raises:
        NotOnServer: if there is no such file.
        RunError: if the server cannot be reached; one line with the mend.
    """

    def read() -> bytes:
        with _open(url) as response:
            content: bytes = response.read()
        return content

    mend = "this needs the internet; where there is none, download elsewhere and copy the folder"
    return _with_retries(read, url, retries, mend)


def size_of(url: str) -> int | None:
    """Return the size of a remote file in bytes, or None if the server does not say."""
    try:
        with _open(url, method="HEAD") as response:
            length = response.headers.get("Content-Length")
    except (*_BROKEN_LINE, urllib.error.HTTPError):
        return None
    return None if length is None else int(length)


def download(
    plan: DownloadPlan,
    connections: int = 4,
    retries: int = RETRIES,
    progress: Callable[[int, int], None] | None = None,
) -> DownloadReport:
    """Fetch every file of `plan` that is not there yet; may be interrupted and run again at any time.

    Args:
        plan: what to fetch.
        connections: files fetched at once.
        retries: further attempts per file after a broken line or a damaged file, with growing pauses.
        progress: called with (files done, files in all).

    Raises:
        RunError: if the disk is too small or full, or a file cannot be fetched.
    """
    remaining = plan.remaining
    _check_space(plan)
    report, done = DownloadReport(), len(plan.files) - len(remaining)
    stop = threading.Event()
    with ThreadPoolExecutor(max(1, connections)) as pool:
        jobs = {pool.submit(fetch, file, retries, stop): file for file in remaining}
        try:
            for job in as_completed(jobs):
                try:
                    report.received += job.result()
                    report.fetched += 1
                except NotOnServer:
                    report.missing.append(jobs[job].path.name)
                done += 1
                if progress is not None:
                    progress(done, len(plan.files))
        except BaseException:
            # Also on Ctrl-C: the threads look at this between blocks; without it the pool would finish its
            # files first.
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return report


def fetch(file: RemoteFile, retries: int = RETRIES, stop: threading.Event | None = None) -> int:
    """Fetch one file, continuing a `.partial` one, and return the bytes received.

    Raises:
        NotOnServer: if there is no such file.
        RunError: if it cannot be fetched or written, or stays damaged.
    """
    partial = file.path.with_name(file.path.name + ".partial")
    # Not `write_atomic_path`: a part that has arrived is kept, for the next attempt to continue.
    with disk_errors(file.path):
        received = _with_retries(
            lambda: _continue(file.url, partial, file.path.suffix, stop), file.url, retries
        )
        os.replace(partial, file.path)
    return received


def damage(path: Path, suffix: str) -> str | None:
    """Return what is wrong with a compressed file (read to its end, checksum included), or None.

    Args:
        path: the file.
        suffix: ".gz" or ".bz2"; anything else is only checked not to be empty.

    Raises:
        OSError: if the system does not give it, of which nothing is known then.
    """
    try:
        if suffix not in (".gz", ".bz2"):
            return None if path.stat().st_size else "it is empty"
        with gzip.open(path, "rb") if suffix == ".gz" else bz2.open(path, "rb") as content:
            while content.read(1 << 22):
                pass
    except (EOFError, OSError, zlib.error) as error:
        # What the system says has a number, what gzip and bz2 say of the content has none.
        if getattr(error, "errno", None) is not None:
            raise
        return str(error) or type(error).__name__
    return None


def _open(url: str, offset: int = 0, method: str = "GET") -> Any:
    headers = {"User-Agent": f"specvit/{specvit.__version__}"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    request = urllib.request.Request(url, headers=headers, method=method)
    return urllib.request.urlopen(request, timeout=TIMEOUT_S)


class _Damaged(Exception):
    """A file came through but its content does not check."""


def _continue(url: str, partial: Path, suffix: str, stop: threading.Event | None) -> int:
    """Append to `partial` until the file is whole and verified; return the bytes received."""
    offset = partial.stat().st_size if partial.exists() else 0
    received = 0
    try:
        with _open(url, offset) as response:
            # A server that ignores the range answers 200 with the whole file: start it over, or the two would
            # be joined.
            continued = response.status == 206
            expected = _whole_size(response, offset if continued else 0)
            partial.parent.mkdir(parents=True, exist_ok=True)
            with open(partial, "ab" if continued else "wb") as target:
                while block := response.read(BLOCK_BYTES):
                    if stop is not None and stop.is_set():
                        raise RunError(f"{url}: stopped; run the same command again, it continues")
                    target.write(block)
                    received += len(block)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not offset:  # 416: nothing follows what is there already
            raise
        expected = None
    size = partial.stat().st_size
    if expected is not None and size < expected:
        raise ConnectionError(f"got {size} of {expected} bytes")
    wrong = damage(partial, suffix)
    if wrong is not None or (expected is not None and size > expected):
        partial.unlink()
        raise _Damaged(wrong or f"got {size} bytes, expected {expected}")
    return received


def _whole_size(response: http.client.HTTPResponse, offset: int) -> int | None:
    length = response.headers.get("Content-Length")
    return None if length is None else offset + int(length)


def _with_retries(
    action: Callable[[], T],
    url: str,
    retries: int,
    mend: str = "check the connection and run the same command again, it continues",
) -> T:
    pause, reason = FIRST_PAUSE_S, ""
    for attempt in range(retries + 1):
        if attempt:
            time.sleep(pause)
            # A server in trouble is given more time after each attempt.
            pause *= 2
        try:
            return action()
        except urllib.error.HTTPError as error:
            # The error is the response, and holds the connection open.
            error.close()
            if error.code == 404:
                raise NotOnServer(f"{url}: not on the server; check the address and the limits") from error
            reason = f"the server answers {error.code} {error.reason}"
            # Anything else will not change by asking again.
            if error.code not in _BUSY:
                break
        except _Damaged as error:
            reason = f"the file arrives damaged ({error})"
        except _BROKEN_LINE as error:
            reason = f"cannot be reached ({getattr(error, 'reason', None) or error})"
    raise RunError(f"{url}: {reason}; {mend}")


def _check_space(plan: DownloadPlan) -> None:
    if not plan.remaining or plan.bytes_needed is None:
        return
    folder = plan.remaining[0].path.parent
    # The folder may not exist yet; its nearest existing parent lies on the same disk.
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if plan.bytes_needed > free:
        raise RunError(
            f"{folder}: needs {plan.bytes_needed / 1e9:.1f} GB, has {free / 1e9:.1f} GB free; "
            "choose another folder or narrower limits"
        )
