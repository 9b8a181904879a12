"""docs/denoising.md holds the tables that its record makes."""

from pathlib import Path

from specvit.runs.denoisers_record import read_denoisers_record

ROOT = Path(__file__).resolve().parents[2]


def test_the_tables_are_those_of_the_committed_record(tool):
    page = (ROOT / "docs/denoising.md").read_text(encoding="utf-8")
    assert (
        tool("write_denoising_tables").written(page, read_denoisers_record(ROOT / "results/denoisers.json"))
        == page
    )
