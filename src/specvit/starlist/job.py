"""`StarListJob`: parameters of all stars of a list, however long, with whatever of it was done before kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specvit.runs.cluster import results_of
from specvit.starlist.inputs import StarInput
from specvit.starlist.parts import PartsFolder, PartsIndex
from specvit.starlist.recipe import FitRecipe
from specvit.starlist.work import FileWork, work_alone, work_through

#: Files of a task for another process, at most, and tasks per worker at least: the last ones end at the same time.
TASK_FILES, TASKS_PER_WORKER = 64, 4

#: Called with the files done, their number, and the stars found since the start.
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Counts:
    """Stars of a list, how many of them were refused, the reason of the first, and whether it is one of usage."""

    stars: int
    refused: int
    reason: str
    usage: bool


class StarListJob:
    """The stars of a list of files.

    Args:
        inputs: the files, in the order of the table.
        recipe: how stars are fitted.
        folder: of the parts; made if needed.

    Raises:
        ConfigError: if the recipe's library is not there.
        DataError: if a part that is there was damaged.
    """

    def __init__(self, inputs: Sequence[StarInput], recipe: FitRecipe, folder: Path) -> None:
        self.inputs, self.recipe = inputs, recipe
        self.parts = PartsFolder(folder.absolute())
        digest = recipe.digest
        # Equal lines of a list are one file.
        self.keys = {one.key(digest): one for one in inputs}

    def index(self) -> PartsIndex:
        """Return what is done by now."""
        return self.parts.index()

    def run(self, workers: int = 1, dask: str | None = None, progress: Progress | None = None) -> None:
        """Do what is left.

        Args:
            workers: local processes, one thread each.
            dask: address of a Dask scheduler instead; folder and spectra must be where its workers find them.
            progress: told as files are done.

        Raises:
            ConfigError: for no workers, or options that cannot be meant.
            RunError: if parts or pictures cannot be written, another process is at work, or workers are gone.
        """
        with self.parts.locked():
            left = self._left()
            files, stars, total = len(self.keys) - len(left), 0, len(self.keys)

            def told(more_files: int, more_stars: int) -> None:
                nonlocal files, stars
                files, stars = files + more_files, stars + more_stars
                if progress is not None:
                    progress(files, total, stars)

            told(0, 0)
            if not left:
                return
            if dask is None and workers == 1:
                work_through(self._task(self.parts.next_unit(), left), told)
                return
            with closing(results_of(work_alone, self._tasks(left, workers), workers, dask)) as results:
                for done in results:
                    told(*done)

    def kept(self) -> Iterator[dict[str, Any]]:
        """Yield what is kept of each target, in the order of the list: see `work.work_through`."""
        yield from self.index().stars(self.keys)

    def summarise(self, path: Path) -> None:
        """Write one page about all stars; RunError if it cannot be written."""
        from specvit.starlist.summary import StarListSummary, write_summary

        folder = Path(self.recipe.plot) if self.recipe.plot is not None else None
        pages = "" if folder is None else os.path.relpath(folder, path.absolute().parent).replace(os.sep, "/")
        write_summary(path, StarListSummary(self.recipe.bins, self.recipe.provenance, pages), self.kept())

    def stars(self) -> Iterator[dict[str, Any]]:
        """Yield the stars alone: all that is said of each, or the reason why it was refused."""
        return (one["star"] for one in self.kept())

    def counts(self) -> Counts:
        """Return how many there are."""
        stars = refused = 0
        first: dict[str, Any] = {}
        for one in self.kept():
            stars += 1
            if "reason" in one["star"]:
                refused += 1
                first = first or one
        return Counts(stars, refused, first.get("star", {}).get("reason", ""), bool(first.get("usage")))

    def _left(self) -> list[tuple[str, StarInput, int]]:
        index = self.index()
        done = {key: index.done(key) for key in self.keys}
        return [(key, one, done[key][0]) for key, one in self.keys.items() if not done[key][1]]

    def _tasks(self, left: list[tuple[str, StarInput, int]], workers: int) -> Iterator[FileWork]:
        size = max(1, min(TASK_FILES, len(left) // (TASKS_PER_WORKER * workers)))
        unit = self.parts.next_unit()
        for number, first in enumerate(range(0, len(left), size)):
            yield self._task(unit + number, left[first : first + size])

    def _task(self, unit: int, inputs: list[tuple[str, StarInput, int]]) -> FileWork:
        return FileWork(unit, self.parts.folder, self.recipe, tuple(inputs))
