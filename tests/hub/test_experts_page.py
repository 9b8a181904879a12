"""docs/experts.md holds the tables that its results make."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_tables_are_those_of_the_committed_results(tool):
    page = (ROOT / "docs/experts.md").read_text(encoding="utf-8")
    assert tool("write_experts_tables").written(page, ROOT / "results", "laptop") == page


def test_a_page_without_marks_is_refused(tool):
    with pytest.raises(SystemExit, match="<!-- shares -->"):
        tool("write_experts_tables").written("nothing", ROOT / "results", "laptop")
