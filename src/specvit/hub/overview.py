"""The first page: what is known in a few lines, and what to do next."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from specvit.hub.blocks import Block, Grid, Heading, HubPage, Item, Listing, Numbers, Paragraph
from specvit.hub.cite import all_evidence, confidence_text, day, mark, runs_link, sentences, study_link
from specvit.hub.evidence import HOW, Standing, standing
from specvit.hub.knowledge import Knowledge, Known
from specvit.hub.scoreboard import board_table, boards
from specvit.report.phrase import Code, Link, Phrase, coded, phrase
from specvit.report.tables import Table

#: Next actions that are named at once.
NEXT = 2
#: Rows of the scoreboard that are shown.
BEST = 5


def overview_page(knowledge: Knowledge) -> HubPage:
    """Return the first page of the hub."""
    programme = knowledge.programme
    blocks: list[Block] = [Paragraph(phrase(text), True) for text in knowledge.warnings]
    blocks += [Paragraph(phrase(programme.question)), Numbers(tuple(counts(knowledge)))]
    blocks += [Heading("Next", "next"), Listing(tuple(next_actions(knowledge)))]
    blocks += _best(knowledge)
    blocks += [Heading("Consensus", "consensus"), Grid(consensus_table(knowledge), True)]
    blocks += [Heading("Beliefs", "beliefs"), Grid(belief_table(knowledge), True), Paragraph(phrase(HOW))]
    if knowledge.problems:
        blocks.append(Heading("Results that were left out, or come with a warning", "problems"))
        blocks.append(Listing(tuple(Item(coded(problem)) for problem in knowledge.problems)))
    newest = max((day(known.result.made["date"]) for known in knowledge.judged if known.result), default="")
    told = f", newest verdict of {newest}" if newest else ", no verdict yet"
    return HubPage("index", programme.title, f"{knowledge.scale} scale{told}", tuple(blocks))


def _best(knowledge: Knowledge) -> list[Block]:
    """Return the head of the largest scoreboard."""
    found = boards(knowledge)
    if not found:
        return []
    table = replace(board_table(found[0][:BEST], 0), name="scoreboard-best")
    more = phrase(
        f"The best {len(table.rows)} of {len(found[0])}; ", Link("all, and which model to use", "models"), "."
    )
    return [Heading("Scoreboard", "scoreboard"), Grid(table), Paragraph(more)]


def counts(knowledge: Knowledge) -> list[tuple[str, str]]:
    """Return how many studies there are of each state."""
    found = Counter(known.state for known in knowledge.studies.values())
    return [
        (f"studies {state}", str(found[state]))
        for state in ("supported", "refuted", "undecided", "open", "planned")
    ]


def consensus_table(knowledge: Knowledge) -> Table:
    """Return insight, evidence and decision of every hypothesis, those that are decided first."""
    rows = []
    for question in knowledge.programme.questions:
        for hypothesis in question.hypotheses:
            found = standing(hypothesis, knowledge)
            rows.append((found, _insight(hypothesis.text, found, question.id)))
    order = {"supported": 0, "refuted": 0, "undecided": 1, "open": 2}
    rows.sort(key=lambda row: order[row[0].state])
    return Table(
        "consensus",
        "What the studies say of every hypothesis, of which verdicts, and what follows by the sentences that were declared "
        "before.",
        ("insight", "evidence", "decision"),
        tuple((text, all_evidence(found), decision(found)) for found, text in rows),
    )


def decision(found: Standing) -> Phrase:
    """Return what follows from the studies behind a statement; that it is open without any."""
    if found.state == "open":
        return phrase("None before it is run.")
    return sentences(known for known, _ in found.voices)


def belief_table(knowledge: Knowledge) -> Table:
    """Return every belief with what follows from how it stands."""
    rows = []
    for belief in knowledge.programme.beliefs:
        found = standing(belief, knowledge)
        outcome = "undecided" if found.state == "open" else found.state
        rows.append(
            (
                phrase(mark(found.state), " ", belief.text),
                phrase(getattr(belief.so_what, outcome)),
                all_evidence(found),
                confidence_text(found),
            )
        )
    return Table(
        "beliefs",
        "What is taken for true, how it stands, and so what.",
        ("belief", "so what", "evidence", "confidence"),
        tuple(rows),
    )


def next_actions(knowledge: Knowledge) -> list[Item]:
    """Return the first open studies of the roadmap as if, then, else."""
    waiting = [known for known in by_priority(knowledge) if known.state == "open" and known.study is not None]
    items = [Item(phrase("Run ", study_link(known), ": ", _if_then(known))) for known in waiting[:NEXT]]
    if items:
        return items
    torn = [known for known in by_priority(knowledge) if known.state == "undecided"]
    return [
        Item(
            phrase(
                "More seeds or stars for ",
                study_link(known),
                " (",
                runs_link(known),
                "), which is undecided: ",
                _if_then(known),
            )
        )
        for known in torn[:NEXT]
    ] or [Item(phrase("Every study that is declared is decided."))]


def by_priority(knowledge: Knowledge) -> list[Known]:
    """Return all studies, those of the most urgent tasks of the roadmap first, then the others."""
    items = [item for phase in knowledge.programme.phases for item in phase.items]
    named = [study for item in sorted(items, key=lambda item: item.priority) for study in item.studies]
    return [knowledge.studies[study] for study in dict.fromkeys((*named, *knowledge.studies))]


def _if_then(known: Known) -> Phrase:
    assert known.study is not None
    outcomes = known.study.outcomes
    return phrase(
        "if ",
        Code(known.study.rule),
        f", then: {outcomes.supported} If not: {outcomes.refuted} Else: {outcomes.undecided}",
    )


def _insight(text: str, found: Standing, question: str) -> Phrase:
    return phrase(mark(found.state), f" {text} ({question})")
