"""Gates, decision gaps and principles: each with the rule that was set before, and the numbers that decided it."""

from __future__ import annotations

from specvit.hub.blocks import Block, Grid, Heading, HubPage, Paragraph
from specvit.hub.cite import all_evidence, confidence_text, mark, numbers_of, study_link
from specvit.hub.evidence import Standing, standing
from specvit.hub.knowledge import Knowledge
from specvit.hub.structure import GateSection
from specvit.report.phrase import Phrase, joined, phrase
from specvit.report.tables import Table

#: How principles are told to stand.
_PRINCIPLE = {"supported": "confirmed", "refuted": "refuted", "undecided": "undecided", "open": "open"}


def decisions_page(knowledge: Knowledge) -> HubPage:
    """Return gates, gaps and principles."""
    blocks: list[Block] = [Paragraph(phrase(text), True) for text in knowledge.warnings]
    blocks += [Heading("Gates", "gates"), Grid(gate_table(knowledge), True)]
    blocks += [Heading("Decision gaps", "gaps"), Grid(gap_table(knowledge), True)]
    blocks += [Heading("Principles", "principles"), Grid(principle_table(knowledge), True)]
    return HubPage("decisions", "Decisions", f"{knowledge.scale} scale", tuple(blocks))


def gate_table(knowledge: Knowledge) -> Table:
    """Return every gate with its rule, the numbers that decided it, and where it leads."""
    rows = []
    for gate in knowledge.programme.gates:
        found = standing(gate, knowledge)
        state, leads = _each(gate, found) if gate.each else _together(gate, found)
        rows.append((f"{gate.id}: {gate.text}", gate.rule, state, leads, numbers(found)))
    head = ("gate", "rule", "state", "leads to", "numbers")
    return Table("gates", "Gates of the programme. Effects have to be below zero.", head, tuple(rows))


def gap_table(knowledge: Knowledge) -> Table:
    """Return every gap with the evidence that closes it, and what is done."""
    rows = []
    for gap in knowledge.programme.gaps:
        found = standing(gap, knowledge)
        is_closed = found.state in ("supported", "refuted")
        state = phrase(
            "closed: " if is_closed else "not closed: ", mark(found.state), ", ", all_evidence(found)
        )
        outcome = found.state if found.state != "open" else "undecided"
        rows.append((f"{gap.id}: {gap.text}", gap.closing, state, getattr(gap.then, outcome), numbers(found)))
    head = ("gap", "closed by", "state", "what is done", "numbers")
    return Table("gaps", "Questions whose answers decide what is built.", head, tuple(rows))


def principle_table(knowledge: Knowledge) -> Table:
    """Return every published principle and how it stands; those that are refuted first."""
    order = ("refuted", "supported", "undecided", "open")
    rows = [(standing(one, knowledge), one) for one in knowledge.programme.principles]
    rows.sort(key=lambda row: order.index(row[0].state))
    return Table(
        "principles",
        "Published principles of design, as claims to test.",
        ("principle", "state", "evidence", "confidence"),
        tuple(
            (f"{one.id}: {one.text}", _principle(found), all_evidence(found), confidence_text(found))
            for found, one in rows
        ),
    )


def numbers(found: Standing) -> Phrase:
    """Return the effects of all studies behind a statement."""
    told = [
        phrase(study_link(known), f": {numbers_of(known.counted)}")
        for known, _ in found.voices
        if known.counted is not None
    ]
    return joined(told) if told else phrase("none yet")


def _principle(found: Standing) -> Phrase:
    state = mark(found.state)
    return phrase(type(state)(_PRINCIPLE[found.state], found.state))


def _together(gate: GateSection, found: Standing) -> tuple[Phrase, str]:
    outcome = found.state if found.state != "open" else "undecided"
    return phrase(mark(found.state), ", ", all_evidence(found)), getattr(gate.then, outcome)


def _each(gate: GateSection, found: Standing) -> tuple[Phrase, Phrase]:
    """Return the state of a gate that decides each of its studies on its own."""
    state = "supported" if found.decided == len(found.voices) else "undecided" if found.decided else "open"
    told = phrase(f"{found.decided} of {len(found.voices)} decided")
    groups = []
    for outcome in ("supported", "refuted", "undecided"):
        members = [
            study_link(known)
            for known, voice in found.voices
            if (voice if voice in ("supported", "refuted") else "undecided") == outcome
        ]
        if members:
            groups.append(
                phrase(f"{getattr(gate.then, outcome)}: ", joined([phrase(one) for one in members], ", "))
            )
    return (phrase(told, ", ", all_evidence(found)) if state != "open" else phrase(mark("open"))), joined(
        groups
    )
