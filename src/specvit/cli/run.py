"""`specvit run`: the main job, from simulated spectra to the report, in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    scale: Annotated[
        str,
        typer.Option(
            help="Preset: smoke (a minute), laptop (ten minutes on two cores), results (an hour), reference (hours)."
        ),
    ] = "laptop",
    config: Annotated[Path | None, typer.Option(help="TOML file whose values replace the preset's.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="One value, e.g. --set simulate.train=5000; may be repeated."),
    ] = None,
    fresh: Annotated[bool, typer.Option(help="Start over in a new folder even if this run exists.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Simulate a survey, fit the estimators, compute the ceilings, and write the report.

    A run that was stopped continues after its last finished stage when the same command is given again.

    Examples:

        specvit run

        specvit run --scale smoke

        specvit run --set instrument.name=pfs_mr --set run.name=current-pfs

        specvit run --config my.toml --set simulate.seed=7
    """
    from specvit.cli.progress import RichProgress
    from specvit.cli.screen import Screen
    from specvit.cli.terminal import show, show_json
    from specvit.jobs import run_main_job
    from specvit.jobs.config import resolve
    from specvit.report import write_report

    settings = resolve(scale, config, set_ or [])
    console = Screen(stderr=True)
    with RichProgress(console) as progress:
        folder = run_main_job(settings, progress, fresh=fresh)
        with progress.task("report"):
            page = write_report(folder.path)
    if json_output:
        show_json({"run": str(folder.path), "report": str(page), "summary": folder.summary})
        return
    print_scores(console, folder.summary)
    show(f"report: {page}")


def print_scores(console, summary: dict) -> None:
    """Print one line per estimator and ceiling, and a warning for each estimator above the Bayes ceiling."""
    from rich.table import Table

    from specvit.cli.screen import print_table

    def score(value: dict | None) -> str:
        if not value or value.get("value") is None:
            return "-"
        text = f"{value['value']:.2f}"
        return text if value.get("low") is None else f"{text} ({value['low']:.2f}-{value['high']:.2f})"

    table = Table(title=f"{summary['target']}: {summary['counts']['test']} test spectra")
    for name in ("", "R²", f"MAE ({summary['unit']})", "efficiency"):
        table.add_column(name)
    for model in summary["models"].values():
        table.add_row(
            model["title"], *(score(model["overall"].get(key)) for key in ("r2", "mae", "efficiency"))
        )
    ceiling = summary.get("ceiling")
    if ceiling:
        if ceiling.get("bayes"):
            doubt = ", not converged" if ceiling.get("converged") is False else ""
            table.add_row(f"Bayes ceiling{doubt}", score(ceiling["bayes"]), "", "")
        for free in ("5", "3"):
            median = ceiling["overall"][f"r2_max_{free}"]["median"]
            table.add_row(f"CRLB, {free} labels", f"{median:.2f} median star", "", "")
    print_table(console, table)
    for model in summary["models"].values():
        if model.get("above_ceiling"):
            over = -model["overall"]["headroom"]["value"]
            console.print(
                f"{model['title']} is above the Bayes ceiling, by {over:.3f} in R²: leakage or a bug",
                style="bold red",
            )
