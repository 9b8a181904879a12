"""docs/experts.md holds the tables that its results make."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("write_experts_tables")


def test_the_tables_are_those_of_the_committed_results(tool):
    page = (ROOT / "docs/experts.md").read_text(encoding="utf-8")
    assert tool.written(page, ROOT / "results", "laptop") == page


def test_a_page_without_marks_is_refused(tool):
    with pytest.raises(SystemExit, match="<!-- shares -->"):
        tool.written("nothing", ROOT / "results", "laptop")
