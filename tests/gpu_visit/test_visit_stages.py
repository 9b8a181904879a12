"""Stages end when their time is over, whatever they do, and what one breaks does not reach the next."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

from gpu import gpu_tests
from gpu.plan import ENDS, Budget, deadlines
from gpu.results import DONE, FAILED, RUNNING, STOPPED, Results
from gpu.supervisor import run_stage


def run(folder, stage, seconds=5.0, name="check"):
    return run_stage(name, stage, folder, "cpu", time.monotonic() + seconds)


def is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # One that nobody has waited for has ended.
    with open(f"/proc/{process}/stat") as status:
        return status.read().rpartition(")")[2].split()[0] != "Z"


def test_a_stage_that_ends_is_done(tmp_path):
    assert run(tmp_path, lambda results, budget: results.note("check", "left", budget.left)) == DONE
    found = Results.read(tmp_path)
    assert 0 < found.found("check")["left"] < 5
    assert found.stage("check")["state"] == DONE


@pytest.mark.parametrize(("how", "error"), [
    (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
    (lambda: os._exit(7), "its process ended with 7"),
    (lambda: os.kill(os.getpid(), signal.SIGKILL), "its process ended with -9"),
    (lambda: sys.exit("no"), "SystemExit: no"),
])  # fmt: skip
def test_a_stage_that_breaks_leaves_what_it_found_and_the_next_runs(tmp_path, how, error, capfd):
    def stage(results, budget):
        results.note("check", "before", 1)
        how()

    assert run(tmp_path, stage) == FAILED
    known = Results.read(tmp_path).stage("check")
    assert known["error"] == error
    assert known["found"]["before"] == 1
    assert run(tmp_path, lambda results, budget: None, name="step") == DONE


def test_a_stage_is_stopped_at_its_deadline_with_all_it_started(tmp_path):
    def stage(results, budget):
        other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        results.note("check", "processes", [os.getpid(), other.pid])
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)

    began = time.monotonic()
    assert run(tmp_path, stage, 1.0) == STOPPED
    assert time.monotonic() - began < 5
    for process in Results.read(tmp_path).found("check")["processes"]:
        deadline = time.monotonic() + 5
        while is_alive(process) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not is_alive(process)


def test_a_stage_without_time_is_not_begun(tmp_path):
    assert run(tmp_path, lambda results, budget: results.note("check", "x", 1), seconds=-1) == STOPPED
    assert Results.read(tmp_path).found("check") == {}


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel")
def test_a_stage_ends_when_the_visit_is_killed(tmp_path):
    def stage(results, budget):
        results.note("check", "process", os.getpid())
        time.sleep(60)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        visit = os.fork()
    if visit == 0:
        try:
            run(tmp_path, stage, 60)
        finally:
            os._exit(1)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        time.sleep(0.05)
        if (tmp_path / "results.json").is_file() and "process" in Results.read(tmp_path).found("check"):
            break
    process = Results.read(tmp_path).found("check")["process"]
    os.kill(visit, signal.SIGKILL)
    os.waitpid(visit, 0)
    deadline = time.monotonic() + 5
    while is_alive(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(process)
    assert Results.read(tmp_path).stage("check")["state"] == RUNNING


def test_shares_of_time_rise_and_leave_some_for_the_table():
    ends = list(ENDS.values())
    assert ends == sorted(ends)
    assert len(set(ends)) == len(ends)
    assert 0 < ends[0] < ends[-1] < 1
    assert deadlines(100.0, 10.0)["inference"] == pytest.approx(100 + 600 * ENDS["inference"])


TESTS = """
import pytest

@pytest.fixture
def broken():
    raise OSError("no device")

def test_good(): pass
def test_bad(): assert 1 == 2, "one is not two"
def test_error(broken): pass
@pytest.mark.skip(reason="x")
def test_skipped(): pass
"""


def test_outcomes_of_tests_are_noted_as_they_come(tmp_path):
    (tmp_path / "test_some.py").write_text(TESTS)
    notes = tmp_path / "notes"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "gpu.gpu_tests",
        "-q",
        "-p",
        "no:cacheprovider",
        str(tmp_path),
    ]
    tools = Path(gpu_tests.__file__).resolve().parents[1]
    settings = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tools), *sys.path]),
        gpu_tests.NOTES: str(notes),
    }
    subprocess.run([*command, "-c", os.devnull], cwd=tmp_path, env=settings, capture_output=True, check=False)
    found = [json.loads(line) for line in notes.read_text().splitlines()]
    assert [(one["test"].rpartition("::")[2], one["outcome"]) for one in found] == [
        ("test_good", "passed"), ("test_bad", "failed"), ("test_error", "failed"), ("test_skipped", "skipped"),
    ]  # fmt: skip
    assert gpu_tests.outcomes(found)["failed"] == 2


def test_without_a_device_no_test_is_run(tmp_path):
    visit = SimpleNamespace(on_gpu=False)
    assert gpu_tests.run_gpu_tests(visit, Budget(time.monotonic() + 1), tmp_path) == {
        "skipped": "no CUDA device"
    }
