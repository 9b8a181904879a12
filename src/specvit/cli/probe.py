"""`specvit probe`: what the layers of trained networks know."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

if TYPE_CHECKING:
    from specvit.runs.probe_record import ProbeRecord


def probe(
    bundles: Annotated[
        list[str], typer.Argument(help="Folders of saved networks, or names of those that come trained.")
    ],
    layers: Annotated[str, typer.Option(help="Names, comma-separated, or all.")] = "all",
    pool: Annotated[
        str, typer.Option(help="cls, mean, mean+max, segments:K, comma-separated.")
    ] = "mean,mean+max,segments:8",
    readouts: Annotated[str, typer.Option(help="ridge, lightgbm, mlp, comma-separated.")] = "ridge",
    labels: Annotated[str, typer.Option(help="Labels of the stars, comma-separated.")] = "log_g",
    train: Annotated[int, typer.Option(help="Stars to learn from.")] = 2_000,
    validation: Annotated[int, typer.Option(help="Stars that choose penalties, trees and depths.")] = 500,
    test: Annotated[int, typer.Option(help="Stars that score.")] = 500,
    posteriors: Annotated[
        int, typer.Option(help="Exact posteriors, of the first of them: kept and used again; 0 for none.")
    ] = 200,
    information: Annotated[
        int, typer.Option(help="Stars at which the information that survives is found; 0 leaves it out.")
    ] = 6,
    controls: Annotated[
        bool, typer.Option(help="Make controls: other labels, random weights, noise alone.")
    ] = True,
    noise_level: Annotated[
        float | None, typer.Option(help="Multiplies sigma; by default the training's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of stars, fits and intervals.")] = 42,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 takes all.")] = 1,
    runs: Annotated[Path, typer.Option(help="Folder that keeps posteriors, shared with studies.")] = Path(
        "runs/studies"
    ),
    out: Annotated[
        Path | None, typer.Option(help="Folder for the files; by default runs/probe-NAMES.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Read labels off every layer of trained networks, against pixels, components and sufficient statistics.

    All of it is fitted on the same stars and scored on the same test stars, against their exact posteriors. Controls
    show what a readout finds where nothing should be found. Also said: how alike layers are (CKA), how much of the
    information survives each, and what layers know of what Ridge on the pixels leaves. Writes probe.json, tables and
    figures. See docs/representations.md.

    Examples:

        specvit probe vit

        specvit probe vit subspace --readouts ridge,lightgbm,mlp --train 5000 --labels log_g,teff

        specvit probe runs/train-vit-nano/models/vit-nano --layers block3 --pool segments:8,segments:16
    """
    from specvit.cli.audit import print_plain
    from specvit.cli.library_options import check_at_least_one
    from specvit.cli.progress import RichProgress
    from specvit.cli.screen import Screen
    from specvit.cli.terminal import show, show_json
    from specvit.errors import ConfigError
    from specvit.estimators import NetworkEstimator
    from specvit.estimators.pretrained import find_bundle
    from specvit.jobs.latents import world_like
    from specvit.jobs.probing import ProbePlan, probe_networks
    from specvit.jobs.worlds import set_threads
    from specvit.models.readouts import ReadoutKind
    from specvit.represent import Wanted

    for name, count in (("train", train), ("validation", validation), ("test", test)):
        if count < 30:
            raise ConfigError(f"--{name}: expected at least 30 stars, got {count}")
    check_at_least_one(threads=threads or 1)
    kinds: list[Any] = readouts.split(",")
    for kind in kinds:
        if kind not in get_args(ReadoutKind):
            raise ConfigError(f"--readouts: '{kind}' is not known; choose {', '.join(get_args(ReadoutKind))}")
    networks = {_told(name): NetworkEstimator.load(find_bundle(name)) for name in bundles}
    if len(networks) < len(bundles):
        raise ConfigError(
            "probe: two of the networks have one name; give each once, in folders of their own names"
        )
    changes = {} if noise_level is None else {"noise_level": noise_level}
    world = world_like(next(iter(networks.values())), changes)
    set_threads(threads)
    plan = ProbePlan(
        Wanted.parse(layers.split(","), pool.split(",")),
        tuple(kinds),
        tuple(labels.split(",")),
        (train, validation, test),
        posteriors,
        information,
        controls,
        seed,
        threads,
        runs,
    )
    with RichProgress(Screen(stderr=True)) as progress:
        record = probe_networks(networks, world, plan, progress)
    place = out or Path("runs") / f"probe-{'-'.join(networks)}"
    tables = write_files(record, place)
    if json_output:
        show_json(record.model_dump(mode="json"))
        return
    for table in tables:
        print_plain(table)
    show(f"written to {place}")


def write_files(record: ProbeRecord, place: Path) -> list[Any]:
    """Write the record, its tables and its figures; return the tables."""
    from specvit.report.figure_probe import information_by_layer, likeness_map, probe_map
    from specvit.report.probe_tables import probe_tables
    from specvit.report.style import save_figure
    from specvit.report.tables import write_table
    from specvit.runs import write_atomic

    write_atomic(place / "probe.json", record.model_dump_json(indent=1) + "\n")
    tables = probe_tables(record)
    for table in tables:
        write_table(table, place)
    for label in record.labels:
        save_figure(probe_map(record, label), place, f"probe-{label}")
        if record.information:
            save_figure(information_by_layer(record, label), place, f"information-{label}")
    if record.likeness is not None:
        save_figure(likeness_map(record), place, "likeness")
    return tables


def _told(name: str) -> str:
    """Return what a network is told by: its name, or the last part of its folder."""
    return Path(name).name
