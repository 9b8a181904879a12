"""Readings of rules: logic against truth tables, mistakes told, and what the shipped programme reads."""

import itertools
import re

import pytest

from specvit.errors import ConfigError
from specvit.hub.reading import chance_read, check_reading, parse_reading, verdict_read
from specvit.hub.structure import read_programme
from specvit.studies import read_studies

#: A reading, and what it is in Python.
READINGS = [
    ("1", lambda a, b, c: a),
    ("not 2", lambda a, b, c: not b),
    ("1 and not 2", lambda a, b, c: a and not b),
    ("1 or 2 and 3", lambda a, b, c: a or (b and c)),
    ("not (1 and 2)", lambda a, b, c: not (a and b)),
    ("not (1 or not (2 and 3))", lambda a, b, c: not (a or not (b and c))),
    ("(1 or 2) and not not 3", lambda a, b, c: (a or b) and c),
]


@pytest.mark.parametrize(("text", "meant"), READINGS)
def test_decided_comparisons_are_joined_as_logic_does(text, meant):
    for values in itertools.product((True, False), repeat=3):
        verdicts = ["supported" if value else "refuted" for value in values]
        assert verdict_read(parse_reading(text), verdicts) == ("supported" if meant(*values) else "refuted")


@pytest.mark.parametrize(("text", "meant"), READINGS)
def test_what_is_undecided_matters_where_it_could_decide(text, meant):
    """Kleene's logic: the whole is told only if it is the same whatever an undecided part turns out to be."""
    for values in itertools.product((True, False, None), repeat=3):
        verdicts = [{True: "supported", False: "refuted", None: "undecided"}[value] for value in values]
        ends = {
            bool(meant(*some))
            for some in itertools.product(*([True, False] if v is None else [v] for v in values))
        }
        told = verdict_read(parse_reading(text), verdicts)
        assert told == ("undecided" if len(ends) > 1 else "supported" if ends == {True} else "refuted")


def test_the_weakest_necessary_comparison_is_the_chance_against_it():
    verdicts, chances = ["supported", "refuted", "supported"], [0.01, 0.03, 0.002]
    assert chance_read(parse_reading("1 and not 2"), "supported", verdicts, chances) == 0.03
    assert chance_read(parse_reading("1 or 3"), "supported", verdicts, chances) == 0.002
    assert chance_read(parse_reading("not 1 or 2"), "refuted", verdicts, chances) == 0.03


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "too early"), ("1 and", "too early"), ("1 2", "'2' is one too many"), ("(1", "not closed"),
        ("1 xor 2", "not understood from 'xor 2'"), ("and 1", "'and' stands where a number"), (")", "stands where"),
        ("0", "2 comparisons, not a number 0"), ("1 and 3", "2 comparisons, not a number 3"),
        ("not " * 200 + "1", "nests too deep"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told(text, told):
    with pytest.raises(ConfigError, match=re.escape(told)):
        check_reading(text, 2)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            '[published]\nwhitening = "1 and 3"\n',
            "published.whitening: '1 and 3': the rule has 2 comparisons",
        ),
        ('[published]\nwhitenin = "1"\n', "published names the study 'whitenin'"),
        ('[beyond.laptop]\nwhitenin = "why"\n', "beyond.laptop names the study 'whitenin'"),
        (
            '[[principles]]\nid = "P1"\ntext = "x"\nstudies = ["whitening"]\nreadings = { width = "1" }\n',
            "'width' is none of its studies",
        ),
    ],
)
def test_a_programme_names_what_is_there(tmp_path, lines, told):
    path = tmp_path / "mine.toml"
    path.write_text(f'programme_version = 1\ntitle = "mine"\nquestion = "which?"\n{lines}', encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape(told)):
        read_programme(path, read_studies())


def test_a_claim_without_a_published_result_is_counted_neither_way():
    studies = read_studies()
    programme = read_programme("reference", studies)
    silent = re.compile(r"no (result|control|multi-task run) was published|never run")
    for study in studies.values():
        if silent.search(study.source.number) or silent.search(study.source.claim):
            assert study.id in programme.beside, study.id
