"""The `specvit` command: one thin module per verb, imported when its verb is called."""

from specvit.cli.entry import main

__all__ = ["main"]
