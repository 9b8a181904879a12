"""Plain values as JSON gives them, read into typed records. Owns the one-line message for what does not fit."""

from __future__ import annotations

import json
from collections.abc import Hashable
from functools import lru_cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter

from specvit.documents.json_text import checked
from specvit.errors import DataError

Record = TypeVar("Record")


def read_json(text: str | bytes, where: str, mend: str) -> dict[str, Any]:
    """Return the entries of a JSON object, in which every number is finite.

    Args:
        text: the document.
        where: what messages call it, e.g. its path.
        mend: what to do about a damaged one.

    Raises:
        DataError: if it is no text, no JSON, no object, or holds NaN or infinity.
    """
    try:
        # Python's reader takes NaN and Infinity, which JSON does not have.
        found = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is damaged: not JSON ({error}); {mend}") from error
    if not isinstance(found, dict):
        raise DataError(f"{where} is damaged: it holds no entries; {mend}")
    return found


def read_record(kind: type[Record], values: Any, where: str, mend: str) -> Record:
    """Return plain values as a `kind`, a pydantic model or a frozen dataclass; nothing is converted silently.

    Args:
        kind: what they must be. What its own checks refuse is reported like a wrong type.
        values: numbers, texts, lists and dictionaries, as `json.loads` returns them.
        where: what messages call the document, e.g. its path.
        mend: what to do about a damaged one.

    Raises:
        DataError: naming the first entry that is missing, unknown, or of another type or range.
    """
    adapter = _adapter(cast(Hashable, kind))

    def check(text: str) -> Record:
        record: Record = adapter.validate_json(text, strict=True)
        return record

    try:
        # As JSON, where a list may be a tuple and yet "5" is no number.
        text = json.dumps(values)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{where}: not plain values ({error}); {mend}") from error
    return checked(check, text, where, mend)


# Making an adapter takes longer than using it.
@lru_cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast(Any, kind))


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")
