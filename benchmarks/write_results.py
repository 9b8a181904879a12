"""Run the benchmarks and write benchmarks/RESULTS.md from what they print.

    python benchmarks/write_results.py                 # all of them, half an hour on two cores
    python benchmarks/write_results.py simulate limits # some; the sections of the others are kept

Take the figures on an idle machine: ratios are measured in one run, interleaved, but absolute times are not safe
from what else runs.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from specvit.runs import write_atomic

HERE = Path(__file__).parent
PAGE = HERE / "RESULTS.md"

#: Section -> its commands and what is asked of them.
SECTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "simulate": (
        "Asked: 300 times a per-spectrum NumPy/SciPy pipeline, per core.",
        ("simulate.py",),
    ),
    "limits": (
        "Asked: 100 times a finite-difference loop over spectra; Bayes ceiling of 2,000 stars in ten minutes.",
        ("limits.py", "bayes.py --stars 2000"),
    ),
    "template": ("", ("template.py --stars 2000 --posterior 0",)),
    "train": (
        "Asked: 1.5 times the same architecture from transformers and timm blocks, on a CPU.",
        ("train.py",),
    ),
    "infer": ("Asked: twice eager float32 on a CPU, R² unchanged to 0.001.", ("infer.py",)),
    "experts": ("Asked: a million spectra in minutes on two cores.", ("experts.py",)),
    "import_bosz": ("", ("import_bosz.py",)),
    "predict_network": (
        "Asked: 2,000 stars per second and core, reading included.",
        ("predict_network.py",),
    ),
    "star_lists": ("Asked: memory flat in the number of stars.", ("star_lists.py",)),
}


def section(name: str) -> str:
    """Run the commands of a section and return it as Markdown."""
    asked, commands = SECTIONS[name]
    parts = [f"## {name}\n", f"{datetime.date.today().isoformat()}; {machine()}. {asked}\n"]
    for command in commands:
        print(f"$ python benchmarks/{command}", flush=True)
        process = subprocess.run(
            [sys.executable, *(HERE / command).as_posix().split()],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        print(process.stdout, flush=True)
        parts.append(f"`python benchmarks/{command}`\n\n```\n{process.stdout.rstrip()}\n```\n")
    return "\n".join(parts)


def machine() -> str:
    """Return processor, threads and versions in one line."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"model name\s*:\s*(.+)", info.read_text())
        model = found[1] if found else model
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "specvit"))
    return f"{model.strip()}, {os.cpu_count()} threads, Python {platform.python_version()}, {packages}"


def kept_sections() -> dict[str, str]:
    """Return the sections the page holds now."""
    text = PAGE.read_text() if PAGE.exists() else ""
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]
    return {part.split("\n", 1)[0].removeprefix("## "): part.rstrip() + "\n" for part in parts}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="sections; all if left out")
    names = parser.parse_args().names or list(SECTIONS)
    if unknown := set(names) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; choose from {', '.join(SECTIONS)}")
    found = kept_sections()
    for name in names:
        found[name] = section(name)
        # Sections of others (`tools/gpu_report.py`) stay as they are, after ours.
        order = [key for key in SECTIONS if key in found] + [key for key in found if key not in SECTIONS]
        body = "\n".join(found[key] for key in order)
        head = "# Speed\n\nWritten by `make bench` (`python benchmarks/write_results.py`); see there.\n\n"
        write_atomic(PAGE, head + body)
    print(PAGE)


if __name__ == "__main__":
    main()
