"""A run folder under work: typed stages, each done once however often the job is started.

A stage is given its inputs when it is made, and nothing else: what it may depend on is what its fields say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from specvit.jobs.watch import Update, Watch
from specvit.runs import RunFolder

Product = TypeVar("Product", covariant=True)
Made = TypeVar("Made")

#: Small facts that a stage leaves in the provenance, JSON-ready.
Record = dict[str, Any]


class Stage(Protocol[Product]):
    """One step of a job, from its inputs (fields of the stage) to what it hands on.

    Args:
        name: in the provenance; unique in a job.
        title: on the progress bar, and in the line that says it was done before.
    """

    @property
    def name(self) -> str:
        """Name in the provenance."""

    @property
    def title(self) -> str:
        """What a watcher is told."""

    def make(self, run: RunFolder, record: Record, update: Update) -> Product:
        """Do the work, write what is to be kept, and return it; `record` goes into the provenance."""

    def read(self, run: RunFolder) -> Product:
        """Return what an earlier start of the job made.

        Raises:
            DataError: if it is missing or damaged.
        """


@dataclass(frozen=True)
class Work:
    """A job at work on its run folder.

    Args:
        run: the folder.
        watch: who is told.
    """

    run: RunFolder
    watch: Watch

    def do(self, stage: Stage[Made]) -> Made:
        """Return what a stage makes: now, or from an earlier start of the job."""
        if self.run.is_done(stage.name):
            self.watch.say(f"{stage.title}: done before")
            # Read, not remembered: whatever is used later is what the folder holds.
            return stage.read(self.run)
        with self.run.stage(stage.name) as record, self.watch.task(stage.title) as update:
            made = stage.make(self.run, record, update)
            update(1, 1)
        return made
