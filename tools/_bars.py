"""Progress bars for the tools: what a job tells, drawn by rich."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import Progress

from specvit.jobs.watch import Update


class Bars:
    """A `Watch` that draws one bar per task."""

    @contextmanager
    def task(self, name: str) -> Iterator[Update]:
        """Draw a bar while the enclosed lines run."""
        with Progress() as progress:
            bar = progress.add_task(name, total=None)

            def update(done: float, total: float, text: str = "") -> None:
                progress.update(bar, completed=done, total=total, description=f"{name}  {text}".strip())

            yield update

    def say(self, line: str) -> None:
        """Print one line."""
        print(line)

    def warn(self, line: str) -> None:
        """Print one line as a warning."""
        print(f"warning: {line}")
