"""Google-style docstrings as Markdown: sections become lists, examples code, the rest stays as it is.

Used by `build_api_reference.py`. Knows text only, no Python objects.
"""

from __future__ import annotations

import inspect
import re

#: Sections whose content is "name: text" items, and those whose content is one text.
ITEMS = ("Args", "Attributes", "Fields", "Raises", "Warns")
TEXTS = ("Returns", "Yields", "Note", "Notes", "Example", "Examples", "References")
_HEADING = re.compile(rf"({'|'.join((*ITEMS, *TEXTS))}):\s*$")
_ITEM = re.compile(r"([\w*][\w*., ]*?): +(.*)")


def first_sentence(docstring: str | None) -> str:
    """Return the first paragraph of a docstring on one line."""
    return " ".join(inspect.cleandoc(docstring or "").split("\n\n")[0].split())


def to_markdown(docstring: str | None) -> str:
    """Return a docstring as Markdown, without a blank line at either end."""
    parts = []
    for heading, lines in _sections(inspect.cleandoc(docstring or "").splitlines()):
        body = inspect.cleandoc("\n".join(lines))
        if heading in ITEMS:
            parts.append(f"**{heading}**\n\n{_items(body)}")
        elif heading:
            parts.append(f"**{heading}**\n\n{_prose(body)}")
        elif body:
            parts.append(_prose(body))
    return "\n\n".join(parts)


def _sections(lines: list[str]) -> list[tuple[str, list[str]]]:
    """Return (heading, lines below it); text before, between and after the sections has the heading ""."""
    sections: list[tuple[str, list[str]]] = [("", [])]
    for line in lines:
        heading = _HEADING.match(line)
        if heading:
            sections.append((heading[1], []))
        elif sections[-1][0] and line and not line.startswith(" "):
            sections.append(("", [line]))
        else:
            # The first line decides what `cleandoc` takes for the margin, so it must not be empty.
            if line or sections[-1][1]:
                sections[-1][1].append(line if sections[-1][1] or not sections[-1][0] else line.lstrip())
    return sections


def _items(body: str) -> str:
    """Return a Markdown list of "name: text" items; indented lines continue the item above."""
    items: list[str] = []
    for line in body.splitlines():
        found = _ITEM.match(line)
        if found:
            names = ", ".join(f"`{name.strip()}`" for name in found[1].split(","))
            items.append(f"- {names}: {found[2]}")
        elif line.strip() and items:
            items[-1] += f" {line.strip()}"
        elif line.strip():
            items.append(f"- {line.strip()}")
    return "\n".join(_escape(item) for item in items)


def _prose(body: str) -> str:
    """Return paragraphs; doctests and indented blocks become code."""
    parts = []
    for paragraph in re.split(r"\n\s*\n", body):
        lines = paragraph.splitlines()
        if lines and (lines[0].startswith(">>> ") or all(line.startswith("    ") for line in lines)):
            parts.append("```python\n" + inspect.cleandoc("\n" + paragraph) + "\n```")
        elif lines:
            parts.append(_escape(paragraph))
    return "\n\n".join(parts)


def _escape(text: str) -> str:
    """Return `text` with what Markdown would take for HTML or emphasis made literal, outside of `code`."""
    pieces = re.split(r"(`[^`]*`)", text)
    pieces[::2] = [re.sub(r"<(?=[\w/])", "&lt;", piece).replace("**", r"\*\*") for piece in pieces[::2]]
    return "".join(pieces)
