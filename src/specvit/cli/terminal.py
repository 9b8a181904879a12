"""The only way a verb prints lines: results to standard output, what is going on to standard error.

Nothing that is printed is markup, whatever it holds; what an encoding lacks is spelled out
(`specvit.cli.spelling`). Tables and bars are `specvit.cli.screen` and `specvit.cli.progress`.
"""

from __future__ import annotations

import io
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from specvit.cli.spelling import SPELLED, without_control
from specvit.errors import RunError

#: A text, or a text and its style: bold, red, green or yellow.
Piece = str | tuple[str, str]

_STYLES = {"bold": 1, "red": 31, "green": 32, "yellow": 33}


class ReaderGone(BaseException):
    """Nobody reads what is printed any more (`| head`): the command ends, quietly.

    No `Exception`, so that it passes through what turns errors of disks and models into messages: a reader that
    left is none of those.
    """


def prepare_streams() -> None:
    """Make the standard streams take any text, and put /dev/null where one is closed.

    Raises:
        RunError: if standard output is closed: whatever a verb computed could not be told.
    """
    closed = [name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None]
    for name in closed:
        # Also the descriptor: else the next file opened would become standard output for C libraries.
        mode = "r" if name == "stdin" else "w"
        setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (as long as the process)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=SPELLED)
    if "stdout" in closed:
        raise RunError("standard output is closed; leave it open or send it to a file or /dev/null")


@contextmanager
def told_if_lost() -> Iterator[None]:
    """Make of a result that cannot be printed what the command can say about it.

    Raises:
        ReaderGone: for a pipe that nobody reads.
        RunError: for a full disk and the like.
    """
    try:
        yield
    except BrokenPipeError:
        raise ReaderGone from None
    except OSError as error:
        raise RunError(
            f"cannot print the result: {error.strerror}; send it to where there is space"
        ) from error


def show(*pieces: Piece) -> None:
    """Print one line of the result, on standard output; errors as `told_if_lost`."""
    with told_if_lost():
        # Flushed, so that a full disk or a closed pipe is noticed here and not at the interpreter's end.
        print(_line(sys.stdout, pieces), flush=True)


def show_json(value: Any, indent: int | None = None) -> None:
    """Print the result as JSON, on standard output; what is not finite, which JSON cannot say, is null.

    Errors as `told_if_lost`.
    """
    text = json.dumps(_finite(value), indent=indent, allow_nan=False)
    with told_if_lost():
        print(text, flush=True)


def say(*pieces: Piece) -> None:
    """Print one line about what is going on, on standard error; a log that cannot be written ends no job.

    Raises:
        ReaderGone: if standard error is a pipe that nobody reads.
    """
    try:
        print(_line(sys.stderr, pieces), file=sys.stderr, flush=True)
    except BrokenPipeError:
        raise ReaderGone from None
    except OSError:
        pass


def say_if_heard(*pieces: Piece) -> None:
    """Print a last line as `say` does, for ends that nobody may be there to read of."""
    with suppress(ReaderGone):
        say(*pieces)


def drop_output() -> None:
    """Send what could not be printed nowhere, or the interpreter would try again, and complain, when it ends."""
    for stream in (sys.stderr, sys.stdout):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _line(stream: TextIO, pieces: tuple[Piece, ...]) -> str:
    coloured = (
        stream.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "") not in ("dumb", "unknown")
    )
    parts = []
    for piece in pieces:
        text, style = (piece, "") if isinstance(piece, str) else piece
        text = without_control(text)
        parts.append(f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if style and coloured else text)
    return "".join(parts)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
