"""Instruments and the independent count formula, loaded once."""

import pytest

from etc_reference import Etc
from specvit.instrument import Instrument


@pytest.fixture(scope="session")
def etc_file(shared_data):
    return shared_data / "pfs" / "red_mr_noise.npz"


@pytest.fixture(scope="session")
def etc(etc_file):
    return Etc.load(etc_file)


@pytest.fixture(scope="session")
def etc_edge(etc_file):
    return Etc.load(etc_file, edge=True)


@pytest.fixture(scope="session")
def etc_n21(etc_file):
    return Etc.load(etc_file, n21=True)


@pytest.fixture(scope="session")
def pfs():
    return Instrument.load("pfs_mr")


@pytest.fixture(scope="session")
def pfs_reference():
    return Instrument.load("pfs_mr_reference")
