"""A small study of three Ridge variants on a coarse spectrograph, and a store in which it has been run."""

import pytest

from small_studies import SMALL, study_file
from specvit.jobs import Quiet
from specvit.studies import Store, make_plan, read_study, run_studies, scaled_studies


@pytest.fixture(scope="session")
def ran(tmp_path_factory):
    """Store, results folder and session of the small study; tests read them and do not change them."""
    folder = tmp_path_factory.mktemp("studies")
    studies = scaled_studies([read_study(study_file(folder, SMALL))], "smoke")
    store = Store(folder / "runs")
    session = run_studies(make_plan(studies, store), store, folder / "results", Quiet())
    return studies[0], store, folder / "results", session
