"""`specvit run`: the survey, from simulated spectra to the report, in one command."""

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
    estimators: Annotated[
        bool, typer.Option("--estimators", help="List the estimators that a run can be given, and stop.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Simulate a survey, fit the estimators, compute the ceilings, and write the report.

    A run that was stopped continues after its last finished stage when the same command is given again.

    Examples:

        specvit run

        specvit run --scale smoke

        specvit run --set instrument.name=pfs_mr --set run.name=current-pfs

        specvit run --config my.toml --set simulate.seed=7

        specvit run --set 'models.names=["ridge", "vit", "runs/train-vit-nano/models/vit-nano"]'
    """
    if estimators:
        _list_estimators()
        return
    # Imported here: a help text, and a misspelt option, must not wait for torch.
    from specvit.cli.progress import RichProgress
    from specvit.cli.scores import print_scores
    from specvit.cli.screen import Screen
    from specvit.cli.terminal import show, show_json
    from specvit.jobs import run_survey
    from specvit.jobs.config import resolve
    from specvit.report import write_report
    from specvit.runs import read_summary

    settings = resolve(scale, config, set_ or [])
    console = Screen(stderr=True)
    with RichProgress(console) as progress:
        folder = run_survey(settings, progress, fresh=fresh)
        with progress.task("report"):
            page = write_report(folder.path)
    if json_output:
        show_json({"run": str(folder.path), "report": str(page), "summary": folder.summary})
        return
    print_scores(console, read_summary(folder))
    show(f"report: {page}")


def _list_estimators() -> None:
    """Print the names that a run can be given, with what they are."""
    from specvit.cli.terminal import show
    from specvit.estimators import TABLE, pretrained_names

    for name, spec in TABLE.items():
        if spec.architecture is None:
            show(f"{name:<12} {spec.title}, fitted in the run")
            continue
        if name in pretrained_names():
            show(f"{name:<12} {spec.title}, comes trained")
        sizes = ", ".join(f"{name}-{size}" for size in spec.architecture.sizes)
        show(f"{sizes}: {spec.title}, trained in the run")
