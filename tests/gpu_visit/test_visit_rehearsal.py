"""The visit itself, on the CPU, where nothing that a lent machine may lack can be imported; killed, and begun again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpu.results import DONE, STOPPED, Results
from gpu.table import table
from gpu.training import restored
from gpu.visit import Visit

ROOT = Path(__file__).resolve().parents[2]
#: What goes to a lent machine.
LARGEST_TREE = 64 * 1024**2


class Rehearsal:
    """A visit in a process of its own."""

    def __init__(self, blocker, folder, minutes):
        script = f"{blocker}\nimport runpy\nsys.argv = ['gpu_visit.py', '--minutes', '{minutes}', '--device', 'cpu', "
        script += f"'--output', {str(folder)!r}]\nrunpy.run_path({str(ROOT / 'tools/gpu_visit.py')!r}, run_name='__main__')"
        settings = {**os.environ, "OMP_NUM_THREADS": "1"}
        # Nothing of specvit is installed on a lent machine: the script finds it.
        settings.pop("PYTHONPATH", None)
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", script],
            env=settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def found(self):
        """Return the results so far; they are whole whenever there are any."""
        return Results.read(self.folder) if (self.folder / "results.json").is_file() else None

    def kill_when(self, enough, seconds):
        """Kill it once `enough` of its results is true, or after so many seconds; return the results."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            found = self.found()
            if found is not None and enough(found):
                break
            time.sleep(0.1)
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        return self.found()

    def finish(self, seconds):
        """Wait for its end; return its results and what it printed."""
        printed, _ = self.process.communicate(timeout=seconds)
        assert self.process.returncode == 0, printed
        return self.found(), printed


def anything(results):
    return any(results.found(stage) for stage in results.content["stages"])


def trained(results):
    return "weights specvit-reference" in results.found("train")


def test_a_visit_killed_twice_leaves_what_it_found_and_goes_on(tmp_path, blocker):
    first = Rehearsal(blocker, tmp_path, 1.5).kill_when(anything, 90)
    assert anything(first)
    done = {name for name, stage in first.content["stages"].items() if stage["state"] == DONE}
    second = Rehearsal(blocker, tmp_path, 1.5).kill_when(trained, 90)
    assert trained(second)
    for name in done:
        assert second.stage(name) == first.stage(name)
    network = restored(Visit.to("cpu"), second, "specvit-reference")
    assert all(bool(value.isfinite().all()) for value in network.state_dict().values())
    assert "specvit-reference" in table(second)


@pytest.mark.slow
def test_the_rehearsal_of_three_minutes_survives_kills_at_any_time(tmp_path, blocker):
    for seconds in (1, 3, 6, 10, 20, 40):
        Rehearsal(blocker, tmp_path, 3).kill_when(lambda results: False, seconds)
    began = time.monotonic()
    results, printed = Rehearsal(blocker, tmp_path, 3).finish(240)
    assert time.monotonic() - began < 190
    states = {name: stage["state"] for name, stage in results.content["stages"].items()}
    assert set(states.values()) <= {DONE, STOPPED}, printed
    assert states["train"] == DONE
    assert "a rehearsal" in printed
    checks = [one for name, one in results.found("check").items() if "good" in one]
    assert checks
    assert all(one["good"] for one in checks)
    again, printed = Rehearsal(blocker, tmp_path, 3).finish(60)
    assert again.stage("train") == results.stage("train")
    assert "train: done before" in printed


def test_what_the_visit_carries_is_small():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert sum(path.stat().st_size for path in files if path.is_file()) < LARGEST_TREE


WORLDS = """
import hashlib, json
import gpu
import pydantic
from specvit.instrument import Instrument, instrument_names
from specvit.library import Emulator
from specvit.simulate import Simulator
from specvit.simulate.identity import emulator_fingerprint
def digest(module):
    named = {**dict(module.named_buffers()), **dict(module.named_parameters())}
    content = b"".join(name.encode() + value.numpy().tobytes() for name, value in sorted(named.items()))
    return hashlib.sha256(content).hexdigest()
found = {"emulator": emulator_fingerprint(Simulator.build().observed)}
for name in instrument_names():
    instrument = Instrument.load(name)
    found[name] = [digest(instrument), repr(instrument.conditions), instrument.settings.model_dump(), instrument.lsf_nodes()]
print(json.dumps([found, "stands in" if pydantic.__spec__.loader is None else "real"]))
"""


def test_the_stand_in_reads_the_same_worlds_as_pydantic(blocker):
    answers = []
    for before in (f"import sys; sys.path.insert(0, {str(ROOT / 'tools')!r})", blocker):
        done = subprocess.run(
            [sys.executable, "-c", before + WORLDS], capture_output=True, text=True, check=False, timeout=240
        )
        assert done.returncode == 0, done.stderr
        answers.append(json.loads(done.stdout))
    assert answers[0][0] == answers[1][0]
    assert [answer[1] for answer in answers] == ["real", "stands in"]
