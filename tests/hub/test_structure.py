"""The programme that ships fits the catalogue; what cannot be meant is one line with the nearest that is known."""

import re
from pathlib import Path

import pytest

from specvit.errors import ConfigError
from specvit.hub.structure import PROGRAMMES, SHIPPED, read_programme

SMALL = """
title = "Mine"
question = "What?"
planned = { later = "To be declared" }
[[questions]]
id = "Q1"
text = "Which?"
hypotheses = [{ id = "Q1.1", text = "This.", studies = ["kernel", "later"] }]
[[choices]]
id = "first"
asks = "Which?"
branches = [{ when = "one", study = "kernel", variants = ["k9", "k21"] }, { when = "other", go = "second" }]
[[choices]]
id = "second"
asks = "And then?"
branches = [{ when = "always", study = "later", variants = ["whatever"] }]
"""


def read(tmp_path, studies, old="", new=""):
    assert old in SMALL
    path = tmp_path / "mine.toml"
    path.write_text(SMALL.replace(old, new) if old else SMALL, encoding="utf-8")
    return read_programme(path, studies)


def test_the_shipped_programme_names_every_study_of_the_catalogue(studies):
    programme = read_programme(SHIPPED, studies)
    named = {study for _, study in programme.named()}
    assert sorted(set(studies) - named) == []
    assert [question.id for question in programme.questions] == [
        "Q0",
        "Q1",
        "Q2",
        "Q3",
        "Q4",
        "Q5",
        "Q6",
        "Q7",
        "Q8",
    ]
    assert [gap.id for gap in programme.gaps] == ["DG1", "DG2", "DG3", "DG4", "DG5"]
    assert [gate.id for gate in programme.gates] == ["D1", "D2", "D3", "D4", "C0", "C1", "C2", "C3", "C4"]
    assert PROGRAMMES.names() == (SHIPPED,)


def test_the_shipped_programme_holds_no_verdict():
    """How things stand follows from results: no word of the declaration may say it."""
    text = PROGRAMMES.preset(SHIPPED).read_text(encoding="utf-8")
    for word in ("confirmed", "replicat", "we found", "was shown"):
        assert word not in text.lower()


def test_every_planned_study_is_named(studies):
    programme = read_programme(SHIPPED, studies)
    named = {study for _, study in programme.named()}
    assert sorted(set(programme.planned) - named) == []


def test_a_programme_of_ones_own_is_read(tmp_path, studies):
    assert read(tmp_path, studies).planned == {"later": "To be declared"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"kernel", "later"', '"kernal"', "Q1.1 names the study 'kernal'"),
        ('"kernel", "later"', '"kernal"', "did you mean 'kernel'?"),
        ('planned = { later = "To be declared" }\n', "", "names the study 'later'"),
        ('"k9", "k21"', '"k9", "k22"', "no variant 'k22'; did you mean 'k21'?"),
        ('title = "Mine"', 'titel = "Mine"', "did you mean 'title'?"),
        ('id = "Q1.1", text', 'id = "Q1.1", txt', "did you mean 'text'?"),
        ('id = "second"', 'id = "secund"', "did you mean 'secund'?"),
        ('id = "second"', 'id = "Q1"', "given twice"),
        ('go = "second"', 'go = "first"', "goes back"),
        (', variants = ["whatever"]', "", "expected either"),
        ('text = "Which?"\n', "", "text"),
    ],
)
def test_what_cannot_be_meant_is_one_line(tmp_path, studies, old, new, message):
    with pytest.raises(ConfigError, match=r"mine\.toml") as raised:
        read(tmp_path, studies, old, new)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_programme_in_the_docs_is_one(tmp_path, studies):
    text = (Path(__file__).resolve().parents[2] / "docs" / "hub.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n((?!outline_version).*?)```", text, re.DOTALL)
    path = tmp_path / "mine.toml"
    path.write_text(example, encoding="utf-8")
    programme = read_programme(path, {"my-width": studies["width"]})
    assert [hypothesis.id for hypothesis in programme.questions[0].hypotheses] == ["Q1.1", "Q1.2"]
