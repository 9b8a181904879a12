"""`specvit latents`: what the layers of a network make of spectra, in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from specvit.represent.pooled import LayerFacts


def latents(
    bundle: Annotated[
        str, typer.Argument(help="Folder of a saved network, or the name of one that comes trained.")
    ],
    layers: Annotated[
        str, typer.Option(help="Names, comma-separated, or all; see --list-layers.")
    ] = "features",
    pool: Annotated[
        str,
        typer.Option(
            help="How tokens become a vector, comma-separated: cls, mean, mean+max, segments:K; or tokens."
        ),
    ] = "mean",
    out: Annotated[Path, typer.Option(help="File to write, .h5 or .parquet.")] = Path("latents.h5"),
    list_layers: Annotated[
        bool, typer.Option("--list-layers", help="List the layers of the network, and write nothing.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Stored spectra: a folder of `specvit simulate`, or a dataset.h5 of the reference work."
        ),
    ] = None,
    stars: Annotated[int, typer.Option(help="Spectra to draw, without --data.")] = 2_000,
    split: Annotated[str, typer.Option(help="Which stars: train, validation, test, calibration.")] = "test",
    noise_level: Annotated[
        float | None, typer.Option(help="Multiplies sigma; by default the training's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the spectra.")] = 42,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
    json_output: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Write the latents of a trained network: what its layers make of spectra, one row each.

    Spectra are drawn from the world of the training, or read from --data. At no time is more than a part in memory; a
    command that was stopped continues when it is given again. The file says by which network and of which spectra it
    is; labels, S/N and estimates stand beside the latents. See docs/representations.md.

    Examples:

        specvit latents vit --list-layers

        specvit latents vit --layers block1,block3 --pool mean,segments:8 --stars 500 --out latents.h5

        specvit latents subspace --layers all --out latents.parquet
    """
    from specvit.cli.library_options import check_at_least_one, check_out
    from specvit.cli.progress import RichProgress
    from specvit.cli.screen import Screen
    from specvit.cli.terminal import show, show_json
    from specvit.estimators.pretrained import find_bundle
    from specvit.jobs.latents import (
        drawn_source,
        layers_of,
        load_layered,
        stored_source,
        world_like,
        write_latents,
    )
    from specvit.represent import Wanted
    from specvit.training.distributed import usable_device

    check_at_least_one(stars=stars)
    estimator = load_layered(find_bundle(bundle))
    known = layers_of(estimator)
    if list_layers:
        print_layers(known, json_output)
        return
    check_out(out)
    wanted = Wanted.parse(layers.split(","), pool.split(","))
    wanted.check(known)
    estimator.device = usable_device(device)
    if data is not None:
        source = stored_source(estimator, data, seed)
    else:
        changes = {} if noise_level is None else {"noise_level": noise_level}
        source = drawn_source(estimator, world_like(estimator, changes), split, seed, stars)
    with RichProgress(Screen(stderr=True)) as progress:
        plan = write_latents(estimator, source, wanted, out, progress)
    shapes = {"/".join(key): shape for key, shape in plan.shapes.items()}
    if json_output:
        show_json({"file": str(out), "spectra": plan.rows, "latents": shapes})
        return
    for name, shape in shapes.items():
        show(f"{name}: {' x '.join(map(str, (plan.rows, *shape)))}")
    show(f"file: {out}")


def print_layers(known: list[LayerFacts], as_json: bool) -> None:
    """Print the layers of a network."""
    from rich import box
    from rich.table import Table

    from specvit.cli.screen import Screen, print_table
    from specvit.cli.terminal import show_json

    if as_json:
        show_json({"layers": [layer._asdict() for layer in known]})
        return
    table = Table("layer", "tokens", "features", "poolings", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for layer in known:
        poolings = (
            "cls, mean, mean+max, segments:K, tokens" if layer.cls else "mean, mean+max, segments:K, tokens"
        )
        tokens = str(layer.tokens) if layer.tokens else ""
        table.add_row(layer.name, tokens, str(layer.width), poolings if layer.tokens else "one vector")
    print_table(Screen(), table)
