"""Acceptance rules: what they mean, and how what is not understood is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specvit.errors import ConfigError
from specvit.studies.measures import MEASURES
from specvit.studies.rule import AllOf, AnyOf, Claim, claims_of, parse_rule


def value(contrast, values):
    """The contrast at known values of (measure, variant)."""
    return contrast.constant + sum(t.factor * values[t.measure, t.variant] for t in contrast.terms)


VALUES = {("excess", "a"): 2.0, ("excess", "b"): 3.0, ("r2", "a/x"): 0.5, ("mae", "c.1"): 0.25}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("excess(a) <= excess(b)", [2 - 3]),
        ("excess(a) >= excess(b)", [3 - 2]),
        ("excess(a) <= 0.95 * excess(b)", [2 - 0.95 * 3]),
        ("excess(b) - 2 * excess(a) <= 0.1 - 1", [3 - 4 + 0.9]),
        ("-excess(a) + 4 >= .5*r2(a/x)", [0.25 - (-2 + 4)]),
        ("mae(c.1) <= 1e-1 + 1", [0.25 - 1.1]),
        ("excess(a) within 0.5 of excess(b)", [2 - 3 - 0.5, 3 - 2 - 0.5]),
        ("excess(a) within 50 % of excess(b)", [2 - 3 - 1.5, 3 - 2 - 1.5]),
    ],
)
def test_a_comparison_is_contrasts_that_are_to_be_negative(text, expected):
    claim = parse_rule(text)
    assert isinstance(claim, Claim)
    assert [value(contrast, VALUES) for contrast in claim.contrasts] == pytest.approx(expected)


def test_slices_and_labels_belong_to_their_comparison():
    rule = parse_rule("excess(a) <= 1 on low_noise for teff and excess(b) <= 2")
    one, two = claims_of(rule)
    assert (one.slice, one.label, one.text) == ("low_noise", "teff", "excess(a) <= 1 on low_noise for teff")
    assert (two.slice, two.label) == ("all", "")


def test_and_binds_closer_than_or():
    parts = [f"excess({name}) <= 1" for name in "abc"]
    rule = parse_rule(f"{parts[0]} or {parts[1]} and {parts[2]}")
    assert isinstance(rule, AnyOf)
    assert isinstance(rule.parts[1], AllOf)
    grouped = parse_rule(f"({parts[0]} or {parts[1]}) and {parts[2]}")
    assert isinstance(grouped, AllOf)
    assert isinstance(grouped.parts[0], AnyOf)
    assert [claim.text for claim in claims_of(grouped)] == parts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a measure"),
        ("exces(a) <= 1", "did you mean 'excess'"),
        ("excess(a)", "expected <=, >= or within"),
        ("excess(a) < 1", "expected <=, >= or within"),
        ("excess a <= 1", r"expected '\('"),
        ("excess(a <= 1", r"expected '\)'"),
        ("1 <= 2", "expected a measure of a variant"),
        ("excess(a) within 0 of excess(b)", "margin above zero"),
        ("excess(a) within 5 % excess(b)", "expected 'of'"),
        ("excess(a) <= 1 nor excess(b) <= 1", "expected 'and', 'or', 'on', 'for'"),
        ("excess(a) <= 1 android", "expected 'and'"),
        ("__import__('os').system('x')", "no measure"),
        ("(" * 500 + "excess(a) <= 1", "may nest"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_place(text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        parse_rule(text)
    assert "at character" in str(caught.value)
    assert str(caught.value).isprintable()


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=60)
    | st.from_regex(r"(excess|r2|and|or|within|of|[()*+%<>=. 0-9a-z]){0,12}", fullmatch=True)
)
def test_any_text_is_a_rule_or_refused(text):
    try:
        claims = list(claims_of(parse_rule(text)))
    except ConfigError:
        return
    for claim in claims:
        assert all(term.measure in MEASURES for c in claim.contrasts for term in c.terms)
