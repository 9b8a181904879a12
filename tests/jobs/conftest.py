"""Small worlds for jobs."""

import pytest

from small_surveys import settings
from specvit.jobs import run_survey
from specvit.simulate import Simulator


@pytest.fixture(scope="session")
def gaia():
    """The simulator of the small spectrograph."""
    return Simulator.build(instrument="gaia_rvs")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished survey; tests read it and do not change it."""
    return run_survey(settings(tmp_path_factory.mktemp("runs")))
