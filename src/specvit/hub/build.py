"""The hub as a whole: which pages it has, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from specvit.hub.addresses import Address
from specvit.hub.blocks import Grid, HubPage
from specvit.hub.changelog import changelog_page
from specvit.hub.choosing import models_page
from specvit.hub.decisions import decisions_page
from specvit.hub.experiments import experiment_table, experiments_page
from specvit.hub.findings import findings_page
from specvit.hub.knowledge import Knowledge
from specvit.hub.markdown import page_markdown
from specvit.hub.overview import overview_page
from specvit.hub.protocol import protocol_page
from specvit.hub.roadmap import roadmap_page
from specvit.hub.site import write_site
from specvit.hub.study_page import study_page
from specvit.hub.tree import tree_page
from specvit.report.tables import Table
from specvit.runs import write_atomic
from specvit.runs.atomic import check_own

#: Pages that every page leads to.
MENU = {
    "index": "Hub",
    "findings": "Findings",
    "tree": "Hypotheses",
    "decisions": "Decisions",
    "models": "Models",
    "roadmap": "Roadmap",
    "experiments": "Experiments",
    "protocol": "Protocol",
    "changelog": "Changelog",
}
NOTICE = "<!-- Made by `specvit hub findings` from the results of studies; edits are lost. -->"
MAKER = "specvit hub build"
#: Folder of the tables as files.
TABLES = "tables"


def hub_pages(knowledge: Knowledge) -> list[HubPage]:
    """Return all pages, the first one first."""
    makers = (
        *(overview_page, findings_page, tree_page, decisions_page, models_page),
        *(roadmap_page, experiments_page, protocol_page, changelog_page),
    )
    pages = [make(knowledge) for make in makers]
    return pages + [study_page(known, knowledge) for known in knowledge.studies.values()]


def hub_tables(pages: Sequence[HubPage], index: Table) -> list[Table]:
    """Return the tables of pages, each once; instead of what a page shows of the index, the index itself."""
    found = {index.name: index}
    for page in pages:
        for block in page.blocks:
            if isinstance(block, Grid):
                found.setdefault(block.table.name, block.table)
    return list(found.values())


def write_hub(knowledge: Knowledge, folder: Path, parquet: bool = False) -> Path:
    """Write site, Markdown and tables into a folder, and return the first page.

    Args:
        knowledge: what is known.
        folder: where it goes; pages that an earlier build wrote for studies that are no more are removed, other files
            left alone.
        parquet: whether tables are also written as Parquet.

    Raises:
        MissingExtra: without jinja2; without pyarrow, if Parquet is asked for.
        RunError: if the folder cannot be written.
    """
    pages, index = hub_pages(knowledge), experiment_table(knowledge)
    files: dict[str, str | bytes] = {f"{index.name}.csv": index.to_csv()}
    if parquet:
        files[f"{index.name}.parquet"] = index.to_parquet()
    for table in hub_tables(pages, index):
        files[f"{TABLES}/{table.name}.csv"] = table.to_csv()
        files[f"{TABLES}/{table.name}.tex"] = table.to_latex()
        if parquet:
            files[f"{TABLES}/{table.name}.parquet"] = table.to_parquet()
    check_own(folder / "index.html", MAKER, MAKER)
    return write_site(pages, MENU, files, folder, MAKER)[0]


def write_findings(knowledge: Knowledge, path: Path, results: str) -> Path:
    """Write what was found as one Markdown file, whose links lead to results.

    Args:
        path: the file.
        results: from the file's folder to the results, e.g. "../results".

    Raises:
        RunError: if it cannot be written.
    """
    check_own(path, NOTICE, "specvit hub findings")
    text = page_markdown(findings_page(knowledge), _to_results(knowledge, results))
    return write_atomic(path, f"{NOTICE}\n\n{text}")


def _to_results(knowledge: Knowledge, results: str) -> Address:
    def address(to: str) -> str:
        study = to.partition("#")[0].rpartition("/")[2]
        has_result = study in knowledge.studies and knowledge.studies[study].result is not None
        return f"{results}/{knowledge.scale}/{study}.json" if has_result else ""

    return address
