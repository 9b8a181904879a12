"""Options that the `specvit library` commands share, and how they are read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from specvit.cli.terminal import say
from specvit.errors import ConfigError

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Out = Annotated[Path, typer.Option(help="Library file to write (.h5); its folder must exist.")]
Folder = Annotated[Path, typer.Option(help="Where the files go; made if needed, continued if it is there.")]
Start = Annotated[float, typer.Option(help="First wavelength, Å (vacuum).")]
Stop = Annotated[float, typer.Option(help="Last wavelength, Å (vacuum).")]
Resolution = Annotated[float, typer.Option(help="Resolution of the result.")]
Workers = Annotated[int, typer.Option(help="Processes.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before starting.")]
LimitOption = Annotated[
    list[str] | None, typer.Option("--limit", help="LABEL=LOW:HIGH or LABEL=VALUE; may be repeated.")
]


def parse_limits(texts: list[str] | None, any_label: bool = False) -> dict[str, tuple[float, float]]:
    """Return label -> (low, high) from texts such as 'teff=3750:6000' and 'alpha_m=0.4'.

    Args:
        texts: as given.
        any_label: take names that no published library has, as only the library, yet to be read, knows them.

    Raises:
        ConfigError: if a text is not of that form, names an unknown label or is empty.
    """
    from specvit.errors import LabelError
    from specvit.library.importers.nodes import check_limits
    from specvit.spectra.labels import STELLAR_UNITS

    limits = {}
    for text in texts or []:
        name, equals, values = text.partition("=")
        low, _, high = values.partition(":")
        try:
            limits[name.strip()] = (float(low), float(high or low))
        except ValueError:
            equals = ""
        if not equals:
            raise ConfigError(
                f"--limit '{text}': expected LABEL=LOW:HIGH, like teff=3750:6000, or LABEL=VALUE"
            )
    try:
        check_limits(limits, known=tuple(limits) if any_label else tuple(STELLAR_UNITS))
    except LabelError as error:
        raise ConfigError(f"--limit: {error}") from error
    return limits


def check_out(path: Path) -> None:
    """Raise ConfigError if `path` cannot be written to, before hours of work end in that error."""
    folder = path.absolute().parent
    if path.is_dir():
        raise ConfigError(f"--out {path}: is a folder; name a file")
    if not folder.is_dir():
        raise ConfigError(f"--out {path}: there is no folder {folder}; make it first")
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"--out {path}: no permission to write in {folder}; choose another folder")


def check_at_least_one(**options: int | None) -> None:
    """Raise ConfigError, naming the option, if a number is given that is not at least 1."""
    for name, value in options.items():
        if value is not None and value < 1:
            raise ConfigError(f"--{name}: expected at least 1, got {value}")


def agree(question: str) -> None:
    """Ask on the terminal; without one, or on 'no', stop with ConfigError.

    Raises:
        ConfigError: if the answer is no, or nobody can answer.
    """
    import sys

    # A batch job would wait for the answer for ever.
    if not sys.stdin.isatty():
        raise ConfigError("nobody is here to agree; add --yes to start")
    say(f"{question} [y/N]")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfigError("not started")
