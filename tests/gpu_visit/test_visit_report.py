"""What a visit brought back becomes a section of the results, between its markers, and leaves the others alone."""

import runpy
import sys

import pytest

import gpu_report
import write_results
from gpu.results import Results
from specvit.errors import DataError


@pytest.fixture
def visited(tmp_path):
    results = Results.begin(tmp_path / "visit", "cuda")
    results.start("check")
    results.note("check", "versions", {"card": "NVIDIA H200", "torch": "2.11.0"})
    return results


PAGE = "# Speed\n\nWritten by hand.\n\n## simulate\n\nfast\n\n## train\n\nslow\n"


def test_the_section_is_appended_and_then_replaced(visited, tmp_path):
    page = tmp_path / "RESULTS.md"
    page.write_text(PAGE)
    gpu_report.write_page(visited, page)
    first = page.read_text()
    assert first.startswith(PAGE)
    assert "visit to NVIDIA H200" in first
    visited.note("check", "versions", {"card": "NVIDIA H100 80GB HBM3"})
    gpu_report.write_page(visited, page)
    second = page.read_text()
    assert second.startswith(PAGE)
    assert "H100" in second
    assert "H200" not in second
    assert second.count(gpu_report.BEGIN) == second.count(gpu_report.END) == second.count("## gpu") == 1


def test_what_follows_the_section_stays(visited, tmp_path):
    page = tmp_path / "RESULTS.md"
    page.write_text(f"{PAGE}\n{gpu_report.section(visited)}\n## later\n\nkept\n")
    gpu_report.write_page(visited, page)
    assert page.read_text().endswith("## later\n\nkept\n")


def test_the_benchmarks_keep_the_section(visited, tmp_path, monkeypatch):
    page = tmp_path / "RESULTS.md"
    page.write_text(PAGE)
    gpu_report.write_page(visited, page)
    monkeypatch.setattr(write_results, "PAGE", page)
    monkeypatch.setattr(write_results, "section", lambda name: f"## {name}\n\nnew\n")
    monkeypatch.setattr(sys, "argv", ["write_results.py", "train"])
    write_results.main()
    text = page.read_text()
    assert "## simulate\n\nfast" in text
    assert "## train\n\nnew" in text
    assert gpu_report.section(visited) in text


def test_a_rehearsal_does_not_get_into_the_results(tmp_path, monkeypatch, capsys):
    results = Results.begin(tmp_path, "cpu")
    results.start("check")
    with pytest.raises(DataError, match="a rehearsal on a CPU, whose figures mean nothing; give --page"):
        gpu_report.write_page(results, None)
    assert gpu_report.write_page(results, tmp_path / "page.md").read_text().count("a rehearsal") == 1
    monkeypatch.setattr(sys, "argv", ["gpu_report.py", str(tmp_path / "nothing")])
    with pytest.raises(SystemExit, match="1"):
        runpy.run_path(gpu_report.__file__, run_name="__main__")
    assert "gpu_report: " in capsys.readouterr().err
