"""Instruments and the independent count formula, loaded once."""

import numpy as np
import pytest

from etc_reference import CHECKS, Etc
from specvit.instrument import Instrument


@pytest.fixture(scope="session")
def checks():
    """Numbers of the calculator itself; data/README.md says which."""
    with np.load(CHECKS) as stored:
        return dict(stored)


@pytest.fixture(scope="session")
def etc():
    return Etc.load()


@pytest.fixture(scope="session")
def etc_edge():
    return Etc.load(edge=True)


@pytest.fixture(scope="session")
def etc_n21():
    return Etc.load(n21=True)


@pytest.fixture(scope="session")
def pfs():
    return Instrument.load("pfs_mr")


@pytest.fixture(scope="session")
def pfs_reference():
    return Instrument.load("pfs_mr_reference")
