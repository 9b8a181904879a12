"""JSON from files and attributes, parsed and checked in one step. Knows no form; the caller brings the check."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import ValidationError

from specvit.documents.problems import wrong_entry
from specvit.errors import DataError, SpecvitError

T = TypeVar("T")


def parse_json(text: str | bytes, where: str, check: Callable[[Any], T], mend: str) -> T:
    """Return `check` of the parsed text.

    Args:
        text: JSON; bytes must be UTF-8.
        where: file and field, as messages name it.
        check: turns parsed JSON into what is wanted (a pydantic `model_validate`, a `from_dict`); may raise
            pydantic's or specvit's errors, KeyError, TypeError or ValueError for what it cannot take.
        mend: what the user can do about a wrong text.

    Raises:
        DataError: if the text is not JSON or not of the checked form; names `where` and the first wrong entry.
    """
    try:
        content = json.loads(text)
    # Bytes that are no UTF-8 raise a ValueError too; lists within lists end in recursion.
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not valid JSON ({error}); {mend}") from error
    return checked(check, content, where, mend)


def checked(check: Callable[[Any], T], content: Any, where: str, mend: str) -> T:
    """Return `check` of plain values; what it refuses is a DataError. Arguments and errors as of `parse_json`."""
    try:
        return check(content)
    except ValidationError as error:
        raise DataError(f"{where}: {wrong_entry(error)}; {mend}") from error
    except SpecvitError as error:
        raise DataError(f"{where}: {error}") from error
    except KeyError as error:
        raise DataError(f"{where}: has no entry {error}; {mend}") from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{where}: not of the expected form ({error}); {mend}") from error
