"""How a statement stands, and how sure that is, from the verdicts of the studies it names.

A study speaks with its verdict, or with that of the comparisons that a statement reads, turned round where it is named
`against`. Its strength is one minus the p-value of the
comparisons that decided it, after the correction for several; an undecided, open or planned study has none. The
confidence of a statement is the mean strength of all its studies, so that what was not run counts as not known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from specvit.hub.knowledge import Knowledge, Known
from specvit.hub.reading import chance_read, parse_reading, verdict_read
from specvit.hub.structure import StatementSection
from specvit.report.phrase import MarkKind
from specvit.runs.study_result import ClaimFacts, StudyResult, Verdict
from specvit.studies import parse_rule
from specvit.studies.rule import AllOf, Claim, Rule
from specvit.studies.verdict import LEVEL

HOW = (
    "Confidence is the mean, over all studies that bear on a statement, of one minus the p-value (corrected for several "
    "comparisons) of those that are decided, and zero for the others: what was not run, or could not be told, counts as "
    "not known. From 0.75 it is called high, from 0.4 moderate, below low."
)
#: Lowest confidence of a grade.
GRADES = (("high", 0.75), ("moderate", 0.4), ("low", 0.0))
_OPPOSITE: dict[MarkKind, MarkKind] = {"supported": "refuted", "refuted": "supported"}


@dataclass(frozen=True)
class Standing:
    """How a statement stands.

    Args:
        state: "open" while none of its studies has a verdict.
        confidence: from 0 to 1, see this module.
        voices: its studies, each with what its verdict says of the statement.
    """

    state: MarkKind
    confidence: float
    voices: tuple[tuple[Known, MarkKind], ...]

    @property
    def grade(self) -> str:
        """The confidence in a word."""
        return grade_of(self.confidence)

    @property
    def decided(self) -> int:
        """How many of its studies are decided."""
        return sum(state in _OPPOSITE for _, state in self.voices)


def standing(statement: StatementSection, knowledge: Knowledge) -> Standing:
    """Return how a statement stands."""
    voices: list[tuple[Known, MarkKind]] = []
    strengths = []
    for ids, turned in ((statement.studies, False), (statement.against, True)):
        for known in knowledge.of(ids):
            state, strength = heard(known, statement.readings.get(known.id, ""))
            voices.append((known, _OPPOSITE.get(state, state) if turned else state))
            strengths.append(strength)
    confidence = sum(strengths) / len(strengths) if strengths else 0.0
    return Standing(_together([state for _, state in voices], statement.needs), confidence, tuple(voices))


def heard(known: Known, reading: str = "") -> tuple[MarkKind, float]:
    """Return what a study says by a reading of its rule ("": all of it), and how strongly."""
    result = known.counted
    if not reading or result is None:
        return known.state, strength_of(known)
    parsed, verdicts = parse_reading(reading), [claim.verdict for claim in result.claims]
    verdict = verdict_read(parsed, verdicts)
    if verdict == "undecided":
        return verdict, 0.0
    return verdict, 1.0 - chance_read(parsed, verdict, verdicts, [_chance(claim) for claim in result.claims])


def confidence_of(studies: Iterable[Known]) -> float:
    """Return the mean strength of some studies; 0 without any."""
    found = [strength_of(known) for known in studies]
    return sum(found) / len(found) if found else 0.0


def grade_of(confidence: float) -> str:
    """Return a confidence in a word."""
    return next(word for word, least in GRADES if confidence >= least)


def strength_of(known: Known) -> float:
    """Return one minus the p-value that decided a study; 0 if nothing did."""
    result = known.counted
    if result is None or result.verdict == "undecided":
        return 0.0
    return 1.0 - p_of(result)


def p_of(result: StudyResult) -> float:
    """Return the chance that stands against a decided verdict: that of its weakest necessary comparison.

    Of an "and" that is supported, and of an "or" that is refuted, every part was needed; else the surest part was
    enough.
    """
    chances = {claim.text: (claim.verdict, _chance(claim)) for claim in result.claims}
    return _p(parse_rule(result.rule), result.verdict, chances)


def _chance(claim: ClaimFacts) -> float:
    """Return the p-value of a comparison, corrected: Holm's level says by how much, for it to be held against `LEVEL`."""
    return min(1.0, claim.p * LEVEL / claim.level)


def _p(rule: Rule, verdict: Verdict, chances: dict[str, tuple[Verdict, float]]) -> float:
    if isinstance(rule, Claim):
        told, p = chances.get(rule.text, ("undecided", 1.0))
        return p if told == verdict else 1.0
    parts = [_p(part, verdict, chances) for part in rule.parts]
    return max(parts) if isinstance(rule, AllOf) == (verdict == "supported") else min(parts)


def _together(states: list[MarkKind], needs: str) -> MarkKind:
    """Return the state of a whole: of "all" one refuted part decides, of "any" one supported part."""
    decisive: MarkKind = "refuted" if needs == "all" else "supported"
    if decisive in states:
        return decisive
    if states and all(state == _OPPOSITE[decisive] for state in states):
        return _OPPOSITE[decisive]
    return "undecided" if set(states) & {"supported", "refuted", "undecided"} else "open"
