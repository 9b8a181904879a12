"""How pages cite their evidence: studies, effects and runs, always with a link to where they are shown in full."""

from __future__ import annotations

from collections.abc import Iterable

from specvit.hub.evidence import Standing
from specvit.hub.knowledge import Known
from specvit.report.phrase import Link, Mark, MarkKind, Part, Phrase, joined, phrase
from specvit.report.words import decimals_of, number, score_text
from specvit.runs import Score
from specvit.runs.study_result import ClaimFacts, EffectFacts, ShareFacts, StudyResult

#: Letters of a digest that are shown; the study's page has all of it.
SHORT = 8


def mark(state: MarkKind) -> Mark:
    """Return a state as a mark."""
    return Mark(state, state)


def study_link(known: Known, text: str = "") -> Link:
    """Return a link to a study's page."""
    return Link(text or known.id, f"studies/{known.id}")


def runs_link(known: Known) -> Part:
    """Return a link to the runs behind a verdict, or '' without one."""
    if known.result is None:
        return ""
    return Link(f"runs {digest_of(known.result)}", f"studies/{known.id}#runs")


def digest_of(result: StudyResult) -> str:
    """Return the digest of the runs behind a verdict, shortened."""
    return result.history[-1].runs[:SHORT] if result.history else "unknown"


def day(date: str) -> str:
    """Return the day of an ISO 8601 date."""
    return date[:10]


def effect_score(effect: EffectFacts) -> Score:
    """Return an effect as a number with its interval."""
    return Score(value=effect.value, low=effect.low, high=effect.high)


def effect_text(effect: EffectFacts) -> str:
    """Return an effect with its interval, and the size that could have been seen."""
    score = effect_score(effect)
    decimals = decimals_of(score)
    return f"{score_text(score, decimals)}, detectable {number(effect.detectable, decimals)}"


def effects_text(claim: ClaimFacts) -> str:
    """Return the effects of a comparison; what there is instead, if it has none."""
    return " and ".join(map(effect_text, claim.effects)) or f"too few stars ({claim.stars})"


def share_text(facts: ShareFacts) -> str:
    """Return a share with its interval, and the published one; what there is instead, if it is not defined."""
    told = f", published {facts.published:g}" if facts.published is not None else ""
    if facts.share.value is None:
        return f"not defined, its whole is not told from zero{told}"
    return score_text(facts.share, decimals_of(facts.share)) + told


def numbers_of(result: StudyResult) -> str:
    """Return every comparison of a result with its effects."""
    return "; ".join(f"{claim.text}: {effects_text(claim)}" for claim in result.claims)


#: What a study says of a statement that turns its verdict round, or hears only some of its comparisons.
_SPEAKS: dict[MarkKind, str] = {
    "supported": ", which speaks for it",
    "refuted": ", which speaks against it",
    "undecided": ", of which what bears on it is undecided",
    "open": "",
    "planned": "",
}


def evidence(known: Known, voice: MarkKind | None = None) -> Phrase:
    """Return a study with its verdict, what that says of a statement if it is turned round, and its runs."""
    parts: list[Part] = [study_link(known), " ", mark(known.state)]
    if voice not in (None, known.state):
        parts.append(_SPEAKS[voice])
    if known.result is not None:
        parts += [", ", runs_link(known)]
    if not known.is_counted:
        parts.append(", counts for nothing")
    return phrase(*parts)


def all_evidence(standing: Standing) -> Phrase:
    """Return all studies that bear on a statement."""
    if not standing.voices:
        return phrase("no study")
    return joined([evidence(known, voice) for known, voice in standing.voices])


def sentences(studies: Iterable[Known]) -> Phrase:
    """Return what the verdicts of some studies mean, as was declared before they were reached."""
    found = dict.fromkeys(known.sentence for known in studies if known.counted is not None)
    return phrase(" ".join(found) or "–")


def confidence_text(standing: Standing) -> str:
    """Return how sure a statement is."""
    return f"{standing.grade} ({number(standing.confidence, 2)}; {standing.decided} of {len(standing.voices)} decided)"
