"""How a statement stands: from the verdicts of its studies alone, and no surer than they are."""

import pytest

from made_results import made_result
from specvit.hub.evidence import confidence_of, grade_of, p_of, standing
from specvit.hub.knowledge import Known
from specvit.hub.structure import HypothesisSection
from specvit.runs.study_result import ClaimFacts, EffectFacts


class Given:
    """Knowledge of some studies, by name and verdict."""

    def __init__(self, studies, **verdicts):
        self.known = {
            name.replace("_", "-"): Known(
                name, name, studies["kernel"], made_result(studies["kernel"], verdict)
            )
            if verdict != "open"
            else Known(name, name, studies["kernel"])
            for name, verdict in verdicts.items()
        }

    def of(self, ids):
        return [self.known[one] for one in ids]


def stands(declared, verdicts, **statement):
    given = Given(declared, **verdicts)
    return standing(HypothesisSection(id="H", text="text", **statement), given)


@pytest.mark.parametrize(
    ("verdicts", "needs", "state"),
    [
        ({"a": "supported", "b": "supported"}, "all", "supported"),
        ({"a": "supported", "b": "refuted"}, "all", "refuted"),
        ({"a": "supported", "b": "refuted"}, "any", "supported"),
        ({"a": "supported", "b": "open"}, "all", "undecided"),
        ({"a": "refuted", "b": "open"}, "all", "refuted"),
        ({"a": "refuted", "b": "open"}, "any", "undecided"),
        ({"a": "refuted", "b": "refuted"}, "any", "refuted"),
        ({"a": "undecided", "b": "open"}, "any", "undecided"),
        ({"a": "open", "b": "open"}, "all", "open"),
    ],
)
def test_parts_make_a_whole(studies, verdicts, needs, state):
    assert stands(studies, verdicts, studies=tuple(verdicts), needs=needs).state == state


@pytest.mark.parametrize(
    ("verdict", "state"),
    [("supported", "refuted"), ("refuted", "supported"), ("undecided", "undecided"), ("open", "open")],
)
def test_a_study_against_a_statement_is_turned_round(studies, verdict, state):
    assert stands(studies, {"a": verdict}, against=("a",)).state == state


def test_a_statement_without_studies_is_open(studies):
    found = stands(studies, {})
    assert (found.state, found.confidence) == ("open", 0.0)


def test_what_was_not_run_or_not_told_counts_as_not_known(studies):
    verdicts = {"a": "supported", "b": "undecided", "c": "open", "d": "refuted"}
    found = stands(studies, verdicts, studies=tuple(verdicts))
    assert found.confidence == pytest.approx((0.998 + 0.998) / 4)
    assert (found.grade, found.decided) == ("moderate", 2)
    assert confidence_of([]) == 0.0


@pytest.mark.parametrize(
    ("confidence", "grade"), [(1.0, "high"), (0.75, "high"), (0.4, "moderate"), (0.0, "low")]
)
def test_grades_have_their_limits(confidence, grade):
    assert grade_of(confidence) == grade


def claim(text, p, verdict, level=0.05):
    effect = EffectFacts(value=0, low=0, high=0, detectable=0)
    return ClaimFacts(
        text=text, slice="all", label="log_g", stars=9, effects=(effect,), p=p, level=level, verdict=verdict
    )


@pytest.mark.parametrize(
    ("joint", "verdict", "p"),
    [
        ("and", "supported", 0.03),
        ("and", "refuted", 0.001),
        ("or", "supported", 0.001),
        ("or", "refuted", 0.03),
    ],
)
def test_the_weakest_comparison_that_was_needed_decides(studies, joint, verdict, p):
    first, second = "excess(k9) <= excess(k21)", "excess(k9) <= excess(k45)"
    claims = (claim(first, 0.001, verdict), claim(second, 0.03, verdict))
    result = made_result(studies["kernel"], verdict, rule=f"{first} {joint} {second}", claims=claims)
    assert p_of(result) == pytest.approx(p)


def test_a_part_of_another_verdict_lends_no_strength(studies):
    first, second = "excess(k9) <= excess(k21)", "excess(k9) <= excess(k45)"
    claims = (claim(first, 0.0005, "supported"), claim(second, 0.02, "refuted"))
    result = made_result(studies["kernel"], "refuted", rule=f"{first} and {second}", claims=claims)
    assert p_of(result) == pytest.approx(0.02)


def test_the_correction_for_several_comparisons_is_held_against_a_verdict(studies):
    text = "excess(k9) <= excess(k21)"
    result = made_result(
        studies["kernel"], "supported", rule=text, claims=(claim(text, 0.01, "supported", 0.05 / 3),)
    )
    assert p_of(result) == pytest.approx(0.03)
