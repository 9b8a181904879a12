"""Text with links, marks and code in it, as tables and pages of the hub hold it; how it looks is theirs to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MarkKind = Literal["supported", "refuted", "undecided", "open", "planned"]
#: Told apart without colour too.
SYMBOLS: dict[MarkKind, str] = {
    "supported": "✓",
    "refuted": "✗",
    "undecided": "?",
    "open": "○",
    "planned": "·",
}


@dataclass(frozen=True)
class Link:
    """A text that leads somewhere.

    Args:
        text: what is read.
        to: `page`, `page#anchor` or `#anchor` of the same pages, without an ending, or a file, with its ending.
    """

    text: str
    to: str


@dataclass(frozen=True)
class Mark:
    """A word about how something stands, e.g. a verdict."""

    word: str
    kind: MarkKind


@dataclass(frozen=True)
class Code:
    """A command, rule or digest, as it is typed."""

    text: str


Part = str | Link | Mark | Code


@dataclass(frozen=True)
class Phrase:
    """A line of parts."""

    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """What a reader without links and colours reads."""
        return "".join(part if isinstance(part, str) else plain(part) for part in self.parts)


def plain(part: Part) -> str:
    """Return a part as text alone."""
    if isinstance(part, Mark):
        return part.word
    return part if isinstance(part, str) else part.text


def phrase(*parts: Part | Phrase) -> Phrase:
    """Return parts, and the parts of phrases, as one line."""
    found: list[Part] = []
    for part in parts:
        found += part.parts if isinstance(part, Phrase) else (part,)
    return Phrase(tuple(part for part in found if part != ""))


def joined(phrases: list[Phrase], separator: str = "; ") -> Phrase:
    """Return phrases as one line."""
    found: list[Part | Phrase] = []
    for one in phrases:
        found += [separator, one] if found else [one]
    return phrase(*found)


def coded(text: str) -> Phrase:
    """Return a text in which what stands between backticks is code."""
    pieces = text.split("`")
    return phrase(*(Code(piece) if at % 2 else piece for at, piece in enumerate(pieces) if piece))
