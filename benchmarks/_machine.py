"""What a figure has to be read with: machine, versions, date, seed."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


def heading(device: str, threads: int, seed: int, packages: Sequence[str] = ()) -> str:
    """Return two lines that say where and with what a benchmark ran."""
    found = [f"Python {platform.python_version()}", f"torch {torch.__version__}"]
    for name in packages:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    where = torch.cuda.get_device_name() if device.startswith("cuda") else _processor()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"  {datetime.date.today()}: {where}, {threads} of {os.cpu_count()} threads{load}, seed {seed}\n"
        f"  {', '.join(found)}"
    )


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
