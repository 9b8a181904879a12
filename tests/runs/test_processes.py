"""Worker processes: deaf to what their parent is told, and gone with it."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from specvit.errors import RunError
from specvit.runs.processes import SIGNALS, WorkerPool, signals_held

METHODS = ["spawn", "fork", "forkserver"]


def sleep_and_write(path, seconds):
    Path(path).touch()
    time.sleep(seconds)
    Path(path).write_text(str(os.getpid()))


def blocked():
    return signal.pthread_sigmask(signal.SIG_BLOCK, [])


def die():
    os._exit(9)


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("method", METHODS)
def test_workers_are_deaf_and_the_parent_is_not(method):
    before = blocked()
    with WorkerPool(1, method) as pool:
        assert set(SIGNALS) <= pool.submit(blocked).result()
    assert blocked() == before


def start_and_raise(error, tasks, started, method="spawn"):
    """Raise `error` in the block of a pool of one worker, once the file `started` is there; return the futures."""
    futures = []
    try:
        with WorkerPool(1, method) as pool:
            futures += [pool.submit(sleep_and_write, *task) for task in tasks]
            wait_for(started.exists)
            raise error
    except type(error):
        return futures


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_an_interruption_kills_the_workers_at_once(method, tmp_path):
    path, never = tmp_path / "file", tmp_path / "never"
    began = time.monotonic()
    futures = start_and_raise(KeyboardInterrupt(), [(path, 300), (never, 0)], path, method)
    assert time.monotonic() - began < 200
    assert path.read_text() == ""
    assert not never.exists()
    assert all(future.done() for future in futures)


def test_an_error_lets_what_runs_finish_and_drops_the_rest(tmp_path):
    tasks = [(tmp_path / f"{number}", 0.5) for number in range(10)]
    start_and_raise(ValueError(), tasks, tmp_path / "0")
    assert (tmp_path / "0").read_text()
    assert len(list(tmp_path.iterdir())) < 9


def test_a_worker_that_died_is_an_error_with_a_mend():
    with (
        pytest.raises(RunError, match=r"a worker process died.*fewer --workers"),
        WorkerPool(1, "spawn") as pool,
    ):
        pool.submit(die).result()


def interrupt_this_process():
    os.kill(os.getpid(), signal.SIGINT)


def interrupt_from_a_thread():
    # The mask of a thread is its own: the kernel gives it what the main thread has blocked.
    def deliver():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        interrupt_this_process()

    thread = threading.Thread(target=deliver)
    thread.start()
    thread.join()


@pytest.mark.parametrize("interrupt", [interrupt_this_process, interrupt_from_a_thread])
def test_a_signal_is_put_off_while_processes_start(interrupt):
    passed = []

    def start():
        with signals_held():
            interrupt()
            passed.append("inside")
        passed.append("after")

    with pytest.raises(KeyboardInterrupt):
        start()
    assert passed == ["inside"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
