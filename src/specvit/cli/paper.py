"""`specvit paper`: figures, tables and numbers of a paper, made of the results of studies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from specvit.cli.hub import ProgrammeFile, told_knowledge
from specvit.cli.study import RESULTS, Catalogue, Json, Results, ScaleOption
from specvit.cli.terminal import say, show, show_json

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Make the LaTeX project of a paper from the results of studies.",
)


@app.callback()
def paper() -> None:
    """Make the LaTeX project of a paper from the results of studies."""


@app.command()
def build(
    results: Results = RESULTS,
    scale: ScaleOption = "laptop",
    catalogue: Catalogue = None,
    programme: ProgrammeFile = None,
    outline: Annotated[
        Path | None,
        typer.Option(help="An outline of your own (.toml): which figures and tables, of which studies."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a finished `specvit run`, for figures and tables that show single stars."
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder of the project.")] = Path("paper"),
    parquet: Annotated[
        bool, typer.Option("--parquet", help="Write tables as Parquet too (extra 'parquet').")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a LaTeX project: main.tex, vector figures, booktabs tables, and every number as a macro.

    What has no verdict yet is left out and named. Nothing is run.

    Examples:

        specvit paper build

        specvit paper build --scale reference --run runs/survey --output paper
    """
    from specvit.errors import ConfigError
    from specvit.paper import read_outline, write_paper
    from specvit.paper.outline import SHIPPED

    if catalogue is not None and outline is None:
        raise ConfigError(
            "--catalogue: a paper on studies of your own needs an --outline (docs/hub.md shows one)"
        )
    knowledge = told_knowledge(results, scale, catalogue, programme)
    found = write_paper(read_outline(outline or SHIPPED, knowledge), knowledge, output, run, parquet)
    if as_json:
        missing = {one.id: one.why for one in found.missing}
        show_json({"paper": str(found.main), "exhibits": list(found.exhibits), "missing": missing})
        return
    for one in found.missing:
        say(f"missing ({one.priority}): {one.id}: {one.why}")
    show(
        f"{found.main}  ({len(found.exhibits)} figures and tables, {len(found.missing)} missing; compile it with pdflatex, twice)"
    )
