"""Fixtures shared by all tests: one thread per process and the reference world, built once."""

import importlib
import signal
from pathlib import Path

import pytest
import torch


def pytest_configure(config):
    # A suite in the background has interruptions ignored by its shell, and by nohup hang-ups; what it starts
    # would inherit that, and tests of signals would wait for an end that cannot come. A handler is not
    # inherited: it keeps the suite as deaf as it was and leaves its children as the system made them.
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(ignored) is signal.SIG_IGN:
            signal.signal(ignored, lambda number, frame: None)


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        # Not by `item.keywords`, which have the names of folders too: a checkout in one called gpu.
        if item.get_closest_marker("gpu") is not None:
            item.add_marker(pytest.mark.skip(reason="torch sees no CUDA device"))


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    # Tests run in parallel processes; more threads than cores only slow each other down.
    torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def _freed_memory_kept():
    # As every command of ours does; half the time of some tests goes into fetching pages again. Given back after each
    # module: the suite as a whole needs more than any command.
    from specvit.runs.memory import freed_memory_kept

    with freed_memory_kept():
        yield


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    # What commands keep for the next time is not the user's business.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPECVIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def simulator():
    """The reference world on the built-in library."""
    from specvit.simulate import Simulator

    return Simulator.build("pfs_mr_reference")


@pytest.fixture
def tool(monkeypatch):
    """Import one of the programs in `tools/` by name."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "tools"))
    return importlib.import_module
