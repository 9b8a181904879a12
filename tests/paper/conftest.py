"""Results of every kind, what is known by them, and a run of `specvit run`."""

import pytest

from made_results import write_every_kind
from made_runs import write_run
from specvit.hub import read_knowledge
from specvit.studies import read_studies


@pytest.fixture(scope="session")
def studies():
    return read_studies()


@pytest.fixture(scope="session")
def results(studies, tmp_path_factory):
    """Results of half the catalogue; tests do not change them."""
    return write_every_kind(tmp_path_factory.mktemp("made") / "results", studies)


@pytest.fixture(scope="session")
def knowledge(results):
    return read_knowledge(results, "laptop")


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """A finished run of `specvit run`; tests do not change it."""
    return write_run(tmp_path_factory.mktemp("runs")).path
