"""`specvit doctor`: what is installed, what works and what is missing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import typer

from specvit.cli.terminal import show, show_json

State = Literal["ok", "missing", "broken"]
MARKS = {"ok": "✓", "missing": "–", "broken": "✗"}
COLOURS = {"ok": "green", "missing": "yellow", "broken": "red"}

#: A plain installation brings both groups; without the second everything else still works.
CORE = ("torch", "numpy", "scipy", "h5py", "safetensors", "pydantic", "typer", "rich")
CORE_BUT_LAZY = {
    "matplotlib": "figures",
    "jinja2": "report.html",
    "lightgbm": "the LightGBM estimator",
    "astropy": "spectra in FITS, VOTable and ECSV",
    "numba": "drawing spectra on a CPU at full speed",
}
#: Distribution -> (extra that brings it, what it is for).
OPTIONAL = {
    "dask": ("hpc", "specvit simulate --dask"),
    "distributed": ("hpc", "specvit simulate --dask"),
    "pysme-astro": ("synthesis", "specvit library synthesize"),
    "pandas": ("synthesis", "specvit library synthesize"),
}
#: Free space below which a laptop run may not fit, bytes.
SPACE_WANTED = 1_000_000_000


class Check(NamedTuple):
    """One line of the examination: `missing` is worth knowing, `broken` fails the command."""

    group: str
    name: str
    state: State
    detail: str


def doctor(
    folder: Path = typer.Option(Path("runs"), help="Folder in which runs would be kept."),
    as_json: bool = typer.Option(False, "--json", help="Print the checks as JSON."),
) -> None:
    """Check this installation: versions, device, data, disk. Exit code 1 if something needed is broken."""
    # Devices first: torch has to be imported before LightGBM, both bring an OpenMP runtime.
    devices = _devices()
    checks = [*_packages(), *devices, *_data(), *_disk(folder)]
    if as_json:
        show_json([check._asdict() for check in checks], indent=1)
    else:
        _print(checks)
    if any(check.state == "broken" for check in checks):
        raise typer.Exit(1)


def _packages() -> list[Check]:
    import platform

    import specvit

    checks = [
        Check("packages", "specvit", "ok", specvit.__version__),
        Check("packages", "python", "ok", platform.python_version()),
    ]
    for name in CORE:
        checks.append(_package(name, "broken", f"pip install {name}"))
    for name, purpose in CORE_BUT_LAZY.items():
        check = _package(name, "missing", f"needed for {purpose}: pip install {name}")
        # Installed is not enough: LightGBM's wheel needs a system library (libgomp) that may be absent.
        checks.append(_tried("packages", name, partial(_imports, check)) if check.state == "ok" else check)
    for name, (extra, purpose) in OPTIONAL.items():
        checks.append(_package(name, "missing", f"needed for {purpose}: pip install 'specvit[{extra}]'"))
    return checks


def _package(name: str, if_absent: State, mend: str) -> Check:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return Check("packages", name, "ok", version(name))
    except PackageNotFoundError:
        return Check("packages", name, if_absent, mend)


def _imports(check: Check) -> str:
    import importlib

    importlib.import_module(check.name)
    return check.detail


def _devices() -> list[Check]:
    def describe() -> str:
        import torch

        found = [f"{torch.get_num_threads()} CPU threads"]
        found += [
            f"cuda:{i} {torch.cuda.get_device_name(i)} "
            f"({torch.cuda.get_device_properties(i).total_memory / 2**30:.0f} GiB)"
            for i in range(torch.cuda.device_count())
        ]
        if torch.backends.mps.is_available():
            found.append("mps (Apple GPU)")
        return ", ".join(found)

    return [_tried("device", "compute", describe)]


def _data() -> list[Check]:
    """Load what is shipped; the loaders verify their checksums."""

    def library() -> str:
        from specvit.library import load_builtin

        spectra = load_builtin()
        return f"{len(spectra.labels)} spectra, {spectra.grid.describe()}, R = {spectra.resolution:g}"

    def emulator() -> str:
        import torch

        from specvit.library import Emulator

        loaded = Emulator.builtin()
        space = loaded.label_space
        centre = 0.5 * (torch.tensor([space.low]) + torch.tensor([space.high]))
        flux = loaded(centre)
        if not bool(torch.isfinite(flux).all()):
            raise ValueError("the spectrum at the centre of its domain is not finite")
        return ", ".join(
            f"{name} {low:g} to {high:g}"
            for name, low, high in zip(space.names, space.low, space.high, strict=True)
        )

    def instruments() -> str:
        from specvit.instrument import Instrument, instrument_names

        return ", ".join(f"{name} ({Instrument.load(name).grid.size} pixels)" for name in instrument_names())

    return [
        _tried("data", "built-in library", library),
        _tried("data", "emulator", emulator),
        _tried("data", "instruments", instruments),
    ]


def _disk(folder: Path) -> list[Check]:
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())

    def writable() -> str:
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            raise OSError(f"{existing} cannot be written; choose another with --set run.folder=DIR")
        with tempfile.TemporaryFile(dir=existing):
            return f"{folder} can be written"

    free = shutil.disk_usage(existing).free
    state: State = "ok" if free >= SPACE_WANTED else "missing"
    return [
        _tried("disk", "runs folder", writable),
        Check("disk", "free space", state, f"{free / 1e9:.1f} GB (a laptop run takes well under 1 GB)"),
    ]


def _tried(group: str, name: str, describe: Callable[[], str]) -> Check:
    # Whatever goes wrong in here is what the user called the doctor for.
    try:
        return Check(group, name, "ok", describe())
    except Exception as error:
        return Check(group, name, "broken", f"{type(error).__name__}: {' '.join(str(error).split())}")


def _print(checks: list[Check]) -> None:
    group = ""
    for check in checks:
        if check.group != group:
            group = check.group
            show((group, "bold"))
        show("  ", (MARKS[check.state], COLOURS[check.state]), f" {check.name:<17} {check.detail}")
    broken = [check.name for check in checks if check.state == "broken"]
    missing = [check.name for check in checks if check.state == "missing"]
    if broken:
        show((f"broken: {', '.join(broken)}", "red"))
    else:
        note = f" (optional, not here: {', '.join(missing)})" if missing else ""
        show((f"all that is needed is here{note}", "green"))
