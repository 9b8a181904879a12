"""What a page of the hub is made of: blocks of text and tables, with no look. `markdown` and `site` give them theirs."""

from __future__ import annotations

from dataclasses import dataclass

from specvit.report.phrase import Phrase
from specvit.report.tables import Table


@dataclass(frozen=True)
class Heading:
    """A heading, to which links may lead.

    Args:
        text: of it.
        anchor: unique in its page.
        level: 2 or 3.
    """

    text: str
    anchor: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Some lines; an alarm if a reader must not miss them."""

    content: Phrase
    is_alarm: bool = False


@dataclass(frozen=True)
class Item:
    """An entry of a list, with entries below it."""

    content: Phrase
    below: tuple[Item, ...] = ()


@dataclass(frozen=True)
class Listing:
    """A list."""

    items: tuple[Item, ...]


@dataclass(frozen=True)
class Facts:
    """Terms, and what they are."""

    entries: tuple[tuple[str, Phrase], ...]


@dataclass(frozen=True)
class Numbers:
    """A few large numbers: what they are, and they."""

    entries: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Columns:
    """Lists side by side: titles, and their entries."""

    columns: tuple[tuple[str, tuple[Phrase, ...]], ...]


@dataclass(frozen=True)
class Grid:
    """A table; of words rather than numbers if `is_text`."""

    table: Table
    is_text: bool = False


Block = Heading | Paragraph | Listing | Facts | Numbers | Columns | Grid


@dataclass(frozen=True)
class HubPage:
    """A page.

    Args:
        name: its address without ending, e.g. "index" or "studies/classical".
        title: its heading.
        above: a line over the heading.
        blocks: what it holds.
    """

    name: str
    title: str
    above: str
    blocks: tuple[Block, ...]

    @property
    def depth(self) -> int:
        """How many folders it lies below the first page."""
        return self.name.count("/")
