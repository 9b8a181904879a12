"""The index of experiments, one row per study, with the columns of the reference work's index."""

from __future__ import annotations

from specvit.hub.blocks import Block, Grid, HubPage, Paragraph
from specvit.hub.cite import day, effect_text, mark, numbers_of, study_link
from specvit.hub.knowledge import Knowledge, Known
from specvit.hub.roadmap import Lane, priority_of, progress_of
from specvit.report.phrase import Link, coded, phrase
from specvit.report.tables import Cell, Table
from specvit.report.words import decimals_of, score_text
from specvit.runs import Score
from specvit.runs.study_result import StudyResult
from specvit.studies import SCALES

COLUMNS = (
    *("experiment_id", "project", "topic", "status", "start_time", "end_time", "entry_point", "config_path"),
    *(
        "output_path",
        "log_path",
        "metrics_summary",
        "physics_ai_logg_path",
        "priority",
        "next_action",
        "notes",
    ),
)
NAME = "experiments"
#: Project of a track that the programme gives none.
PROJECT = "VIT"
#: How the index calls how far a study is.
_STATUS: dict[Lane, str] = {"done": "completed"}


def experiment_table(knowledge: Knowledge) -> Table:
    """Return the index: all studies, whether they were run or not; what no result or run says is empty."""
    rows = tuple(_row(known, knowledge) for known in knowledge.studies.values())
    return Table(NAME, "All studies of the programme.", COLUMNS, rows)


def experiments_page(knowledge: Knowledge) -> HubPage:
    """Return the index as a page, with links to its files."""
    rows: list[tuple[Cell, ...]] = []
    for known in knowledge.studies.values():
        row = dict(zip(COLUMNS, _row(known, knowledge), strict=True))
        effects = "–" if known.result is None else numbers_of(known.result)
        rows.append(
            (
                phrase(study_link(known)),
                phrase(mark(known.state)),
                row["status"],
                row["priority"],
                day(row["end_time"] or "–"),
                effects,
                coded(row["notes"] or "–"),
            )
        )
    head = ("study", "verdict", "status", "priority", "judged", "effects", "notes")
    blocks: list[Block] = [Paragraph(phrase(text), True) for text in knowledge.warnings]
    blocks.append(Paragraph(phrase("With all 15 columns: ", Link(f"{NAME}.csv", f"{NAME}.csv"), ".")))
    blocks.append(Grid(Table(NAME, "All studies of the programme.", head, tuple(rows)), True))
    return HubPage(NAME, "Experiments", f"{knowledge.scale} scale", tuple(blocks))


def experiment_id(known: Known, knowledge: Knowledge) -> str:
    """Return PROJECT-YYYYMMDD-topic-NN of the newest verdict, or PROJECT-topic of what has none.

    NN counts the verdicts that the study has had.
    """
    project = _project(known, knowledge).upper()
    result = known.result
    if result is None:
        return f"{project}-{known.id}"
    return f"{project}-{day(result.made['date']).replace('-', '')}-{known.id}-{len(result.history):02d}"


def _row(known: Known, knowledge: Knowledge) -> tuple[str | None, ...]:
    result = known.result
    progress = progress_of(known, knowledge)
    # Of a rule that was changed since, neither the time nor the numbers are the study's.
    judged = known.counted
    values = {
        "experiment_id": experiment_id(known, knowledge),
        "project": _project(known, knowledge),
        "topic": known.id,
        "status": _STATUS.get(progress, progress),
        "start_time": (result.began if result is not None else "") or knowledge.started.get(known.id),
        "end_time": None if judged is None else str(judged.made["date"]),
        "entry_point": None if known.study is None else knowledge.command(known.id),
        "config_path": None if known.study is None else f"{known.id}.toml",
        "output_path": None if result is None else f"{knowledge.scale}/{known.id}.json",
        "log_path": None if result is None else f"trials/{next(iter(_runs(result)), '')}",
        "metrics_summary": None if judged is None else metrics_text(judged),
        "physics_ai_logg_path": f"studies/{known.id}.html",
        "priority": priority_of(known, knowledge) or None,
        "next_action": _next(known, knowledge),
        "notes": " ".join(known.notes) or None,
    }
    return tuple(values[column] for column in COLUMNS)


def metrics_text(result: StudyResult) -> str:
    """Return the verdict, the first effect and the leading score of every variant."""
    effects = [effect_text(effect) for claim in result.claims for effect in claim.effects][:1]
    scores = []
    for name, facts in result.variants.items():
        score = facts.scores.get("all", {}).get(result.metric, Score(value=None))
        if score.value is not None:
            scores.append(f"{name} {score_text(score, decimals_of(score))}")
    told = "; ".join([*(f"effect {text}" for text in effects), f"{result.metric}: {', '.join(scores)}"])
    return f"{result.verdict}; {told}"


def _next(known: Known, knowledge: Knowledge) -> str | None:
    if known.counted is not None:
        larger = SCALES[SCALES.index(knowledge.scale) + 1 :]
        if known.state != "undecided" or not larger:
            return known.sentence
        # What these trials cannot tell, more of them may.
        return f"{known.sentence} To decide it: {knowledge.command(known.id, larger[0])}"
    return knowledge.command(known.id) if known.study is not None else "declare it"


def _project(known: Known, knowledge: Knowledge) -> str:
    said = known.study or known.result
    return knowledge.programme.projects.get(said.track, PROJECT) if said is not None else PROJECT


def _runs(result: StudyResult) -> list[str]:
    return [digest for facts in result.variants.values() for digest in facts.runs.values()]
