"""How a job tells how far it is, without knowing a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Update(Protocol):
    """Called as a task goes on."""

    def __call__(self, done: float, total: float, text: str = "") -> None:
        """Tell how much is done, and in a few words what is going on."""


class Watch(Protocol):
    """What a job needs from whoever watches it."""

    def task(self, name: str) -> AbstractContextManager[Update]:
        """Announce a task; the enclosed lines call the yielded function."""

    def say(self, line: str) -> None:
        """Show one line."""

    def warn(self, line: str) -> None:
        """Show one line that must not be overlooked."""


class Quiet:
    """Nobody watches."""

    @contextmanager
    def task(self, name: str) -> Iterator[Update]:
        """Yield a function that does nothing."""
        yield lambda done, total, text="": None

    def say(self, line: str) -> None:
        """Drop the line."""

    def warn(self, line: str) -> None:
        """Drop the line."""
