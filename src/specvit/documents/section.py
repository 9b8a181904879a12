"""The base of every part of a validated document, and the kinds of text that several of them hold.

Every field says what it is, in which unit and in which range: a whole number without an upper bound is a program
that never ends, a real one without bounds ends in a NaN far from its cause.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

#: Bytes of one part of a path, on all usual file systems.
LONGEST_FILE_NAME = 255


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values do not change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Grown(Section):
    """A section that has got keys since documents of it were first identified by what they say.

    One of the keys `LATER` that has its default is left out of `model_dump`: a document that does not use it stays
    what it was.
    """

    LATER: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, said: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        return {
            key: value
            for key, value in said(self).items()
            if key not in self.LATER or getattr(self, key) != fields[key].get_default()
        }


def _fits_a_file_system(path: str) -> str:
    for part in PurePath(path).parts:
        if len(part.encode(errors="surrogateescape")) > LONGEST_FILE_NAME:
            raise ValueError(f"a name in a path has at most {LONGEST_FILE_NAME} bytes")
    return path


#: A path, or a name that may be one.
PathText = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_fits_a_file_system)]
