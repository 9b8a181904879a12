"""The user's cache folder: what can be made or fetched again, at a price, and is kept for the next time."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache(kind: str) -> Path:
    """Return the folder of one kind of thing: `$SPECVIT_CACHE/KIND`, else in the cache folder of the user.

    Source: the XDG Base Directory Specification.
    """
    root = os.environ.get("SPECVIT_CACHE")
    if root:
        return Path(root) / kind
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "specvit" / kind
