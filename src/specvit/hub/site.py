"""Pages as a static site and as Markdown, one folder that opens offline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from specvit.errors import import_optional
from specvit.hub.addresses import addresses_from
from specvit.hub.blocks import HubPage
from specvit.hub.markdown import page_markdown
from specvit.report.phrase import SYMBOLS
from specvit.report.style import style_sheet
from specvit.report.tables import Cell, cell_text
from specvit.report.words import decimals_of, interval, number
from specvit.runs import Score, write_atomic

MARKDOWN = "markdown"
#: What a site consists of: by this the next build knows which pages are of studies that are no more.
CONTENTS = "contents.json"


def write_site(
    pages: Sequence[HubPage],
    menu: Mapping[str, str],
    further: Mapping[str, str | bytes],
    folder: Path,
    command: str,
) -> list[Path]:
    """Write pages as HTML and Markdown, and return the files, the first page first.

    Everything is made before the first file is written. What an earlier build wrote here, and this one does not, is
    removed.

    Args:
        pages: the first is the one that is opened.
        menu: name -> title of the pages that every page leads to.
        further: name -> content of files that pages link to.
        folder: where it goes; files in it that no build wrote are left alone.
        command: what readers are told it was made by.

    Raises:
        MissingExtra: without jinja2.
        RunError: if the folder cannot be written.
    """
    template = _template()
    made: dict[str, str | bytes] = {}
    for page in pages:
        made[f"{page.name}.html"] = template.render(
            page=page,
            menu=list(menu.items()),
            address=addresses_from(page.depth, ".html"),
            symbols=SYMBOLS,
            command=command,
        )
    for page in pages:
        made[f"{MARKDOWN}/{page.name}.md"] = page_markdown(page, addresses_from(page.depth, ".md", "../"))
    own = (files("specvit.hub") / "templates" / "hub.css").read_text(encoding="utf-8")
    made |= {"style.css": style_sheet() + own, **further}
    before = _contents(folder)
    made[CONTENTS] = json.dumps(sorted(made), indent=1) + "\n"
    paths = [write_atomic(folder / name, content) for name, content in made.items()]
    for name in before - set(made):
        (folder / name).unlink(missing_ok=True)
    return paths


def _contents(folder: Path) -> set[str]:
    """Return the names that an earlier build wrote into a folder; none where it did not say so, or says nonsense."""
    try:
        names = json.loads((folder / CONTENTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    # A file that somebody edited must not remove what lies elsewhere.
    inside = folder.resolve()
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return {name for name in names if (folder / name).resolve().is_relative_to(inside)} if is_list else set()


def _template() -> Any:
    jinja2 = import_optional("jinja2", None, "specvit hub")
    # A misspelt name fails instead of leaving a gap; texts of studies are text, whatever they hold.
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["kind"] = lambda value: type(value).__name__
    environment.filters["cell"] = _cell_parts
    return environment.from_string(
        (files("specvit.hub") / "templates" / "page.html.j2").read_text(encoding="utf-8")
    )


def _cell_parts(cell: Cell, digits: int | None) -> tuple[str, str]:
    """Return what a cell prints large and what it prints small below."""
    if isinstance(cell, Score):
        decimals = decimals_of(cell) if digits is None else digits
        return number(cell.value, decimals), interval(cell, decimals)
    return cell_text(cell, digits), ""
