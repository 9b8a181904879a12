"""Figures and tables of a paper, made of the studies or the run they are declared to show; or why they cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from specvit.hub import Knowledge, Known
from specvit.paper import drawings as draw
from specvit.paper.outline import FIGURES_OF_STUDIES, OF_STUDIES, ExhibitSection, Outline
from specvit.paper.pipeline import draw_pipeline
from specvit.paper.tables import (
    FINDINGS_COLUMNS,
    SETTINGS_COLUMNS,
    finding_table,
    score_table,
    settings_table,
)
from specvit.report.contents import RunContents
from specvit.report.drawings import drawings
from specvit.report.run_tables import run_tables
from specvit.report.style import to_pdf
from specvit.report.tables import Table
from specvit.report.words import count
from specvit.runs import ALL
from specvit.runs.summary import SNR_DEFINITION


@dataclass(frozen=True)
class Exhibit:
    """A figure or a table that there is.

    Args:
        id: name of its files.
        caption: whole, with sample, seeds and definition of S/N.
        studies: that it shows.
        pdf: the figure, or None.
        table: the table, or None.
        columns: of the table, as tabular has them; '' for numbers.
        is_long: whether the table may go on over pages.
    """

    id: str
    caption: str
    studies: tuple[Known, ...] = ()
    pdf: bytes | None = None
    table: Table | None = None
    columns: str = ""
    is_long: bool = False


@dataclass(frozen=True)
class Missing:
    """A figure or table that cannot be made yet."""

    id: str
    priority: str
    text: str
    why: str


def make_exhibits(
    outline: Outline, knowledge: Knowledge, run: RunContents | None = None
) -> tuple[list[Exhibit], list[Missing]]:
    """Return what can be made of an outline, and what cannot.

    Args:
        outline: what the paper needs.
        knowledge: what is known.
        run: of `specvit run`, for figures over single stars; None without one.
    """
    made, missing = [], []
    for section in outline.exhibits:
        found = _make(section, knowledge, run)
        if isinstance(found, Exhibit):
            made.append(found)
        else:
            missing.append(Missing(section.id, section.priority, section.text, found))
    return made, missing


def sample_note(studies: Sequence[Known]) -> str:
    """Return what a caption has to say: stars, seeds, intervals, and what S/N means."""
    results = [known.counted for known in studies if known.counted is not None]
    stars = _range([result.stars.slices.get(ALL, 0) for result in results])
    seeds = _range([len(result.seeds) for result in results])
    exact = {result.exact for result in results}
    against = {
        frozenset({True}): "measured against exact posteriors",
        frozenset({False}): "measured against the labels drawn",
    }.get(
        frozenset(exact),
        "measured against exact posteriors where there are any, else against the labels drawn",
    )
    return (
        f"N = {stars} test stars, {seeds} seeds of the training, {against}; intervals are 95 % over seeds and stars. "
        f"S/N is the {SNR_DEFINITION}."
    )


def _make(section: ExhibitSection, knowledge: Knowledge, run: RunContents | None) -> Exhibit | str:
    """Return an exhibit, or why there is none."""
    if section.kind == "none":
        return "nothing in specvit makes it yet"
    if section.kind in ("run-figure", "run-table"):
        return (
            "it shows single stars; name a finished run with --run" if run is None else _of_run(section, run)
        )
    if section.kind == "pipeline":
        return Exhibit(section.id, section.text, pdf=to_pdf(draw_pipeline()))
    if section.kind == "settings":
        table = settings_table(section.id, section.text, knowledge)
        return Exhibit(section.id, table.caption, table=table, columns=SETTINGS_COLUMNS)
    named = section.studies or tuple(knowledge.studies)
    studies = [known for known in knowledge.of(named) if known.counted is not None]
    if not studies:
        return f"no verdict yet of {', '.join(section.studies) or 'any study'}"
    assert section.kind in OF_STUDIES
    left = [study for study in section.studies if knowledge.studies[study].counted is None]
    without = f" Not judged yet: {', '.join(left)}." if left else ""
    caption = f"{section.text} {sample_note(studies)}{without}"
    if section.kind in FIGURES_OF_STUDIES:
        return _figure(section, studies, caption, knowledge)
    if section.kind == "scores":
        table = score_table(section.id, caption, studies, knowledge)
        return Exhibit(section.id, caption, tuple(studies), table=table)
    table = finding_table(section.id, caption, studies, knowledge)
    return Exhibit(section.id, caption, tuple(studies), table=table, columns=FINDINGS_COLUMNS, is_long=True)


def _figure(
    section: ExhibitSection, studies: list[Known], caption: str, knowledge: Knowledge
) -> Exhibit | str:
    if section.kind == "dots":
        figure = draw.draw_dots(studies)
    elif section.kind == "curves":
        figure = draw.draw_curves(studies, section.key, knowledge, section.axis)
    elif section.kind == "effects":
        figure = draw.draw_effects(studies)
    elif section.kind == "learning":
        if not any(
            facts.learning for known in studies if known.counted for facts in known.counted.variants.values()
        ):
            return "no result of its studies holds a training's history"
        figure = draw.draw_learning(studies)
    elif section.kind == "shares":
        if not any(known.counted is not None and known.counted.shares for known in studies):
            return "none of its studies states a share"
        figure = draw.draw_shares(studies)
    else:
        (known, *further) = studies
        if further or known.counted is None or any("/" not in name for name in known.counted.variants):
            return "a matrix shows one study of two factors"
        figure = draw.draw_matrix(known)
    return Exhibit(section.id, caption, tuple(studies), pdf=to_pdf(figure))


def _of_run(section: ExhibitSection, run: RunContents) -> Exhibit | str:
    if section.kind == "run-figure":
        drawing = next((one for one in drawings(run) if one.name == section.source), None)
        if drawing is None:
            return f"the run {run.name} has no figure '{section.source}'"
        return Exhibit(section.id, f"{section.text} {drawing.caption}", pdf=to_pdf(drawing.draw(run)))
    table = next((one for one in run_tables(run) if one.name == section.source), None)
    if table is None:
        return f"the run {run.name} has no table '{section.source}'"
    caption = f"{section.text} {table.caption}"
    own = Table(section.id, caption, table.head, table.rows, table.digits)
    return Exhibit(section.id, caption, table=own)


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return count(low) if low == high else f"{count(low)} to {count(high)}"
