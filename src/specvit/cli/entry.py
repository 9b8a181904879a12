"""Where the command starts: it can be interrupted before anything that takes time to import is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext

from specvit.cli.interruption import Interrupted, interruptible
from specvit.cli.terminal import say_if_heard

#: Verbs that write all or nothing, and what is said of them and of all others when they are interrupted.
WHOLE = ("calibrate", "refine")
ANEW = "nothing was written; the same command starts anew"
CONTINUED = "the same command continues after the last finished stage"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, see `specvit.cli.console.EXIT_CODES`.

    Args:
        arguments: what follows `specvit`, or None for this process's own command line. Only then are the signals
            that ask a process to stop this command's business.
    """
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    said: list[int] = []

    def say_interrupted(number: int) -> int:
        # Once; and of torchrun's processes the first speaks for all.
        if not said and os.environ.get("RANK", "0") == "0":
            say_if_heard(f"interrupted: {ANEW if words[0] in WHOLE else CONTINUED}")
        said.append(number)
        return 128 + number

    try:
        with interruptible(say_interrupted) if arguments is None else nullcontext():
            from specvit.cli.console import outcome

            return outcome(words)
    except Interrupted as interruption:
        return say_interrupted(interruption.number)
