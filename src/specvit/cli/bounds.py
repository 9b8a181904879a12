"""How large a number on the command line may be: beyond, a command runs for ever or fills the memory.

One table for all verbs, since an option's name means the same in each. Whole numbers are counts and seeds: none is below
zero. Other lower bounds are with those who use the numbers, and know why.
"""

from __future__ import annotations

import functools
from typing import Any

from specvit.errors import ConfigError

#: As `jobs.config.sections` has it, which is not imported for a help text; a test compares the two.
MOST_SPECTRA = 100_000_000
#: Of an option without an entry below.
LARGEST_NUMBER = 2**63 - 1

#: Option -> largest size of its value, in the option's unit; None where its user has the bound.
LARGEST: dict[str, float | None] = {
    **dict.fromkeys(("spectra", "validation", "test", "count", "stars", "posteriors"), MOST_SPECTRA),
    "seed": 2**63 - 1,
    # Of trainings and probes.
    "train": MOST_SPECTRA,
    **{"updates": 100_000_000, "batch": 1_000_000, "seeds": 1000, "information": 10_000},
    **{"lr": 100, "layer_decay": 1, "teacher_noise": 100},
    "shards": 100_000,
    # Processes, threads and connections: of the largest machines there are.
    **dict.fromkeys(("workers", "threads"), 4096),
    "connections": 64,
    "retries": 1000,
    "steps": 100_000_000,
    "expected_steps": 100_000_000,
    "minutes": 43_200,  # thirty days
    "hours": 8_760,  # a year
    "timeout": 2_592_000,  # s, thirty days
    "noise_level": 1e6,
    "clip": 100,  # σ
    "labels": 100,
    "continuum": 1_000_000,
    "components": 100_000,
    "sobol": 10_000_000,
    **dict.fromkeys(("held_out", "widened"), 1),
    "strength": 1,
    "draws": 100_000,
    "velocity": 299_792,  # km/s
    "core_error": 10,
    "release": 9999,
    "microturbulence": 1000,  # km/s
    **dict.fromkeys(("resolution", "source_resolution"), 1e15),
    **dict.fromkeys(("start", "stop"), 1e12),  # Å
    "snr": 1e6,  # per pixel: ten times that of a full well
    # Of conditions the instrument knows the bounds.
    **dict.fromkeys(
        ("mag", "seeing", "zenith_angle", "field_angle", "moon", "exposure_time", "exposure_count")
    ),
}


#: Option -> smallest whole number, where it is not 0.
LOWEST = {"continuum": -1}


def bounded(command: Any) -> Any:
    """Return a command, of whichever click typer brings, that checks its numbers before it starts.

    Raises, when it is called:
        ConfigError: for a number that is too large or none, or a count below zero; names the option and the bound.
    """
    for below in getattr(command, "commands", {}).values():
        bounded(below)
    work = command.callback
    if work is None:
        return command

    @functools.wraps(work)
    def checked(*arguments: Any, **options: Any) -> Any:
        for name, value in options.items():
            check_size(name, value)
        return work(*arguments, **options)

    command.callback = checked
    return command


def check_size(name: str, value: Any) -> None:
    """Raise ConfigError if the option `name` has a number beyond its bounds; other values pass."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if isinstance(value, int) and value < LOWEST.get(name, 0):
        # Of a slice it would be all but the last.
        raise ConfigError(f"--{name.replace('_', '-')}: expected {LOWEST.get(name, 0)} or more, got {value}")
    most = LARGEST.get(name, LARGEST_NUMBER)
    # In this form a NaN is refused too.
    if most is not None and not abs(value) <= most:
        option = "--" + name.replace("_", "-")
        got = f"{value:g}" if isinstance(value, float) else f"a number of {value.bit_length()} bits"
        shown = f"{value:,}" if isinstance(value, int) and abs(value) < 10**18 else got
        raise ConfigError(f"{option}: expected at most {most:,}, got {shown}")
