"""The hub in headless Chromium, at the widths of phone, tablet and desktop."""

import pytest

from browser import needs_chromium, opened
from made_results import made_result
from specvit.hub import read_knowledge, write_hub
from specvit.runs.study_result import write_study_result


@pytest.mark.slow
@needs_chromium
def test_every_page_fits_and_has_no_complaint(knowledge, tmp_path):
    folder = write_hub(knowledge, tmp_path / "hub").parent
    assert opened(sorted(folder.rglob("*.html"))) == []


@pytest.mark.slow
@needs_chromium
def test_words_without_end_do_not_widen_a_page(studies, tmp_path):
    endless = "endless" * 60
    result = made_result(studies["kernel"], "refuted", sentence=endless, rule=studies["kernel"].rule)
    write_study_result(tmp_path / "r", result)
    folder = write_hub(read_knowledge(tmp_path / "r", "laptop"), tmp_path / "hub").parent
    pages = [folder / "index.html", folder / "findings.html", folder / "studies" / "kernel.html"]
    assert opened(pages) == []


@pytest.mark.slow
@needs_chromium
def test_a_browser_sees_what_is_wrong(tmp_path):
    words = "word " * 40
    wide = tmp_path / "wide.html"
    wide.write_text(
        f'<main style="max-width:9rem"><p style="width:900px">{words}</p></main>', encoding="utf-8"
    )
    loud = tmp_path / "loud.html"
    loud.write_text(
        f'<main style="max-width:9rem">{words}</main><script>console.error("no")</script>', encoding="utf-8"
    )
    bare = tmp_path / "bare.html"
    bare.write_text(f'<link rel="stylesheet" href="nowhere.css"><main>{words}</main>', encoding="utf-8")
    problems = "\n".join(opened([wide, loud, bare], (360,)))
    assert "wide.html at 360 px: 9" in problems
    assert "CONSOLE" in problems
    assert "bare.html at 360 px: nothing to read, or no style" in problems
