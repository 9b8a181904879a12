"""The shipped catalogue with results of every kind, and what is known by them."""

import pytest

from made_results import write_every_kind
from specvit.hub import read_knowledge
from specvit.studies import read_studies


@pytest.fixture(scope="session")
def studies():
    return read_studies()


@pytest.fixture(scope="session")
def results(studies, tmp_path_factory):
    """Results of half the catalogue, one of which changed its verdict; tests do not change them."""
    return write_every_kind(tmp_path_factory.mktemp("made") / "results", studies)


@pytest.fixture(scope="session")
def knowledge(results):
    return read_knowledge(results, "laptop")
