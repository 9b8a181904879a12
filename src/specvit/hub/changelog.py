"""The changelog of knowledge: which verdict was reached or changed when, and by which runs."""

from __future__ import annotations

from dataclasses import dataclass

from specvit.hub.blocks import Block, Grid, HubPage, Paragraph
from specvit.hub.cite import SHORT, day, mark, study_link
from specvit.hub.knowledge import Knowledge, Known
from specvit.report.phrase import Link, phrase
from specvit.report.tables import Table
from specvit.runs.study_result import KnowledgeChange


@dataclass(frozen=True)
class Turn:
    """A verdict, and the one before it, if there was one."""

    known: Known
    change: KnowledgeChange
    before: KnowledgeChange | None

    @property
    def why(self) -> str:
        """What differs from before."""
        if self.before is None:
            return "first verdict"
        differs = [
            what
            for what, old, new in (
                ("declaration", self.before.declaration, self.change.declaration),
                ("runs", self.before.runs, self.change.runs),
            )
            if old != new
        ]
        return f"other {' and '.join(differs)}" if differs else "judged anew"


def turns_of(knowledge: Knowledge) -> list[Turn]:
    """Return every verdict that was ever reached, the newest first."""
    found = []
    for known in knowledge.studies.values():
        history = known.result.history if known.result is not None else ()
        found += [Turn(known, change, history[at - 1] if at else None) for at, change in enumerate(history)]
    return sorted(found, key=lambda turn: (turn.change.date, turn.known.id), reverse=True)


def changelog_page(knowledge: Knowledge) -> HubPage:
    """Return the changelog."""
    rows = []
    turns = turns_of(knowledge)
    for turn in turns:
        old = mark(turn.before.verdict) if turn.before is not None else mark("open")
        moved = phrase(old, " → ", mark(turn.change.verdict))
        runs = Link(turn.change.runs[:SHORT], f"studies/{turn.known.id}#history")
        rows.append((day(turn.change.date), phrase(study_link(turn.known)), moved, turn.why, phrase(runs)))
    changed = sum(turn.before is not None and turn.before.verdict != turn.change.verdict for turn in turns)
    blocks: list[Block] = [Paragraph(phrase(text), True) for text in knowledge.warnings]
    blocks.append(
        Paragraph(phrase(f"{len(turns)} verdicts were reached; {changed} of them changed an earlier one."))
    )
    head = ("date", "study", "verdict", "why", "runs")
    blocks.append(Grid(Table("changelog", "Verdicts, the newest first.", head, tuple(rows)), True))
    return HubPage("changelog", "Changelog of knowledge", f"{knowledge.scale} scale", tuple(blocks))
