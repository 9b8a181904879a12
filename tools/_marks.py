"""Tables of a page that are made of results, between their marks: `<!-- NAME -->` and `<!-- end of NAME -->`."""

from __future__ import annotations


def with_table(text: str, name: str, lines: list[str]) -> str:
    """Return a page with the lines of one table in the place of those it had."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"the page has no marks '{begin.strip()}' and '{end}'")
    return before + begin + "\n".join(lines) + "\n" + end + after
