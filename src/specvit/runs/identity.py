"""What a run is, by content: the digest of its resolved inputs, and which versions give the same results.

The version of specvit is written beside, not into, the digest: results stay comparable across versions until
`RESULTS` is raised.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from specvit.documents.opening import access_error
from specvit.errors import DataError

#: Raised when the same inputs give other results, or a run's stages other files: a run of before is then not
#: continued but begun anew. 2: scores by label and slice.
RESULTS = 2

#: Hex digits of a digest: 64 bits, for runs that one person keeps.
DIGITS = 16


def content_digest(inputs: Mapping[str, Any]) -> str:
    """Return the digest of JSON-ready inputs; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:DIGITS]


def file_digest(path: Path) -> str:
    """Return the digest of a file's content, or of all files of a folder by their names in it.

    Raises:
        AccessError: if the system does not give it.
        DataError: if it is missing.
    """
    digest = hashlib.sha256()
    # Sorted: the order in which a folder lists its files is not part of its content.
    try:
        files = sorted(part for part in path.rglob("*") if part.is_file()) if path.is_dir() else [path]
        for part in files:
            name = part.relative_to(path).as_posix() if part != path else ""
            with part.open("rb") as stream:
                digest.update(name.encode() + hashlib.file_digest(stream, "sha256").digest())
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; give one that is there") from error
    except OSError as error:
        raise access_error(path, error, "file") from error
    return digest.hexdigest()[:DIGITS]
