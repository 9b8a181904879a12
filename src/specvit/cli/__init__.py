"""The `specvit` command: one thin module per verb, imported when its verb is called."""

from specvit.cli.console import main

__all__ = ["main"]
