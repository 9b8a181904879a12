"""`specvit simulate`: write simulated spectra as shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def simulate(
    out: Annotated[
        Path, typer.Option(help="Folder of the shards; made if needed, continued if it is there.")
    ],
    spectra: Annotated[int, typer.Option(help="Number of spectra in all.")] = 10_000,
    shards: Annotated[int, typer.Option(help="Number of HDF5 files they are spread over.")] = 1,
    split: Annotated[
        str, typer.Option(help="train, validation, test or calibration; splits never share a draw.")
    ] = "train",
    seed: Annotated[int, typer.Option(help="Seed of the whole set.")] = 42,
    instrument: Annotated[
        str, typer.Option(help="Preset name or path of an instrument file.")
    ] = "pfs_mr_reference",
    library: Annotated[
        str, typer.Option(help="'builtin' or an emulator file made by `specvit library build`.")
    ] = "builtin",
    prior: Annotated[
        str, typer.Option(help="uniform (continuous box) or lattice (the reference work's snapping).")
    ] = "uniform",
    noise_level: Annotated[float, typer.Option(help="Multiplies sigma.")] = 1.0,
    normalisation: Annotated[
        str, typer.Option(help="observed_median or noise_free_median (reference).")
    ] = "observed_median",
    truth: Annotated[
        bool, typer.Option(help="Also store noise-free flux and true sigma (twice the size).")
    ] = False,
    workers: Annotated[int, typer.Option(help="Local processes, one thread each.")] = 1,
    dask: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler instead of local processes (extra 'hpc').")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Write simulated spectra to sharded HDF5; a killed job continues where it stopped.

    Examples:

        specvit simulate --out data/train --spectra 100000 --shards 10 --workers 2

        specvit simulate --out data/test --split test --spectra 2000 --truth

        specvit simulate --out /scratch/train --spectra 1000000 --shards 100 --dask tcp://host:8786
    """
    import time

    from specvit.cli.library_options import check_at_least_one
    from specvit.cli.progress import RichProgress
    from specvit.cli.screen import Screen
    from specvit.cli.terminal import say, show_json
    from specvit.simulate import World, WriteJob

    check_at_least_one(workers=workers)
    world = World(
        library=library,
        instrument=instrument,
        prior=prior,
        noise_level=noise_level,
        normalisation=normalisation,
    )
    job = WriteJob(out, world, split, seed, spectra, shards, truth)
    job.check()
    remaining = sum(plan.count for plan in job.remaining)
    say(
        f"{spectra:,} {split} spectra of {instrument} in {shards} shard(s) at {out}; "
        f"{remaining:,} to write, {job.bytes_needed / 1e9:.2f} GB"
    )
    if job.simulator.cut is not None:
        say(job.simulator.cut)
    began = time.perf_counter()
    done = spectra - remaining
    with RichProgress(Screen(stderr=True)) as progress, progress.task("simulate") as update:

        def advance(count: int) -> None:
            nonlocal done
            done += count
            update(done, spectra)

        update(done, spectra)
        written = job.run(workers, dask, advance)
    seconds = time.perf_counter() - began
    if json_output:
        show_json({"out": str(out), "spectra": spectra, "written": written, "seconds": round(seconds, 2)})
    else:
        say(f"{written:,} spectra written in {seconds:.1f} s; the set is complete at {out}")
