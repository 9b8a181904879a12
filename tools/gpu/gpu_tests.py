"""The tests marked `gpu`, run by a visit: a plugin that notes every outcome as it comes, and who starts pytest.

As a plugin (`-p gpu.gpu_tests`) it is imported by pytest: its package lets specvit be read where there is no pydantic.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpu import ROOT
from gpu.supervisor import die_with_parent

if TYPE_CHECKING:
    from gpu.plan import Budget
    from gpu.visit import Visit

#: Where the plugin notes outcomes, if pytest was started by a visit.
NOTES = "SPECVIT_GPU_TESTS"
#: Quick ones first.
PLACES = ("tests/numerics", "tests/simulate", "tests/limits", "tests/inference", "tests/estimators")
#: Seconds that are left to note what was found.
MARGIN = 2.0


def pytest_runtest_logreport(report: Any) -> None:
    """Note the outcome of a test, or the error of what it needs."""
    place = os.environ.get(NOTES)
    if place and (report.when == "call" or report.outcome != "passed"):
        why = str(report.longrepr).strip().splitlines()[-1][:200] if report.failed else ""
        with open(place, "a", encoding="utf-8") as notes:
            notes.write(json.dumps({"test": report.nodeid, "outcome": report.outcome, "why": why}) + "\n")


def run_gpu_tests(visit: Visit, budget: Budget, folder: Path) -> dict[str, Any]:
    """Run the tests marked `gpu` for as long as there is time; return their outcomes."""
    if not visit.on_gpu:
        return {"skipped": "no CUDA device"}
    notes = folder / ".gpu-tests"
    notes.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "gpu.gpu_tests",
        "-m",
        "gpu",
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tools"), os.environ.get("PYTHONPATH", "")])
    settings = {**os.environ, "PYTHONPATH": paths, NOTES: str(notes)}
    over = False
    with subprocess.Popen(
        [*command, *PLACES],
        cwd=ROOT,
        env=settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent,
    ) as tests:
        try:
            tests.wait(max(budget.left - MARGIN, 0.1))
        except subprocess.TimeoutExpired:
            over = True
            with contextlib.suppress(ProcessLookupError):
                tests.send_signal(signal.SIGKILL)
    found = [json.loads(line) for line in notes.read_text().splitlines()] if notes.is_file() else []
    notes.unlink(missing_ok=True)
    return {**outcomes(found), "stopped by time": over, "code": tests.returncode}


def outcomes(found: list[dict[str, str]]) -> dict[str, Any]:
    """Return how many tests passed, failed and were skipped, and why they failed."""
    counts = {word: sum(one["outcome"] == word for one in found) for word in ("passed", "failed", "skipped")}
    return {**counts, "failures": {one["test"]: one["why"] for one in found if one["outcome"] == "failed"}}
