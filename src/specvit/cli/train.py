"""`specvit train`: train one estimator on simulated or stored spectra, and score it on test stars."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def train(
    model: Annotated[
        str,
        typer.Option(
            help="Kind of network: subspace, vit, mlp, cnn, swin; or moe, a mixture of experts, probe, ridge, "
            "pca_ridge, pls, lightgbm; or subspace-denoiser, unet-denoiser, "
            "basis-denoiser, wiener-denoiser, which estimate the flux without noise."
        ),
    ] = "subspace",
    size: Annotated[
        str,
        typer.Option(help="nano, small, base; vit also: reference. By default nano, for subspace small."),
    ] = "",
    minutes: Annotated[
        float | None,
        typer.Option(help="Time budget, the schedule follows the clock; without --steps 5 by default."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Length in optimiser steps instead of minutes.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the run; by default runs/train-MODEL, with -SIZE if --size is given."),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Train on stored spectra: a folder of `specvit simulate`, or dataset.h5 files of the "
            "reference work (repeatable)."
        ),
    ] = None,
    validation_data: Annotated[
        Path | None, typer.Option(help="Validate on stored spectra, as --data.")
    ] = None,
    test_data: Annotated[Path | None, typer.Option(help="Test on stored spectra, as --data.")] = None,
    spectra: Annotated[
        int,
        typer.Option(
            help="Number of different training stars, at least 48; 0: a network never sees one twice, others take 20,000."
        ),
    ] = 0,
    instrument: Annotated[
        str, typer.Option(help="Preset name or file of the spectrograph.")
    ] = "pfs_mr_reference",
    library: Annotated[str, typer.Option(help="'builtin' or an emulator file.")] = "builtin",
    prior: Annotated[str, typer.Option(help="uniform, or the reference work's lattice.")] = "uniform",
    noise_level: Annotated[float, typer.Option(help="Multiplies sigma.")] = 1.0,
    widened: Annotated[
        float | None,
        typer.Option(
            help="Share of training stars with S/N and noise beyond the survey's own, so that the network knows "
            "brighter stars too; 0: none. By default 0.5 for networks, 0 for others and for denoisers."
        ),
    ] = None,
    snr: Annotated[
        str, typer.Option(help="LOW:HIGH, the S/N of these stars: their magnitudes are chosen for it.")
    ] = "1.5:400",
    noise_factor: Annotated[
        str, typer.Option(help="LOW:HIGH, multiplies the noise of half of them.")
    ] = "0.1:2",
    mag: Annotated[str, typer.Option(help="LOW:HIGH, no magnitudes of these stars beyond.")] = "",
    labels: Annotated[str, typer.Option(help="Labels to estimate, comma-separated; all if empty.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of spectra and weights.")] = 42,
    validation: Annotated[int, typer.Option(help="Validation spectra, which select the weights.")] = 2_000,
    test: Annotated[int, typer.Option(help="Test spectra for the score at the end.")] = 2_000,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; a GPU if there is one.")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 takes all.")] = 0,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of architecture or recipe, NAME=VALUE; repeatable."),
    ] = None,
    fresh: Annotated[bool, typer.Option(help="Start over in a new folder even if this run exists.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Train a network while its spectra are simulated; the weights kept are those of the best validation.

    Other estimators (moe, ridge, ...) are fitted on a fixed set of spectra.

    The run folder holds models/NAME (the trained estimator), its scores on test spectra, the report and
    metrics.jsonl. An interrupted training continues when the same command is given again.

    Examples:

        specvit train --model subspace

        specvit train --model vit --size nano --minutes 5

        specvit train --model subspace --snr 5:100 --mag 17:22

        specvit train --model vit --size base --minutes 60 --set position=rope --set optimiser=muon

        specvit train --model cnn --data data/train --labels log_g --set head=point --steps 20000

        specvit train --model moe --spectra 20000 --labels log_g --set partition=mh --set gate=lightgbm

        specvit train --model subspace-denoiser --minutes 8

        specvit train --model unet-denoiser --set objective=residual --minutes 10

        specvit train --data train_0/dataset.h5 --validation-data val/dataset.h5 --test-data test/dataset.h5

        torchrun --nproc-per-node 4 -m specvit train --model vit --size reference --minutes 120
    """
    from specvit.cli.progress import RichProgress
    from specvit.cli.scores import print_flux_scores, print_scores
    from specvit.cli.screen import Screen
    from specvit.cli.terminal import show, show_json
    from specvit.denoise.making import WIENER
    from specvit.errors import ConfigError
    from specvit.estimators import TABLE
    from specvit.jobs import run_training
    from specvit.jobs.config.training import training_config
    from specvit.jobs.denoiser_training import is_denoiser, run_denoiser_training
    from specvit.report import write_report
    from specvit.runs import read_summary
    from specvit.simulate import Widening
    from specvit.training.distributed import is_first_process

    # Estimators that read a fixed set have no length, and do not learn to be wider than they are.
    is_network = TABLE[model].draws_spectra if model in TABLE else model != WIENER
    if not is_network and (minutes, steps) != (None, None):
        raise ConfigError(f"--minutes, --steps: {model} is fitted, not trained step by step; leave them out")
    length = length_of(minutes, steps) if is_network else {}
    if widened is None:
        # A denoiser is for the spectra it is trained on: errors over the noise of bright stars would outweigh all others.
        widened = Widening.share if is_network and not is_denoiser(model) else 0.0
    place = out or Path("runs") / f"train-{model}{size and f'-{size}'}"
    config = training_config(
        {
            "library": {"name": library},
            "instrument": {"name": instrument},
            "simulate": {
                **{"train": spectra, "validation": validation, "test": test, "seed": seed},
                **{"prior": prior, "noise_level": noise_level, "widened": widened},
                **{"snr": parse_range("snr", snr), "noise_factor": parse_range("noise-factor", noise_factor)},
                "mag": parse_range("mag", mag) if mag else None,
            },
            "data": {
                "train": [str(path) for path in data or ()],
                "validation": None if validation_data is None else str(validation_data),
                "test": None if test_data is None else str(test_data),
            },
            "network": {
                **{"model": model, "size": size, "device": device},
                "labels": [name for name in labels.split(",") if name],
                "options": {**length, **parse_settings(set_ or [])},
            },
            "run": {"name": place.name, "folder": str(place.parent), "threads": threads},
        }
    )
    console = Screen(stderr=True, quiet=not is_first_process())
    if is_denoiser(model):
        with RichProgress(console) as progress:
            denoised, found = run_denoiser_training(config, progress, fresh)
            with progress.task("report"):
                page = write_report(denoised.path)
        place = denoised.path / "models" / model
        if json_output:
            show_json({"run": str(denoised.path), "model": str(place), "report": str(page), "scores": found})
            return
        print_flux_scores(console, found)
        show(f"model: {place}")
        show(f"report: {page}")
        return
    with RichProgress(console) as progress:
        run = run_training(config, progress, fresh=fresh)
        if run is None:
            return
        with progress.task("report"):
            page = write_report(run.path)
    summary = read_summary(run)
    network = run.path / str(summary.model)
    if json_output:
        show_json({"run": str(run.path), "model": str(network), "report": str(page), "summary": run.summary})
        return
    print_scores(console, summary)
    show(f"model: {network}")
    show(f"report: {page}")


def length_of(minutes: float | None, steps: int | None) -> dict[str, float]:
    """Return the option of the recipe that says how long to train; ConfigError if both are given."""
    from specvit.errors import ConfigError

    if minutes is not None and steps is not None:
        raise ConfigError("--minutes, --steps: both are lengths of the training; give one of them")
    for name, value in (("minutes", minutes), ("steps", steps)):
        if value is not None and not value > 0:
            raise ConfigError(f"--{name}: expected more than 0, got {value}")
    return {"minutes": 5.0 if minutes is None else minutes} if steps is None else {"steps": steps}


def parse_range(option: str, text: str) -> tuple[float, float]:
    """Return the numbers of LOW:HIGH; ConfigError for anything else."""
    from specvit.errors import ConfigError

    low, colon, high = text.partition(":")
    try:
        return float(low), float(high if colon else low)
    except ValueError:
        raise ConfigError(f"--{option}: expected LOW:HIGH, such as 1.5:400, got '{text}'") from None


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """Return NAME=VALUE texts as a dictionary; ConfigError for anything else."""
    from specvit.errors import ConfigError

    pairs = [setting.partition("=") for setting in settings]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise ConfigError(f"--set: expected NAME=VALUE, got '{name}'")
    return {name: value for name, _, value in pairs}
