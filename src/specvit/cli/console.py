"""The frame of the command line: the table of verbs, lazy loading, errors and exit codes.

Verbs do the work; nothing here knows what they do. Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup

import specvit
from specvit.cli.bounds import bounded
from specvit.errors import SpecvitError

INTERRUPTED = 130


class Verb(NamedTuple):
    """Where a verb lives (`module:attribute`, a function or a `typer.Typer`), and its line of help."""

    target: str
    help: str


VERBS = {
    "run": Verb("specvit.cli.run:run", "Simulate, fit, evaluate and report in one command."),
    "simulate": Verb("specvit.cli.simulate:simulate", "Write simulated spectra to sharded HDF5 files."),
    "train": Verb("specvit.cli.train:train", "Train a network on simulated or stored spectra."),
    "library": Verb("specvit.cli.library:app", "List, import, build or synthesise spectral libraries."),
    "instrument": Verb("specvit.cli.instrument:app", "List and describe spectrographs and their noise."),
    "ceiling": Verb("specvit.cli.ceiling:ceiling", "Compute how well a label can be measured at best."),
    "explain": Verb("specvit.cli.explain:explain", "Show which lines a trained network looks at."),
    "report": Verb("specvit.cli.report:report", "Turn a run folder into one HTML page, figures and tables."),
    "doctor": Verb("specvit.cli.doctor:doctor", "Check this installation: versions, device, data, disk."),
}


class LazyGroup(TyperGroup):
    """A group that knows its verbs by name and imports one only when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the verbs in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of a verb, or None if there is no such verb."""
        verb = VERBS.get(cmd_name)
        return None if verb is None else bounded(_command(cmd_name, _load(verb)))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the verbs from the table, without importing any of them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, VERBS[name].help) for name in self.list_commands(ctx)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; every expected error is one line on stderr.

    Args:
        arguments: what follows `specvit`, or None for this process's own command line.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    with_traceback = "--traceback" in arguments
    # Taken out here so that it may follow the verb, where one adds it after an error.
    arguments = [argument for argument in arguments if argument != "--traceback"]
    try:
        result = _root().main(args=arguments, prog_name="specvit", standalone_mode=False)
        if result == INTERRUPTED:
            return _interrupted()
        return result if isinstance(result, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except BrokenPipeError:
        # The reader (`| head`) is gone; keep the interpreter from flushing into it on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if with_traceback:
            traceback.print_exc()
        if isinstance(error, SpecvitError):
            return _fail(str(error), error.exit_code)
        if hasattr(error, "format_message"):  # a usage error, from whichever click typer brings
            return _fail(_usage(error), getattr(error, "exit_code", 2))
        return _fail(_unexpected(error, with_traceback), 1)


def _root() -> Any:
    app = typer.Typer(
        cls=LazyGroup,
        name="specvit",
        help="How well can stellar parameters be measured from this spectrum, and what is the best estimate?",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def root(
        version: bool = typer.Option(
            False, "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
        traceback: bool = typer.Option(False, "--traceback", help="Show the Python traceback of an error."),
    ) -> None:
        pass

    return typer.main.get_command(app)


def _command(name: str, target: Any) -> Any:
    if not isinstance(target, typer.Typer):
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name)(target)
        target = app
    command = typer.main.get_command(target)
    command.name = name
    return command


def _load(verb: Verb) -> Any:
    module, _, attribute = verb.target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"specvit {specvit.__version__}")
        raise typer.Exit


def _fail(message: str, code: int) -> int:
    line = " ".join(message.split())
    typer.secho(f"error: {line}", err=True, fg=typer.colors.RED)
    return code


def _interrupted() -> int:
    typer.secho("interrupted: the same command continues after the last finished stage", err=True)
    return INTERRUPTED


def _usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "specvit"
    return f"{error.format_message().rstrip('.')} (see `{path} --help`)"


def _unexpected(error: Exception, shown: bool) -> str:
    what = f"unexpected {type(error).__name__}: {error}"
    if shown:
        return what
    with tempfile.NamedTemporaryFile("w", prefix="specvit-", suffix=".traceback", delete=False) as file:
        file.write("".join(traceback.format_exception(error)))
    return f"{what}; this is a bug in specvit, please report it with {Path(file.name)}"
