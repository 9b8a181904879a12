"""The one rich console: tables without markup, in any encoding, never narrower than their numbers."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from specvit.cli.spelling import spelled, without_control
from specvit.cli.terminal import ReaderGone, told_if_lost

#: Columns a table may ask for.
WIDEST = 500


class Screen(Console):
    """A console for which nothing is markup: brackets, colons and escapes in a path are printed as they are.

    Args:
        stderr: print on standard error.
        quiet: print nothing.
    """

    def __init__(self, stderr: bool = False, quiet: bool = False) -> None:
        super().__init__(
            stderr=stderr, quiet=quiet, markup=False, highlight=False, emoji=False, soft_wrap=True
        )

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text as it will be printed, spelled before widths are measured."""
        return super().render_str(spelled(without_control(text), self.encoding), **options)

    def on_broken_pipe(self) -> None:
        """Raise ReaderGone; rich would end the process."""
        raise ReaderGone


def print_table(console: Console, table: Table) -> None:
    """Print a table, wider than the terminal if need be: one that is cut would lose digits.

    Errors as `specvit.cli.terminal.told_if_lost`.
    """
    widest = console.options.update(max_width=WIDEST)
    console.width = max(console.width, Measurement.get(console, widest, table).maximum)
    with told_if_lost():
        console.print(table)
