"""`specvit finetune`: a trained network on a few labelled stars of another world."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from specvit.runs.learning_record import LearningRecord


def finetune(
    bundle: Annotated[
        str, typer.Argument(help="Folder of a saved network, or the name of one that comes trained.")
    ],
    spectra: Annotated[str, typer.Option(help="Numbers of labelled stars, comma-separated.")] = "100,1000",
    modes: Annotated[
        str,
        typer.Option(
            help="What is trained, comma-separated: scratch (a new one), frozen (readout and head), last (the last block "
            "too), all (rates fall towards the input)."
        ),
    ] = "scratch,frozen,last,all",
    labels: Annotated[str, typer.Option(help="Labels that are scored, comma-separated.")] = "log_g",
    updates: Annotated[int, typer.Option(help="Optimiser steps of every training.")] = 300,
    batch: Annotated[int, typer.Option(help="Spectra per step.")] = 64,
    lr: Annotated[float, typer.Option(help="Peak rate of what starts from the network.")] = 5e-4,
    layer_decay: Annotated[
        float,
        typer.Option(help="Factor on the rate from each layer to the one before, where all are trained."),
    ] = 0.7,
    seeds: Annotated[int, typer.Option(help="Trainings of each.")] = 2,
    prior: Annotated[str | None, typer.Option(help="uniform, or the reference work's lattice.")] = None,
    instrument: Annotated[
        str | None,
        typer.Option(help="Preset name or file; spectra on other pixels are interpolated to the network's."),
    ] = None,
    library: Annotated[str | None, typer.Option(help="'builtin' or an emulator file.")] = None,
    noise_level: Annotated[float | None, typer.Option(help="Multiplies sigma.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another field of the world (`specvit.World`), FIELD=VALUE; repeatable."),
    ] = None,
    test: Annotated[int, typer.Option(help="Test stars.")] = 500,
    posteriors: Annotated[
        int, typer.Option(help="Exact posteriors, of the first of them: kept and used again; 0 for none.")
    ] = 200,
    seed: Annotated[int, typer.Option(help="Seed of stars and of the first training.")] = 42,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 takes all.")] = 1,
    runs: Annotated[Path, typer.Option(help="Folder that keeps posteriors, shared with studies.")] = Path(
        "runs/studies"
    ),
    out: Annotated[
        Path | None, typer.Option(help="Folder for networks and files; by default runs/finetune-NAME.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Train a network further on a few labelled stars, and say how many labels that saves.

    What is not given of the world is as in its training: give what differs (noise, spectrograph, library, prior). The
    network as it was, three ways of training it further, and a new one of the same kind are scored on the same test
    stars against their exact posteriors. A command that was stopped goes on. See docs/representations.md.

    Examples:

        specvit finetune vit --noise-level 0.3

        specvit finetune subspace --instrument desi_z --spectra 100,1000,10000

        specvit finetune runs/train-vit-nano/models/vit-nano --prior uniform --modes scratch,all
    """
    from specvit.cli.audit import print_plain
    from specvit.cli.calibrate import given
    from specvit.cli.library_options import check_at_least_one
    from specvit.cli.progress import RichProgress
    from specvit.cli.screen import Screen
    from specvit.cli.terminal import say, show, show_json
    from specvit.estimators import NetworkEstimator
    from specvit.estimators.pretrained import find_bundle
    from specvit.jobs.latents import world_like
    from specvit.jobs.tuning import TunePlan, fine_tune
    from specvit.jobs.worlds import in_words

    check_at_least_one(updates=updates, batch=batch, seeds=seeds, test=test)
    folder = find_bundle(bundle)
    network = NetworkEstimator.load(folder)
    world = world_like(network, given(prior, None, instrument, library, noise_level, set_))
    say(f"stars: {in_words(world)}")
    plan = TunePlan(
        parse_counts(spectra),
        tuple(modes.split(",")),
        tuple(labels.split(",")),
        updates,
        batch,
        lr,
        layer_decay,
        seeds,
        test,
        posteriors,
        seed=seed,
        threads=threads,
        runs=runs,
    )
    place = out or Path("runs") / f"finetune-{folder.name}"
    with RichProgress(Screen(stderr=True)) as progress:
        record = fine_tune(network, str(folder), world, plan, place, progress)
    tables = write_files(record, place)
    if json_output:
        show_json(record.model_dump(mode="json"))
        return
    for table in tables:
        print_plain(table)
    show(f"written to {place}")


def parse_counts(text: str) -> tuple[int, ...]:
    """Return rising numbers of stars, at least 10 each; ConfigError for anything else."""
    from specvit.errors import ConfigError

    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 10 or list(found) != sorted(set(found)) or max(found) > 100_000_000:
        raise ConfigError(f"--spectra {text}: expected rising numbers of at least 10 stars, such as 100,1000")
    return found


def write_files(record: LearningRecord, place: Path) -> list[Any]:
    """Write the record, its tables and its figures; return the tables."""
    from specvit.report.figure_learning import labels_needed
    from specvit.report.learning_tables import learning_table, saved_table
    from specvit.report.style import save_figure
    from specvit.report.tables import write_table
    from specvit.runs import write_atomic

    write_atomic(place / "finetune.json", record.model_dump_json(indent=1) + "\n")
    tables = [table for table in (learning_table(record), saved_table(record)) if table is not None]
    for table in tables:
        write_table(table, place)
    for label in dict.fromkeys(row.label for row in record.rows):
        save_figure(labels_needed(record, label), place, f"labels-{label}")
    return tables
