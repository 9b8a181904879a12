"""The frame of the command line: the table of verbs, lazy loading, errors and exit codes.

Verbs do the work; nothing here knows what they do. The exit codes are in `EXIT_CODES`, which `--help` shows.
"""

from __future__ import annotations

import importlib
import signal
import tempfile
import traceback
from pathlib import Path
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup

import specvit
from specvit.cli.bounds import bounded
from specvit.cli.interruption import Interrupted, received
from specvit.cli.spelling import SPELLED
from specvit.cli.terminal import ReaderGone, drop_output, prepare_streams, say_if_heard, show
from specvit.errors import SpecvitError
from specvit.runs.memory import freed_memory_kept

READER_GONE = 141
EXIT_CODES = (
    "Exit codes: 0 done; 1 failed; 2 usage; 129, 130 or 143 interrupted (SIGHUP, Ctrl-C, SIGTERM); "
    "141 nobody reads the output."
)


class Verb(NamedTuple):
    """Where a verb lives (`module:attribute`, a function or a `typer.Typer`), and its line of help."""

    target: str
    help: str


VERBS = {
    "predict": Verb(
        "specvit.cli.predict:predict", "Stellar parameters from real spectra, with errors and flags."
    ),
    "calibrate-stars": Verb(
        "specvit.cli.calibrate_stars:calibrate_stars",
        "What a library gets wrong, from spectra of stars of known parameters.",
    ),
    "run": Verb("specvit.cli.run:run", "Simulate, fit, evaluate and report in one command."),
    "denoise": Verb(
        "specvit.cli.denoise:denoise", "Take the noise out of spectra, and say how certain that is."
    ),
    "simulate": Verb("specvit.cli.simulate:simulate", "Write simulated spectra to sharded HDF5 files."),
    "train": Verb("specvit.cli.train:train", "Train a network on simulated or stored spectra."),
    "calibrate": Verb(
        "specvit.cli.calibrate:calibrate", "Correct the errors of a trained network for other stars or noise."
    ),
    "refine": Verb("specvit.cli.refine:refine", "Make a trained network better where stars are bright."),
    "library": Verb("specvit.cli.library:app", "List, import, build or synthesise spectral libraries."),
    "instrument": Verb("specvit.cli.instrument:app", "List and describe spectrographs and their noise."),
    "ceiling": Verb("specvit.cli.ceiling:ceiling", "Compute how well a label can be measured at best."),
    "explain": Verb("specvit.cli.explain:explain", "Show which lines a trained network looks at."),
    "latents": Verb(
        "specvit.cli.latents:latents", "Write what the layers of a network make of spectra to a file."
    ),
    "probe": Verb(
        "specvit.cli.probe:probe", "Read labels off the layers of trained networks, with controls."
    ),
    "distil": Verb(
        "specvit.cli.distil:distil", "Train small networks on what a large one, or the posterior, states."
    ),
    "finetune": Verb(
        "specvit.cli.finetune:finetune", "Train a network further on few stars of another world."
    ),
    "study": Verb("specvit.cli.study:app", "List, plan, run and judge declared experiments."),
    "audit": Verb(
        "specvit.cli.audit:app", "Check features for leaks, and mixtures of experts for gains that are none."
    ),
    "hub": Verb("specvit.cli.hub:app", "Turn the results of studies into hub, roadmap and findings."),
    "paper": Verb(
        "specvit.cli.paper:app", "Turn the results of studies into figures, tables and numbers of a paper."
    ),
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


def outcome(arguments: list[str]) -> int:
    """Run one command line and return its exit code; every expected error is one line on stderr.

    Raises:
        Interrupted: if the command was.
    """
    with_traceback = "--traceback" in arguments
    # Taken out here so that it may follow the verb, where one adds it after an error.
    arguments = [argument for argument in arguments if argument != "--traceback"]
    try:
        prepare_streams()
        # Undone at the end: `main` is called from Python, too.
        with freed_memory_kept():
            return _invoke(arguments)
    except ReaderGone:
        drop_output()
        return READER_GONE
    except (KeyboardInterrupt, typer.Abort):
        raise Interrupted(signal.SIGINT) from None
    except Exception as error:
        number = received()
        if number is not None:  # what a library makes of an interruption
            raise Interrupted(number) from error
        return _told(error, with_traceback)


def _invoke(arguments: list[str]) -> int:
    # Not click's own main, for which every broken pipe, a dead worker's too, is a quiet end with code 1.
    command = _root()
    try:
        with command.make_context("specvit", arguments) as context:
            result = command.invoke(context)
    except typer.Exit as end:
        result = end.exit_code
    return result if isinstance(result, int) else 0


def _told(error: Exception, with_traceback: bool) -> int:
    """Print one line about an error and return the exit code."""
    if with_traceback:
        say_if_heard("".join(traceback.format_exception(error)).rstrip())
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

    @app.callback(epilog=EXIT_CODES)
    def root(
        version: bool = typer.Option(
            False, "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
        traceback: bool = typer.Option(False, "--traceback", help="Show the Python traceback of an error."),
    ) -> None:
        pass

    return _with_own_help(typer.main.get_command(app))


def _command(name: str, target: Any) -> Any:
    if not isinstance(target, typer.Typer):
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name)(target)
        target = app
    command = typer.main.get_command(target)
    command.name = name
    return _with_own_help(command)


def _with_own_help(command: Any) -> Any:
    """Let a command, and those below it, print help as we print: click writes UTF-8 to a stream that is ASCII."""
    written = command.get_help

    def get_help(context: Any) -> None:
        show(written(context))
        raise typer.Exit

    command.get_help = get_help
    for below in getattr(command, "commands", {}).values():
        _with_own_help(below)
    return command


def _load(verb: Verb) -> Any:
    module, _, attribute = verb.target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _print_version(wanted: bool) -> None:
    if wanted:
        show(f"specvit {specvit.__version__}")
        raise typer.Exit


def _fail(message: str, code: int) -> int:
    say_if_heard((f"error: {' '.join(message.split())}", "red"))
    return code


def _usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "specvit"
    return f"{error.format_message().rstrip('.')} (see `{path} --help`)"


def _unexpected(error: Exception, shown: bool) -> str:
    what = f"unexpected {type(error).__name__}: {error}"
    if shown:
        return what
    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="specvit-", suffix=".traceback", delete=False, encoding="utf-8", errors=SPELLED
        ) as file:
            file.write(text)
    except OSError:
        return f"{what}; this is a bug in specvit, please report it with what --traceback shows"
    return f"{what}; this is a bug in specvit, please report it with {Path(file.name)}"
