"""Progress, behind the small protocol that jobs report to (`specvit.jobs.Watch`).

On a terminal it is bars; in a log, a pipe or on a terminal that cannot move its cursor, a line now and then.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from specvit.cli.spelling import spelled, without_control

if TYPE_CHECKING:
    from specvit.jobs.watch import Update

#: Seconds between two lines about the same stage, where there are no bars.
INTERVAL = 30.0
#: Columns below which a bar would leave no room for its name.
NARROW = 70


class RichProgress:
    """Shows stages one below the other, with elapsed and remaining time.

    Args:
        console: where; bars are drawn only if it is a terminal that can move its cursor.
        transient: leave nothing on the screen at the end.
    """

    def __init__(self, console: Console, transient: bool = False) -> None:
        self.console, self._transient = console, transient
        # Not rich's own guess: FORCE_COLOR in a log asks for colours, not for bars.
        drawn = console.file.isatty() and not console.is_dumb_terminal
        self._bars = Progress(
            *_columns(console.width), console=console, transient=transient, disable=not drawn
        )
        self._drawn = drawn

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    @contextmanager
    def task(self, name: str) -> Iterator[Update]:
        """Show a stage while the enclosed lines run; the yielded function takes (done, total[, text])."""
        stage = self._drawn_stage(name) if self._drawn else self._told_stage(name)
        with stage as update:
            yield update

    def say(self, line: str) -> None:
        """Print one line, above the bars."""
        self._print(line)

    def warn(self, line: str) -> None:
        """Print one line as a warning, above the bars."""
        self._print(f"warning: {line}", style="bold red")

    def _print(self, line: str, style: str | None = None) -> None:
        # A log that cannot be written ends no job.
        with suppress(OSError):
            self.console.print(
                without_control(line),
                style=style,
                markup=False,
                highlight=False,
                emoji=False,
                soft_wrap=True,
            )

    @contextmanager
    def _drawn_stage(self, name: str) -> Iterator[Update]:
        def printable(text: str) -> str:
            return spelled(without_control(text), self.console.encoding)

        def update(done: float, total: float, text: str = "") -> None:
            words = printable(f"{name}  {text}") if text else None
            self._bars.update(task, completed=done, total=total, description=words)

        task = self._bars.add_task(printable(name), total=None)
        yield update
        self._bars.update(task, completed=1, total=1)

    @contextmanager
    def _told_stage(self, name: str) -> Iterator[Update]:
        began = last = time.monotonic()
        # What an earlier command did took this one no time.
        before: float | None = None

        def update(done: float, total: float, text: str = "") -> None:
            nonlocal last, before
            before = done if before is None else before
            now = time.monotonic()
            if now - last >= INTERVAL:
                last = now
                share = f"{100 * done / total:.0f} % " if total else ""
                new = done - before
                left = f", {(now - began) * (total - done) / new:.0f} s to go" if total and new > 0 else ""
                self.say(f"{name}: {share}after {now - began:.0f} s{left}{text and f', {text}'}")

        yield update
        if not self._transient:
            self.say(f"{name}: done in {time.monotonic() - began:.1f} s")


def _columns(width: int) -> list[ProgressColumn]:
    if width < NARROW:
        return [TextColumn("{task.description}", markup=False), TaskProgressColumn()]
    return [
        TextColumn("{task.description:<28}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    ]
