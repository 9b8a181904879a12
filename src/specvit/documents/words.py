"""Names, values and suggestions in messages: one line, of bearable length, whatever a document holds."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

LONGEST_NAME = 120
LONGEST_VALUE = 60


def one_line(text: str) -> str:
    """Return `text` on one line, with escapes for what a terminal would not print."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text.split()))


def shown(value: Any) -> str:
    """Return a value or path as a message shows it: paths bare, others as Python writes them, cut if long."""
    if isinstance(value, Path):
        text = one_line(str(value))
        # Of a long path the end says which file it is.
        return text if len(text) <= LONGEST_NAME else f"...{text[-LONGEST_NAME:]}"
    # Cut before and after: the text of a large value is made in vain, and escapes make it longer.
    text = repr(value[:LONGEST_NAME] if isinstance(value, str | list | tuple) else value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def shown_key(key: Sequence[str]) -> str:
    """Return the dotted key, its parts quoted where TOML would quote them."""
    parts = (part if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", part) else shown(part) for part in key)
    return ".".join(parts)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return '; did you mean ...?' with the nearest of the known words, or '' if none is near."""
    near = difflib.get_close_matches(word[:LONGEST_NAME], list(known), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""
