"""`specvit hub`: what is known, as pages that are made of the results of studies alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from specvit.cli.study import RESULTS, Catalogue, Json, Results, ScaleOption
from specvit.cli.terminal import say, show, show_json

if TYPE_CHECKING:
    from specvit.hub import Knowledge

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Make the pages of a programme of studies: what is known, what is open, what was found.",
)

ProgrammeFile = Annotated[
    Path | None,
    typer.Option(
        help="A programme of your own (.toml): questions, beliefs, gates, and the studies that answer them."
    ),
]


@app.command()
def build(
    results: Results = RESULTS,
    scale: ScaleOption = "laptop",
    catalogue: Catalogue = None,
    programme: ProgrammeFile = None,
    runs: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the runs, to show on the roadmap how far studies without a verdict are."
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder of the pages.")] = Path("hub"),
    parquet: Annotated[
        bool, typer.Option("--parquet", help="Write tables as Parquet too (extra 'parquet').")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the hub: a static site that opens offline, and the same pages as Markdown.

    Everything on it follows from the results and the catalogue: a claim without runs is open, and a verdict that
    changed says when, and by which runs. Nothing is run.

    Examples:

        specvit hub build

        specvit hub build --scale reference --runs runs/studies --output pages --parquet

        specvit hub build --catalogue my-studies --programme my-programme.toml
    """
    from specvit.hub import with_runs, write_hub

    knowledge = told_knowledge(results, scale, catalogue, programme)
    if runs is not None:
        knowledge = with_runs(knowledge, runs)
    page = write_hub(knowledge, output, parquet)
    if as_json:
        show_json({"hub": str(page), **_facts(knowledge)})
    else:
        show(f"{page}  (open it in a browser; {_in_words(knowledge)})")


@app.command()
def findings(
    results: Results = RESULTS,
    scale: ScaleOption = "laptop",
    catalogue: Catalogue = None,
    programme: ProgrammeFile = None,
    output: Annotated[Path, typer.Option(help="The Markdown file.")] = Path("docs/findings.md"),
    as_json: Json = False,
) -> None:
    """Write what was found as one Markdown file: every published claim, and what became of it.

    Example:

        specvit hub findings --output docs/findings.md
    """
    from specvit.hub import write_findings

    knowledge = told_knowledge(results, scale, catalogue, programme)
    page = write_findings(knowledge, output, Path(os.path.relpath(results, output.parent)).as_posix())
    if as_json:
        show_json({"findings": str(page), **_facts(knowledge)})
    else:
        show(f"{page}  ({_in_words(knowledge)})")


def told_knowledge(results: Path, scale: str, catalogue: Path | None, programme: Path | None) -> Knowledge:
    """Return what is known, and say what was left out."""
    from specvit.errors import ConfigError
    from specvit.hub import read_knowledge

    # Without any results every study is open; a folder that was misspelled would look the same.
    if results != RESULTS and not results.is_dir():
        raise ConfigError(f"--results {results}: no such folder; give the one that `specvit study run` wrote")
    found = read_knowledge(results, scale, catalogue, programme)
    for problem in (*found.problems, *found.warnings):
        say(problem)
    return found


def _facts(knowledge: Knowledge) -> dict[str, object]:
    return {
        "studies": {known.id: known.state for known in knowledge.studies.values()},
        "problems": list(knowledge.problems),
    }


def _in_words(knowledge: Knowledge) -> str:
    return f"{len(knowledge.judged)} of {len(knowledge.studies)} studies have a verdict at the {knowledge.scale} scale"
