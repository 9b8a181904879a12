"""Pages as Markdown."""

from __future__ import annotations

import re

from specvit.hub.addresses import Address
from specvit.hub.blocks import (
    Block,
    Columns,
    Facts,
    Grid,
    Heading,
    HubPage,
    Item,
    Listing,
    Numbers,
    Paragraph,
)
from specvit.report.phrase import SYMBOLS, Code, Link, Mark, Part, Phrase
from specvit.report.tables import Cell, Table, cell_text

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")
_BULLET = re.compile(r"^(\s*)([-+]|\d+[.)])(?=\s)")


def page_markdown(page: HubPage, address: Address) -> str:
    """Return a page as Markdown, with links as `address` has them."""
    parts = [f"# {escaped(page.title)}", escaped(page.above)]
    parts += [_block(block, address) for block in page.blocks]
    return "\n\n".join(part for part in parts if part) + "\n"


def escaped(text: str) -> str:
    """Return text that Markdown prints as it is, on one line."""
    return _BULLET.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", " ".join(text.split())))


def _block(block: Block, address: Address) -> str:
    match block:
        case Heading():
            return f'{"#" * block.level} <a id="{block.anchor}"></a>{escaped(block.text)}'
        case Paragraph():
            return (
                f"> **{_line(block.content, address)}**" if block.is_alarm else _line(block.content, address)
            )
        case Listing():
            return "\n".join(line for item in block.items for line in _items(item, address, 0))
        case Facts():
            return "\n".join(f"- **{escaped(term)}**: {_line(text, address)}" for term, text in block.entries)
        case Numbers():
            return "\n".join(f"- {escaped(what)}: **{escaped(number)}**" for what, number in block.entries)
        case Columns():
            return "\n\n".join(_column(title, entries, address) for title, entries in block.columns)
        case Grid():
            return f"{_table(block.table, address)}\n\n{escaped(block.table.caption)}"


def _column(title: str, entries: tuple[Phrase, ...], address: Address) -> str:
    lines = [f"- {_line(entry, address)}" for entry in entries] or ["- –"]
    return "\n".join([f"**{escaped(title)}**", "", *lines])


def _items(item: Item, address: Address, depth: int) -> list[str]:
    lines = [f"{'  ' * depth}- {_line(item.content, address)}"]
    return lines + [line for below in item.below for line in _items(below, address, depth + 1)]


def _table(table: Table, address: Address) -> str:
    rows = [[escaped(title) for title in table.head], ["---"] * len(table.head)]
    rows += [[_cell(cell, table.digits, address) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(cell: Cell, digits: int | None, address: Address) -> str:
    return _line(cell, address) if isinstance(cell, Phrase) else escaped(cell_text(cell, digits))


def _line(content: Phrase, address: Address) -> str:
    # Spaces at the ends of a part keep it from its neighbours.
    return " ".join("".join(_part(part, address) for part in content.parts).split())


def _part(part: Part, address: Address) -> str:
    match part:
        case Link():
            to = address(part.to)
            return f"[{escaped(part.text)}]({to})" if to else escaped(part.text)
        case Mark():
            return f"{escaped(SYMBOLS[part.kind])} {escaped(part.word)}"
        case Code():
            return _code(part.text)
    return _SPECIAL.sub(r"\\\1", part)


def _code(text: str) -> str:
    # A pipe ends a cell even in code, and a fence has to be longer than any inside.
    text = " ".join(text.split()).replace("|", "\u2502")
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{fence}{text}{fence}" if fence == "`" else f"{fence} {text} {fence}"
