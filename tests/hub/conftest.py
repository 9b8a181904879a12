"""The shipped catalogue with results of every kind, and the hub that is made of them."""

import pytest

from made_results import made_result, write_results
from specvit.hub import read_knowledge
from specvit.runs.study_result import write_study_result
from specvit.studies import read_studies

VERDICTS = {
    "classical": "supported",
    "kernel": "refuted",
    "tokeniser": "supported",
    "data-scaling": "refuted",
    "sigma-channel": "undecided",
    "cross-noise": "supported",
    "classical-scaling": "supported",
    "multi-task": "supported",
    "weight-average": "supported",
    "sigma-leak": "refuted",
    "width": "refuted",
    "depth": "supported",
    "patch": "supported",
    "overlap": "undecided",
    "noise-sweep": "supported",
}


@pytest.fixture(scope="session")
def studies():
    return read_studies()


@pytest.fixture(scope="session")
def results(studies, tmp_path_factory):
    """Results of half the catalogue, one of which changed its verdict; tests do not change them."""
    folder = write_results(tmp_path_factory.mktemp("made") / "results", studies, VERDICTS)
    changed = made_result(studies["heads"], "refuted", changes=[("2026-11-02T08:00:00+00:00", "undecided")])
    write_study_result(folder, changed)
    return folder


@pytest.fixture(scope="session")
def knowledge(results):
    return read_knowledge(results, "laptop")
