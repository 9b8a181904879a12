import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specvit.documents.toml import dump_toml, line_of, parse_value
from specvit.errors import ConfigError

scalars = (
    st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
)
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
tables = st.recursive(
    st.dictionaries(keys, scalars | st.lists(scalars, max_size=3), max_size=4),
    lambda inner: st.dictionaries(keys, scalars | inner, max_size=3),
    max_leaves=8,
)


@given(tables)
def test_what_is_written_is_read_back(values):
    assert tomllib.loads(dump_toml(values)) == values


@given(st.lists(tables, min_size=1, max_size=3), tables)
def test_lists_of_tables_are_read_back(several, values):
    values = {**values, "arms": several, "inner": {"arms": several, "x": 1}}
    assert tomllib.loads(dump_toml(values)) == values


def test_unwritable_values_name_their_key():
    with pytest.raises(ConfigError, match=r"run\.when"):
        dump_toml({"run": {"when": object()}})


def test_line_of_finds_keys_in_their_table():
    text = "a = 1\n[b]\n# a = 2\na = 3\n[b.c]  # note\nd.e = 4\n"
    assert line_of(text, ["a"]) == 1
    assert line_of(text, ["b"]) == 2
    assert line_of(text, ["b", "a"]) == 4
    assert line_of(text, ["b", "c", "d", "e"]) == 6
    assert line_of(text, ["b", "z"]) is None


@pytest.mark.parametrize(
    ("text", "value"), [("5", 5), ("[1, 2]", [1, 2]), ("'5'", "5"), ("gaia_rvs", "gaia_rvs"), ("1e-3", 1e-3)]
)
def test_override_values_are_toml_or_bare_words(text, value):
    assert parse_value(text) == value
