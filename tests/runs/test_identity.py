"""What a run is, by content: the order of keys and the place of files do not matter, anything else does."""

import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specvit.errors import DataError
from specvit.runs.identity import content_digest, file_digest

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-2, 2) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
documents = st.dictionaries(st.text(max_size=3), plain, max_size=5)


def turned(value):
    """Return the same values with the keys of every dictionary in the opposite order."""
    if isinstance(value, dict):
        return {key: turned(item) for key, item in reversed(value.items())}
    return [turned(item) for item in value] if isinstance(value, list) else value


@given(documents)
def test_the_order_of_keys_does_not_matter(document):
    assert content_digest(turned(document)) == content_digest(document)


@given(documents, st.text(max_size=3), plain)
def test_any_other_entry_does(document, key, value):
    other = {**document, key: value}
    equal = content_digest(other) == content_digest(document)
    assert equal == (key in document and repr(document[key]) == repr(turned(turned(value))))


def test_the_order_of_a_list_matters():
    """The first label is the target."""
    assert content_digest({"labels": ["log_g", "teff"]}) != content_digest({"labels": ["teff", "log_g"]})


def test_a_file_is_its_content_wherever_it_lies(tmp_path):
    first = tmp_path / "a.bin"
    first.write_bytes(b"content")
    second = tmp_path / "deep" / "b.txt"
    second.parent.mkdir()
    shutil.copy(first, second)
    assert file_digest(first) == file_digest(second)
    second.write_bytes(b"Content")
    assert file_digest(first) != file_digest(second)


def test_a_folder_is_its_files_by_their_names_in_it(tmp_path):
    first = tmp_path / "model"
    (first / "part").mkdir(parents=True)
    (first / "weights").write_bytes(b"1")
    (first / "part" / "card").write_bytes(b"2")
    moved = tmp_path / "elsewhere" / "copy"
    shutil.copytree(first, moved)
    whole = file_digest(first)
    assert file_digest(moved) == whole
    (moved / "part" / "card").rename(moved / "card")
    assert file_digest(moved) != whole
    (moved / "card").rename(moved / "part" / "card")
    assert file_digest(moved) == whole
    (moved / "weights").write_bytes(b"2")
    assert file_digest(moved) != whole


def test_two_files_that_change_places_are_another_folder(tmp_path):
    for name, contents in (("one", (b"1", b"2")), ("two", (b"2", b"1"))):
        (tmp_path / name).mkdir()
        for file, content in zip("ab", contents, strict=True):
            (tmp_path / name / file).write_bytes(content)
    assert file_digest(tmp_path / "one") != file_digest(tmp_path / "two")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="absent: no such file"):
        file_digest(tmp_path / "absent")
