"""What is run: the phases with their tasks, and the kanban by the state of the runs."""

from __future__ import annotations

from typing import Literal

from specvit.hub.blocks import Block, Columns, Grid, Heading, HubPage, Paragraph
from specvit.hub.cite import all_evidence, mark, study_link
from specvit.hub.evidence import standing
from specvit.hub.knowledge import Knowledge, Known
from specvit.hub.structure import ItemSection, StatementSection
from specvit.report.phrase import Phrase, coded, phrase
from specvit.report.tables import Table

Lane = Literal["planned", "ready", "running", "failed", "done"]
#: In the order of the board, with what a reader is told of them.
BOARD: dict[Lane, str] = {
    "planned": "not declared yet",
    "ready": "declared, nothing run for it",
    "running": "some of its runs begun or done, other than for studies that are judged",
    "failed": "a run of it failed; the same command tries it again",
    "done": "judged",
}


def roadmap_page(knowledge: Knowledge) -> HubPage:
    """Return phases and kanban."""
    blocks: list[Block] = [Paragraph(phrase(text), True) for text in knowledge.warnings]
    blocks += [Heading("Kanban", "kanban"), Columns(_board(knowledge))]
    looked = (
        "and of the runs" if knowledge.runs else "alone; `--runs FOLDER` also looks at runs without a verdict"
    )
    told = "; ".join(f"{state}: {text}" for state, text in BOARD.items())
    blocks.append(Paragraph(coded(f"By the results {looked}. {told}.")))
    for one in knowledge.programme.phases:
        blocks += [
            Heading(f"{one.id}: {one.text}", one.id),
            Grid(_phase_table(one.id, one.items, knowledge), True),
        ]
    return HubPage("roadmap", "Roadmap", f"{knowledge.scale} scale", tuple(blocks))


def progress_of(known: Known, knowledge: Knowledge) -> Lane:
    """Return how far a study is."""
    if known.counted is not None:
        return "done"
    if known.study is None:
        return "planned"
    if "failed" in knowledge.runs.get(known.id, ()):
        return "failed"
    return "running" if known.id in knowledge.started else "ready"


def priority_of(known: Known, knowledge: Knowledge) -> str:
    """Return the highest priority of the tasks that a study carries out, or ''."""
    found = [
        item.priority for one in knowledge.programme.phases for item in one.items if known.id in item.studies
    ]
    return min(found, default="")


def _board(knowledge: Knowledge) -> tuple[tuple[str, tuple[Phrase, ...]], ...]:
    columns: dict[Lane, list[Phrase]] = {state: [] for state in BOARD}
    for known in knowledge.studies.values():
        state = progress_of(known, knowledge)
        line = phrase(study_link(known))
        if state == "done":
            line = phrase(line, " ", mark(known.state))
        elif knowledge.runs.get(known.id):
            states = knowledge.runs[known.id]
            line = phrase(line, f" {states.count('done')} of {len(states)} runs")
        columns[state].append(line)
    return tuple((state, tuple(lines)) for state, lines in columns.items())


def _phase_table(name: str, items: tuple[ItemSection, ...], knowledge: Knowledge) -> Table:
    rows = []
    for item in items:
        found = standing(StatementSection(studies=item.studies), knowledge)
        states = [progress_of(known, knowledge) for known in knowledge.of(item.studies)]
        done = states.count("done")
        told = f"{done} of {len(states)} done" if states else "no study yet"
        rows.append((item.id, item.text, item.priority, told, all_evidence(found)))
    head = ("task", "what", "priority", "progress", "studies")
    return Table(f"phase-{name}", "Tasks, and the studies that carry them out.", head, tuple(rows))
