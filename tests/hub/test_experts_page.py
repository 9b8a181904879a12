"""docs/experts.md holds the tables that its results make."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tool():
    spec = importlib.util.spec_from_file_location(
        "write_experts_tables", ROOT / "tools/write_experts_tables.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_of_the_committed_results():
    page = (ROOT / "docs/experts.md").read_text(encoding="utf-8")
    assert tool().written(page, ROOT / "results", "laptop") == page


def test_a_page_without_marks_is_refused():
    with pytest.raises(SystemExit, match="<!-- shares -->"):
        tool().written("nothing", ROOT / "results", "laptop")
