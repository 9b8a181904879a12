"""The tree of hypotheses, and the answer of every branch as far as there is one."""

from __future__ import annotations

from specvit.hub.blocks import Block, Grid, Heading, HubPage, Item, Listing, Paragraph
from specvit.hub.cite import all_evidence, confidence_text, mark, numbers_of, study_link
from specvit.hub.evidence import HOW, Standing, confidence_of, grade_of, standing
from specvit.hub.knowledge import Knowledge
from specvit.hub.structure import HypothesisSection, QuestionSection
from specvit.report.phrase import Phrase, phrase
from specvit.report.tables import Table
from specvit.report.words import number


def tree_page(knowledge: Knowledge) -> HubPage:
    """Return the tree."""
    blocks: list[Block] = [Paragraph(phrase(text), True) for text in knowledge.warnings]
    blocks += [
        Heading("Answers by branch", "answers"),
        Grid(answer_table(knowledge), True),
        Paragraph(phrase(HOW)),
    ]
    for question in knowledge.programme.questions:
        blocks.append(Heading(f"{question.id}: {question.text}", question.id))
        items = [_hypothesis(one, standing(one, knowledge)) for one in question.hypotheses]
        blocks.append(Listing(tuple(items)))
    if not knowledge.programme.questions:
        blocks.append(Paragraph(phrase("This programme declares no hypotheses.")))
    return HubPage("tree", "Hypotheses", f"{knowledge.scale} scale", tuple(blocks))


def answer_table(knowledge: Knowledge) -> Table:
    """Return what is known of every question, how sure, and how ripe that is."""
    rows = []
    for question in knowledge.programme.questions:
        found = [standing(one, knowledge) for one in question.hypotheses]
        studies = {known.id: known for one in found for known, _ in one.voices}
        confidence = confidence_of(studies.values())
        rows.append(
            (
                f"{question.id}: {question.text}",
                _answer(question, found),
                f"{grade_of(confidence)} ({number(confidence, 2)})",
                maturity(found),
            )
        )
    caption = (
        "Hypotheses that are decided, with the confidence over all studies of the branch. A branch is stable once all of "
        "its hypotheses are decided and no verdict behind them has changed, converging once half are, exploring before."
    )
    return Table("answers", caption, ("question", "answer so far", "confidence", "maturity"), tuple(rows))


def maturity(found: list[Standing]) -> str:
    """Return how ripe the answer of a branch is."""
    decided = sum(one.state in ("supported", "refuted") for one in found)
    changed = any(
        known.counted is not None and len({change.verdict for change in known.counted.history}) > 1
        for one in found
        for known, _ in one.voices
    )
    if decided == len(found) and not changed:
        return "stable"
    return "converging" if 2 * decided >= len(found) else "exploring"


def _answer(question: QuestionSection, found: list[Standing]) -> Phrase:
    told = [
        phrase(mark(one.state), f" {hypothesis.text} ", all_evidence(one), ". ")
        for hypothesis, one in zip(question.hypotheses, found, strict=True)
        if one.state in ("supported", "refuted")
    ]
    left = len(found) - len(told)
    rest = f"{left} of {len(found)} hypotheses not decided." if left else ""
    return phrase(*told, rest)


def _hypothesis(one: HypothesisSection, found: Standing) -> Item:
    below = [
        Item(phrase(study_link(known), f": {numbers_of(known.counted)}. {known.sentence}"))
        for known, _ in found.voices
        if known.counted is not None
    ]
    told = phrase(
        mark(found.state), f" {one.id} {one.text} Confidence {confidence_text(found)}: ", all_evidence(found)
    )
    return Item(told, tuple(below))
