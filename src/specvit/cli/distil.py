"""`specvit distil`: small networks that learn from a large one, or from the exact posterior."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from specvit.runs.learning_record import LearningRecord

STUDENTS = "subspace-nano:width=16;depth=1,subspace-nano:width=64;depth=1,subspace-nano,mlp-nano"


def distil(
    teacher: Annotated[
        str,
        typer.Argument(
            help="Folder of a saved network, the name of one that comes trained, or posterior: the exact posterior of "
            "the training stars."
        ),
    ],
    students: Annotated[
        str,
        typer.Option(help="MODEL-SIZE or MODEL-SIZE:OPTION=VALUE;OPTION=VALUE, comma-separated."),
    ] = STUDENTS,
    teach: Annotated[
        str, typer.Option(help="predictions, or latents: the teacher's features besides.")
    ] = "predictions",
    teacher_sigma: Annotated[
        str, typer.Option(help="What the teacher is shown as sigma: own, or constant.")
    ] = "own",
    teacher_noise: Annotated[
        float,
        typer.Option(help="Factor on the noise of what the teacher is shown: the same stars, other noise."),
    ] = 1.0,
    labels: Annotated[str, typer.Option(help="Labels, comma-separated.")] = "log_g",
    spectra: Annotated[
        int,
        typer.Option(
            help="Training stars, seen again and again; 0: stars that never end, not for posterior."
        ),
    ] = 0,
    updates: Annotated[int, typer.Option(help="Optimiser steps of every training.")] = 600,
    batch: Annotated[int, typer.Option(help="Spectra per step.")] = 64,
    seeds: Annotated[int, typer.Option(help="Trainings per student.")] = 2,
    controls: Annotated[bool, typer.Option(help="Train each student on the labels themselves too.")] = True,
    test: Annotated[int, typer.Option(help="Test stars.")] = 500,
    posteriors: Annotated[
        int, typer.Option(help="Exact posteriors, of the first of them: kept and used again; 0 for none.")
    ] = 200,
    noise_level: Annotated[
        float | None, typer.Option(help="Multiplies sigma; by default the teacher's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of stars and of the first training.")] = 42,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 takes all.")] = 1,
    runs: Annotated[Path, typer.Option(help="Folder that keeps posteriors, shared with studies.")] = Path(
        "runs/studies"
    ),
    out: Annotated[
        Path | None, typer.Option(help="Folder for networks and files; by default runs/distil-TEACHER.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Train students on what a teacher states, beside the same networks trained on labels.

    A teacher states a mean and an error for every spectrum; students learn both. All are scored on the same test stars
    against their exact posteriors; the ratio to the teacher and the smallest network that keeps 0.97 of the ceiling are
    stated. A command that was stopped goes on with the trainings that are missing. See docs/representations.md.

    Examples:

        specvit distil subspace

        specvit distil posterior --spectra 2000 --students subspace-nano,mlp-nano

        specvit distil vit --teach latents --teacher-noise 0.5 --students mlp-nano
    """
    from specvit.cli.audit import print_plain
    from specvit.cli.library_options import check_at_least_one
    from specvit.cli.progress import RichProgress
    from specvit.cli.screen import Screen
    from specvit.cli.terminal import show, show_json
    from specvit.estimators import NetworkEstimator
    from specvit.estimators.pretrained import find_bundle
    from specvit.jobs.distilling import POSTERIOR, DistilPlan, distil, named_shortly
    from specvit.jobs.latents import world_like
    from specvit.jobs.worlds import changed_world
    from specvit.simulate import World

    check_at_least_one(updates=updates, batch=batch, seeds=seeds, test=test)
    network = None if teacher == POSTERIOR else NetworkEstimator.load(find_bundle(teacher))
    changes = {} if noise_level is None else {"noise_level": noise_level}
    world = changed_world(World(), changes) if network is None else world_like(network, changes)
    recipe: list[tuple[str, Any]] = []
    if network is not None:
        recipe = [("teach", teach), ("teacher_sigma", teacher_sigma), ("teacher_noise", teacher_noise)]
    plan = DistilPlan(
        tuple(text.replace(";", ",") for text in students.split(",")),
        tuple(labels.split(",")),
        spectra,
        updates,
        batch,
        seeds,
        tuple(recipe),
        controls,
        test,
        posteriors,
        seed=seed,
        threads=threads,
        runs=runs,
    )
    place = out or Path("runs") / f"distil-{named_shortly(teacher)}"
    with RichProgress(Screen(stderr=True)) as progress:
        record = distil(network, teacher, world, plan, place, progress)
    table = write_files(record, place)
    if json_output:
        show_json(record.model_dump(mode="json"))
        return
    print_plain(table)
    if not record.kept:
        show(f"smallest network with {record.wanted:g} of the ceiling: not known without --posteriors")
    for label, name in record.kept.items():
        show(f"{label}: smallest network with {record.wanted:g} of the ceiling: {name or 'none of these'}")
    show(f"written to {place}")


def write_files(record: LearningRecord, place: Path) -> Any:
    """Write the record, its table and its figures; return the table."""
    from specvit.report.figure_learning import size_accuracy_speed
    from specvit.report.learning_tables import learning_table
    from specvit.report.style import save_figure
    from specvit.report.tables import write_table
    from specvit.runs import write_atomic

    write_atomic(place / "distil.json", record.model_dump_json(indent=1) + "\n")
    table = learning_table(record)
    write_table(table, place)
    for label in dict.fromkeys(row.label for row in record.rows):
        save_figure(size_accuracy_speed(record, label), place, f"students-{label}")
    return table
