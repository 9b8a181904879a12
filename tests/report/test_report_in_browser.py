"""The report in headless Chromium, at the widths of phone, tablet and desktop."""

import shutil

import pytest

from browser import needs_chromium, opened
from page_checks import page_problems
from specvit.report import write_report


@pytest.fixture(scope="module")
def pages(run_folder, training_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    copies = [
        shutil.copytree(run.path, folder / f"run{at}") for at, run in enumerate((run_folder, training_run))
    ]
    return [write_report(copy) for copy in copies]


def test_the_report_is_sound(pages):
    for page in pages:
        assert page_problems(page.read_text(encoding="utf-8")) == []


@pytest.mark.slow
@needs_chromium
def test_the_report_fits_and_has_no_complaint(pages):
    assert opened(pages) == []
