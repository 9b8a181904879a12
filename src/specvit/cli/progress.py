"""Progress on the terminal, behind the small protocol that jobs report to (`specvit.jobs.Progress`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class RichProgress:
    """One bar per stage, with elapsed and remaining time; stages that were done before are said to be."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    @contextmanager
    def task(self, name: str) -> Iterator[Callable[[int, int], None]]:
        """Show a bar while the enclosed lines run; the yielded function takes (done, total)."""
        task = self._bars.add_task(name, total=None)
        yield lambda done, total: self._bars.update(task, completed=done, total=total)
        self._bars.update(task, completed=1, total=1)

    def say(self, line: str) -> None:
        """Print one line above the bars."""
        self.console.print(line)
