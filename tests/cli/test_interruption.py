"""Signals: one line, an exit code, no process left behind, and work that can be continued."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from specvit.simulate import World, WriteJob

LINE = "interrupted: the same command continues after the last finished stage\n"
SPECTRA, SHARDS = 3000, 6

#: A verb that does what the test says; it tells the test where its first sleep begins.
VERB = """
import sys, time
from specvit.cli import console, interruption, main

def work():
    {action}

console._load = lambda verb: work
interruption.GRACE = {grace}
sys.argv = ["specvit", "doctor"]
sys.exit(main())
"""


_started = []


@pytest.fixture(autouse=True)
def _none_left_running():
    """Ends what a failed test leaves, which would otherwise warn in the middle of another test."""
    yield
    while _started:
        process = _started.pop()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def start(*command, **options):
    """Start a process in a session of its own."""
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, **options,
    )  # fmt: skip
    _started.append(process)
    return process


def start_verb(action, grace=60.0, **options):
    action = action.replace("time.sleep(", "print('started', flush=True); time.sleep(", 1)
    process = start("-c", VERB.format(action=action.replace("\n", "\n    "), grace=grace), **options)
    assert process.stdout.readline() == "started\n"
    # A signal between the last look for one and the sleep itself would be noticed after the sleep.
    time.sleep(0.2)
    return process


def session(leader):
    """Return the living processes of a session."""
    members = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, number = status.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(number) == leader and state not in "ZX":
            members.append(status.parent.name)
    return members


def left_behind(leader):
    """Return what still lives of a session after the moment Python's own resource tracker takes to end."""
    deadline = time.monotonic() + 5
    while (members := session(leader)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return members


def wait_for(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.h5")}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    WriteJob(folder, World(), "test", 5, SPECTRA, SHARDS).run()
    return digests(folder)


@pytest.mark.parametrize(
    ("number", "send"),
    # That every signal ends a verb in one line, `test_any_verb_is_interrupted_in_one_line` says in a second.
    [
        pytest.param(signal.SIGINT, os.killpg, id="ctrl-c"),
        pytest.param(signal.SIGTERM, os.kill, id="terminated", marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, os.killpg, id="hung-up", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_set_is_continued_to_the_same_spectra(uninterrupted, number, send, tmp_path):
    command = ["-m", "specvit", "simulate", "--spectra", str(SPECTRA), "--shards", str(SHARDS), "--split",
               "test", "--seed", "5", "--workers", "2", "--out", str(tmp_path)]  # fmt: skip
    process = start(*command)
    wait_for(lambda: list(tmp_path.glob("*.h5")) and list(tmp_path.glob("*.partial")), process)
    send(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    # Between what is written and the last line, a slow machine hears how far it is.
    _, *progress, last = err.splitlines(keepends=True)
    assert last == LINE
    assert all(line.startswith("simulate:") for line in progress)
    assert left_behind(process.pid) == []
    assert not list(tmp_path.glob("*.partial"))
    done = digests(tmp_path)
    assert 1 <= len(done) < SHARDS
    assert (
        WriteJob(tmp_path, World(), "test", 5, SPECTRA, SHARDS).run()
        == SPECTRA - len(done) * SPECTRA // SHARDS
    )
    assert digests(tmp_path) == uninterrupted


@pytest.mark.parametrize("seconds", [0.9, 1.5])
def test_ctrl_c_while_workers_start_is_one_line_too(seconds, tmp_path):
    """Workers import for a second or two before any line of theirs could shield them."""
    process = start("-m", "specvit", "simulate", "--spectra", "400000", "--shards", "4", "--workers", "2",
                    "--out", str(tmp_path))  # fmt: skip
    wait_for(lambda: (tmp_path / "manifest.json").exists(), process)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.splitlines(keepends=True)[1:]) == (130, [LINE])
    assert left_behind(process.pid) == []


def test_an_interrupted_dask_client_is_one_line(tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, processes=False, protocol="tcp://", dashboard_address=":0"
    ) as cluster:
        process = start("-m", "specvit", "simulate", "--spectra", "40000", "--shards", "40", "--out",
                        str(tmp_path), "--dask", cluster.scheduler_address)  # fmt: skip
        wait_for(lambda: list(tmp_path.glob("*.h5")), process)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err.splitlines(keepends=True)[1:]) == (130, [LINE])
    assert left_behind(process.pid) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_any_verb_is_interrupted_in_one_line(number):
    process = start_verb("time.sleep(60)")
    process.send_signal(number)
    assert process.communicate(timeout=20) == ("", LINE)
    assert process.returncode == 128 + number


def test_what_a_library_makes_of_an_interruption_is_still_one():
    process = start_verb(
        "try:\n    time.sleep(60)\nexcept BaseException:\n    raise RuntimeError('lost a peer')"
    )
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20) == ("", LINE)
    assert process.returncode == 143


TIDIES_FOR_LONG = "try:\n    time.sleep(60)\nfinally:\n    print('tidying', flush=True)\n    time.sleep(60)"


def test_a_second_ctrl_c_ends_a_shutdown_that_takes_long():
    process = start_verb(TIDIES_FOR_LONG)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "tidying\n"
    process.send_signal(signal.SIGINT)  # the same event, told twice
    time.sleep(1.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20) == ("", LINE)
    assert process.returncode == 130


def test_a_shutdown_is_given_up_after_a_while():
    process = start_verb(TIDIES_FOR_LONG, grace=8.0)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20) == ("tidying\n", LINE)
    assert process.returncode == 143


def test_a_signal_that_was_ignored_stays_ignored():
    """As under nohup, or in the background of a shell script."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start_verb("time.sleep(0.5)")
    finally:
        signal.signal(signal.SIGHUP, before)
    process.send_signal(signal.SIGHUP)
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0


def test_of_the_processes_of_torchrun_the_first_speaks():
    for rank, line in (("0", LINE), ("1", "")):
        process = start_verb("time.sleep(60)", env={**os.environ, "RANK": rank})
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=20) == ("", line)
        assert process.returncode == 143


@pytest.mark.parametrize(
    "command",
    [
        "train --model mlp --steps 20000 --validation 64 --test 64 --set batch=32 --set width=16 --set depth=1 "
        "--device cpu --out FOLDER/run",
        "run --scale smoke --set run.folder=FOLDER",
    ],
    ids=["train", "run"],
)
def test_a_long_job_that_is_interrupted_keeps_its_folder(command, tmp_path):
    def kept():
        # What is still being made has a name that begins with a dot, folders too.
        paths = (path.relative_to(tmp_path) for path in tmp_path.rglob("*.json*"))
        return [path for path in paths if not any(part.startswith(".") for part in path.parts)]

    process = start("-m", "specvit", *command.replace("FOLDER", str(tmp_path)).split())
    wait_for(kept, process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, "")
    assert err.endswith(LINE)
    assert "Traceback" not in err
    assert left_behind(process.pid) == []
    assert kept()
