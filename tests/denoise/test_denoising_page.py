"""docs/denoising.md holds the tables that its record makes."""

import importlib
from pathlib import Path

import pytest

from specvit.runs.denoisers_record import read_denoisers_record

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("write_denoising_tables")


def test_the_tables_are_those_of_the_committed_record(tool):
    page = (ROOT / "docs/denoising.md").read_text(encoding="utf-8")
    assert tool.written(page, read_denoisers_record(ROOT / "results/denoisers.json")) == page
