"""Where a result came from: versions, machine, command; and what a run's record of that must hold."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import specvit
from specvit.documents.problems import wrong_entry

#: Packages whose version can change a number.
RECORDED_PACKAGES = ("torch", "numpy", "scipy", "numba", "lightgbm", "h5py", "safetensors", "matplotlib")


class _Entries(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class _Machine(_Entries):
    specvit: str
    git_commit: str | None
    python: str
    packages: dict[str, str | None]
    platform: str
    cpu: str
    cpu_count: int | None
    command: str
    date: str


class _Stage(_Entries):
    seconds: float
    # Of the Bayes ceiling: how many posteriors, how many of them are sampled well enough, and the worst.
    stars: int | None = None
    converged: int | None = None
    minimum_ess: float | None = None

    @model_validator(mode="after")
    def _the_worst_is_known(self) -> _Stage:
        if self.stars is not None and (self.converged is None or self.minimum_ess is None):
            raise ValueError("stars without converged and minimum_ess")
        return self


class _Provenance(_Entries):
    fingerprint: str
    created: str
    finished: str | None
    sessions: list[_Machine] = Field(min_length=1)
    stages: dict[str, _Stage]


def provenance_problem(values: dict[str, Any]) -> str:
    """Return what of a run's provenance is missing or of another kind, or '' if nothing is."""
    try:
        _Provenance.model_validate(values)
    except ValidationError as error:
        return wrong_entry(error)
    return ""


def now() -> str:
    """Return the date and time in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe_machine() -> dict[str, Any]:
    """Return versions, platform, CPU and command line of this process, JSON-ready."""
    return {
        "specvit": specvit.__version__,
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in RECORDED_PACKAGES},
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cpu_count": os.cpu_count(),
        "command": " ".join([_program(sys.argv[0]), *sys.argv[1:]]),
        "date": now(),
    }


def _program(path: str) -> str:
    """Return what to type: `python -m specvit` is the same command."""
    return "specvit" if Path(path).name == "__main__.py" else Path(path).name


# What is imported does not change while a process runs, and a study asks for every run.
@functools.cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@functools.cache
def _git_commit() -> str | None:
    """Return the commit of the checkout this package runs from, '+' if its code was changed; None if installed."""
    source = Path(specvit.__file__).resolve().parents[2]
    if not (source / ".git").exists():
        return None
    try:
        # Untracked files, results and documents lie beside the code and do not change it.
        commit = _git(source, "rev-parse", "HEAD")
        code = str(Path(specvit.__file__).resolve().parent)
        return commit + (
            "+" if _git(source, "status", "--porcelain", "--untracked-files=no", "--", code) else ""
        )
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    # With a time limit: a repository on a drive that hangs must not hold up a run.
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def _cpu_name() -> str:
    try:
        # On Linux `platform.processor` says nothing, or the architecture again.
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
