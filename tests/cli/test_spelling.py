"""Text in encodings that lack its characters."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import specvit
from specvit.cli.spelling import SPELLINGS, spelled, without_control

SOURCE = Path(specvit.__file__).parent
ENCODINGS = ["ascii", "latin-1", "cp1252", "koi8-r", "shift_jis", "utf-8"]
#: Surrogates too: undecodable bytes of file names.
ANY_TEXT = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=ANY_TEXT)
def test_any_text_becomes_one_the_encoding_holds_and_stays_so(encoding, text):
    shown = spelled(text, encoding)
    shown.encode(encoding)
    assert spelled(shown, encoding) == shown


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=st.text(st.characters(max_codepoint=126, exclude_categories=("Cc",))))
def test_plain_text_is_left_alone(encoding, text):
    assert spelled(text, encoding) == text or encoding == "shift_jis"  # which reads 0x5c as a yen sign


def test_what_is_known_is_spelled_out_and_the_rest_escaped():
    assert spelled("χ² ≥ 3 σ at 8500 Å – α", "ascii") == "chi2 >= 3 sigma at 8500 A - alpha"
    assert spelled("χ² ≥ 3 σ at 8500 Å", "latin-1") == "chi² >= 3 sigma at 8500 Å"
    assert spelled("日 \udcff", "ascii") == "\\u65e5 \\xff"
    assert spelled("日 \udcff", "utf-8") == "日 \\xff"


def test_every_spelling_is_ascii():
    assert all(len(character) == 1 and text.isascii() for character, text in SPELLINGS.items())


def test_every_character_of_our_own_texts_has_a_spelling():
    used = {
        character
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for character in node.value
        if not character.isascii() and character.isprintable()
    }
    used |= {c for path in SOURCE.rglob("*.toml") for c in path.read_text() if not c.isascii()}
    assert used - set(SPELLINGS) == set()


@given(text=ANY_TEXT)
def test_a_terminal_is_not_given_orders(text):
    shown = without_control(text)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in shown if c not in "\n\t")
    assert without_control("\x1b[31mred\x07") == "\\x1b[31mred\\x07"
