"""The hub as a whole: which pages it has, and how they are written."""

from __future__ import annotations

from pathlib import Path

from specvit.hub.addresses import Address
from specvit.hub.blocks import HubPage
from specvit.hub.findings import findings_page
from specvit.hub.knowledge import Knowledge
from specvit.hub.markdown import page_markdown
from specvit.hub.overview import overview_page
from specvit.hub.site import write_site
from specvit.hub.study_page import study_page
from specvit.runs import write_atomic

#: Pages that every page leads to.
MENU = {"index": "Hub", "findings": "Findings"}
NOTICE = "<!-- Made by `specvit hub findings` from the results of studies; edits are lost. -->"


def hub_pages(knowledge: Knowledge) -> list[HubPage]:
    """Return all pages, the first one first."""
    pages = [overview_page(knowledge), findings_page(knowledge)]
    return pages + [study_page(known, knowledge) for known in knowledge.studies.values()]


def write_hub(knowledge: Knowledge, folder: Path) -> Path:
    """Write site, Markdown and files into a folder, and return the first page.

    Raises:
        MissingExtra: without jinja2.
        RunError: if the folder cannot be written.
    """
    written = write_site(hub_pages(knowledge), MENU, {}, folder, "specvit hub build")
    return written[0]


def write_findings(knowledge: Knowledge, path: Path, results: str) -> Path:
    """Write what was found as one Markdown file, whose links lead to results.

    Args:
        path: the file.
        results: from the file's folder to the results, e.g. "../results".

    Raises:
        RunError: if it cannot be written.
    """
    text = page_markdown(findings_page(knowledge), _to_results(knowledge, results))
    return write_atomic(path, f"{NOTICE}\n\n{text}")


def _to_results(knowledge: Knowledge, results: str) -> Address:
    def address(to: str) -> str:
        study = to.partition("#")[0].rpartition("/")[2]
        return f"{results}/{knowledge.scale}/{study}.json"

    return address
