"""One HTML file of numbers, sentences, figures and tables that is read offline: a star, a list of stars, a denoiser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from specvit.errors import import_optional
from specvit.report.style import style_sheet

#: A text, or a text and where it leads.
PageCell = str | tuple[str, str]


@dataclass(frozen=True)
class PageTable:
    """A table of a page."""

    heading: str
    caption: str
    head: tuple[str, ...]
    rows: Sequence[Sequence[PageCell]]


def check_pages(what: str) -> None:
    """Raise MissingExtra if what pages are made with is not there: before the work, not after."""
    for module in ("jinja2", "matplotlib"):
        import_optional(module, None, what)


def render_page(**content: Any) -> str:
    """Return a page; `content` is what the template names: title, above, numbers, findings, figures, tables, facts, footer."""
    return str(_template().render(style=style_sheet(), **content))


@lru_cache(maxsize=1)
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    # A misspelt name fails instead of leaving a gap; names of stars and files are text, whatever they hold.
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = files("specvit.report") / "templates" / "page.html.j2"
    return environment.from_string(source.read_text(encoding="utf-8"))
