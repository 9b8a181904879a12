"""Which model to use: the declared questions, with an answer wherever a study has one."""

from __future__ import annotations

from specvit.hub.blocks import Block, Grid, Heading, HubPage, Item, Listing, Paragraph
from specvit.hub.cite import runs_link, study_link
from specvit.hub.conditions import conditions_of
from specvit.hub.knowledge import Knowledge, Known
from specvit.hub.scoreboard import board_tables
from specvit.hub.structure import BranchSection, ChoiceSection
from specvit.report.phrase import Phrase, phrase
from specvit.report.words import decimals_of, score_text
from specvit.runs import ALL, Score
from specvit.runs.study_result import StudyResult
from specvit.studies.measures import MEASURES

HOW = (
    "Variants stand with the cheapest first, and the cheapest is recommended unless the interval of a dearer one lies beyond "
    "that of every cheaper one. These intervals are not of differences, which is on the safe side: a study may tell variants "
    "apart that this tree does not."
)


def models_page(knowledge: Knowledge) -> HubPage:
    """Return the decision tree and the scoreboard."""
    blocks: list[Block] = [Paragraph(phrase(text), True) for text in knowledge.warnings]
    choices = knowledge.programme.choices
    if choices:
        blocks += [Heading("Which model should I use?", "choice"), Listing((_asked(choices[0], knowledge),))]
        blocks.append(Paragraph(phrase(HOW)))
    blocks.append(Heading("Scoreboard", "scoreboard"))
    tables = board_tables(knowledge)
    blocks += [Grid(table) for table in tables]
    if not tables:
        blocks.append(Paragraph(phrase("No study has been judged at this scale.")))
    return HubPage("models", "Models", f"{knowledge.scale} scale", tuple(blocks))


def recommended(result: StudyResult, variants: tuple[str, ...]) -> str | None:
    """Return the variant to use of some, which stand with the cheapest first; None if one was not judged.

    The cheapest, unless a dearer one is better with its whole interval than the best that any cheaper one may be.
    """
    measure = _measure(result)
    # Of R² more is better, of errors less.
    sign = 1.0 if measure.endswith("r2") else -1.0
    best: tuple[str, float] | None = None
    for name in variants:
        score = _score(result, name, measure)
        if score is None or score.value is None or score.low is None or score.high is None:
            return None
        worst, hoped = sorted((sign * score.low, sign * score.high))
        if best is None or worst > best[1]:
            best = (name, hoped)
        else:
            # Whatever is dearer still has to beat all that is cheaper.
            best = (best[0], max(best[1], hoped))
    return None if best is None else best[0]


def _asked(choice: ChoiceSection, knowledge: Knowledge) -> Item:
    below = [_branch(branch, knowledge) for branch in choice.branches]
    return Item(phrase(choice.asks), tuple(below))


def _branch(branch: BranchSection, knowledge: Knowledge) -> Item:
    if branch.go is not None:
        onward = next(choice for choice in knowledge.programme.choices if choice.id == branch.go)
        return Item(phrase(f"{branch.when}:"), (_asked(onward, knowledge),))
    assert branch.study is not None
    assert branch.variants is not None
    known = knowledge.studies[branch.study]
    return Item(phrase(f"{branch.when}: ", _leaf(known, branch.variants, knowledge)))


def _leaf(known: Known, variants: tuple[str, ...], knowledge: Knowledge) -> Phrase:
    result = known.counted
    if result is None:
        return phrase("not known, ", study_link(known), " is open")
    name = recommended(result, variants)
    if name is None:
        return phrase("not known, ", study_link(known), " has no score of every variant")
    measure = _measure(result)
    told = conditions_of(known, name, knowledge)
    compared = []
    for variant in variants:
        score = _score(result, variant, measure) or Score(value=None)
        compared.append(f"{variant} {score_text(score, decimals_of(score))}")
    use = name if told is None else f"{told.estimator} ({name}; {told.training})"
    return phrase(
        f"use {use}. {measure.replace('_', ' ')}: {', '.join(compared)}; ",
        study_link(known),
        ", ",
        runs_link(known),
    )


def _measure(result: StudyResult) -> str:
    """Return what variants are compared by: expected R² where there is one, else what the study puts first."""
    if result.exact:
        return "expected_r2"
    return result.metric if not MEASURES[result.metric].exact else "r2"


def _score(result: StudyResult, variant: str, measure: str) -> Score | None:
    facts = result.variants.get(variant)
    return None if facts is None else facts.scores.get(ALL, {}).get(measure)
