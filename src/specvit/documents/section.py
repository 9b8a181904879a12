"""The base of every part of a validated document, and the kinds of text that several of them hold.

Every field says what it is, in which unit and in which range: a whole number without an upper bound is a program
that never ends, a real one without bounds ends in a NaN far from its cause.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

#: Bytes of one part of a path, on all usual file systems.
LONGEST_FILE_NAME = 255


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values do not change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _fits_a_file_system(path: str) -> str:
    for part in PurePath(path).parts:
        if len(part.encode(errors="surrogateescape")) > LONGEST_FILE_NAME:
            raise ValueError(f"a name in a path has at most {LONGEST_FILE_NAME} bytes")
    return path


#: A path, or a name that may be one.
PathText = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_fits_a_file_system)]
