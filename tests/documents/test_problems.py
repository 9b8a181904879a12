import pytest
from pydantic import BaseModel, ValidationError, model_validator

from specvit.documents.json_text import parse_json
from specvit.documents.problems import wrong_entry
from specvit.documents.records import read_record
from specvit.errors import DataError


class Part(BaseModel):
    count: int


class Whole(BaseModel):
    part: Part

    @model_validator(mode="after")
    def _few(self):
        if self.part.count > 3:
            raise ValueError("Part.count: more than 3")
        return self


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"part": {}}, "has no entry 'part.count'"),
        ({"part": {"count": "x"}}, "entry 'part.count': input should be a valid integer"),
        ({"part": {"count": "x" * 500}}, "..."),
        ({"part": {"count": 4}}, "part.count: more than 3"),
    ],
)
def test_a_file_of_either_reader_is_told_the_first_wrong_entry_in_one_short_line(values, words):
    with pytest.raises(ValidationError) as found:
        Whole.model_validate(values)
    said = wrong_entry(found.value)
    assert words in said
    assert len(said) < 200
    assert "\n" not in said
    assert "Value error" not in said
    with pytest.raises(DataError) as parsed:
        parse_json(b"{}", "here", lambda _: Whole.model_validate(values), "mend")
    with pytest.raises(DataError, match=r"^here: ") as read:
        read_record(Whole, values, "here", "mend")
    assert str(parsed.value) == f"here: {said}; mend"
    assert str(read.value).endswith("; mend")


def test_what_is_no_plain_value_is_refused():
    with pytest.raises(DataError, match=r"here: not plain values .*; mend"):
        read_record(Whole, {"part": {1, 2}}, "here", "mend")
