"""Where studies keep what they have run: trials and yardsticks by the digest of what determines them.

ROOT/trials/DIGEST/      run folder of a trial, shared by all studies that ask for it
ROOT/yardsticks/DIGEST/  test stars and their exact posteriors
.../failure.txt          the traceback of a start that failed
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from specvit.documents.opening import read_bytes
from specvit.errors import DataError
from specvit.jobs.stages import FOCUS, BoundStars
from specvit.jobs.stages.elsewhere import elsewhere_stage
from specvit.jobs.trial import Trial, Yardstick
from specvit.runs import RunFolder
from specvit.runs.atomic import write_atomic
from specvit.runs.folder import CONFIG
from specvit.runs.locks import only_command_in

FAILURE = "failure.txt"
State = Literal["done", "failed", "started", "waiting"]


@dataclass(frozen=True)
class Store:
    """The folder of all runs of all studies."""

    root: Path

    def folder_of(self, run: Trial | Yardstick) -> Path:
        """Return the folder of a trial or yardstick, whether it is there or not."""
        kind = "trials" if isinstance(run, Trial) else "yardsticks"
        return self.root / kind / run.digest

    def state_of(self, run: Trial | Yardstick) -> State:
        """Return how far it is."""
        return state_of(self.folder_of(run), run)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other commands from working on the same runs.

        Raises:
            RunError: if one does, or the folder cannot be written.
        """
        with only_command_in(
            self.root, "another `specvit study run` is at work here; wait for it or choose another --runs"
        ):
            yield


def state_of(folder: Path, run: Trial | Yardstick) -> State:
    """Return how far the run in a folder is."""
    if (folder / FAILURE).is_file():
        return "failed"
    if not (folder / CONFIG).is_file():
        return "waiting"
    try:
        found = RunFolder.open(folder)
        done = found.finished and all(found.is_done(stage) for stage in _further_stages(run))
    except DataError:
        # Damaged, which whoever carries it out says in full.
        return "started"
    return "done" if done else "started"


def keep_failure(folder: Path, text: str) -> None:
    """Write why a start failed."""
    write_atomic(folder / FAILURE, text)


def failure_of(folder: Path) -> str:
    """Return the last line of what a failed run left, the error; "" if nothing can be read."""
    with suppress(DataError):
        text = read_bytes(folder / FAILURE, "record of a failure", "run the study again").decode(
            errors="replace"
        )
        return text.strip().rpartition("\n")[2]
    return ""


def forget_failure(folder: Path) -> None:
    """Remove the record of an earlier failure."""
    (folder / FAILURE).unlink(missing_ok=True)
    # All that is there of a run that failed before it had a folder; a run is not begun in a folder of something else.
    with suppress(OSError):
        folder.rmdir()


def _further_stages(run: Trial | Yardstick) -> list[str]:
    if isinstance(run, Yardstick):
        return [BoundStars.name] if run.bounds else []
    return [elsewhere_stage(yardstick.spectra) for yardstick in run.elsewhere] + (
        [FOCUS] if run.focus else []
    )
