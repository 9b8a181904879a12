"""`specvit train`: train one network on simulated or stored spectra, and score it on test stars."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from specvit.estimators.network_estimator import NetworkEstimator
    from specvit.runs import RunFolder
    from specvit.spectra import SpectraSource


def train(
    model: Annotated[str, typer.Option(help="subspace, vit, swin, cnn or mlp.")] = "subspace",
    size: Annotated[
        str,
        typer.Option(help="nano, small, base; vit also: reference. By default nano, for subspace small."),
    ] = "",
    minutes: Annotated[
        float,
        typer.Option(
            help="Time budget, the schedule follows the clock; 5 if neither this nor --steps is given."
        ),
    ] = 0.0,
    steps: Annotated[int, typer.Option(help="Length in optimiser steps instead of minutes.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; by default runs/train-MODEL-SIZE.")
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
        int, typer.Option(help="Number of different training stars; 0 never repeats one.")
    ] = 0,
    instrument: Annotated[
        str, typer.Option(help="Preset name or file of the spectrograph.")
    ] = "pfs_mr_reference",
    library: Annotated[str, typer.Option(help="'builtin' or an emulator file.")] = "builtin",
    prior: Annotated[str, typer.Option(help="uniform, or the reference work's lattice.")] = "uniform",
    noise_level: Annotated[float, typer.Option(help="Multiplies sigma.")] = 1.0,
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
    json_output: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Train a network while its spectra are simulated; the weights kept are those of the best validation.

    The run folder holds models/NAME (the trained estimator) and metrics.jsonl. An interrupted training
    continues when the same command is given again.

    Examples:

        specvit train --model subspace

        specvit train --model vit --size nano --minutes 5

        specvit train --model vit --size base --minutes 60 --set position=rope --set optimiser=muon

        specvit train --model cnn --data data/train --labels log_g --set head=point --steps 20000

        specvit train --data train_0/dataset.h5 --validation-data val/dataset.h5 --test-data test/dataset.h5

        torchrun --nproc-per-node 4 -m specvit train --model vit --size reference --minutes 120
    """
    import torch

    from specvit.cli.screen import Screen
    from specvit.cli.terminal import show, show_json
    from specvit.cli.train_data import StoredPaths, open_data, stored_world
    from specvit.estimators import make_estimator, split_options
    from specvit.models.sizes import default_size
    from specvit.runs import RunFolder
    from specvit.simulate import World
    from specvit.training.distributed import join_processes, leave_processes

    if threads > 0:
        torch.set_num_threads(threads)
    size = size or default_size(model)
    length = {"steps": steps} if steps else {"minutes": minutes or 5.0}
    settings = parse_settings(set_ or [])
    options, recipe = split_options(model, size, {**length, "seed": seed, **settings})
    paths = StoredPaths(tuple(data or ()), validation_data, test_data)
    world = stored_world(paths) or World(library, instrument, prior, noise_level=noise_level)
    sources = open_data(paths, world, seed, spectra, validation, test)
    asked = {
        "world": world.to_dict(),
        "train": {"model": model, "size": size, "data": paths.to_dict(), "spectra": spectra, "labels": labels,
                  "options": options, "recipe": recipe.to_dict()},
        "score": {"validation": validation, "test": test, "seed": seed},
    }  # fmt: skip
    processes = join_processes(device)
    console = Screen(stderr=True, quiet=not processes.is_first)
    out = out or Path("runs") / f"train-{model}-{size}"
    place = str(RunFolder.create(out.parent, out.name, asked).path) if processes.is_first else ""
    run = RunFolder.open(processes.tell(place))
    if not run.finished:
        with TrainingBar(console, run.log if processes.is_first else None) as bar:
            estimator = make_estimator(
                model,
                size,
                labels=[name for name in labels.split(",") if name] or None,
                recipe=recipe,
                options=options,
                device=device,
                folder=run.path,
                listen=bar,
            )
            estimator.fit(sources.train, sources.validation)
        if processes.is_first:
            finish(run, estimator, score(estimator, sources.test))
    leave_processes(processes)
    if json_output and processes.is_first:
        show_json(run.summary)
    elif processes.is_first:
        print_scores(console, run.summary, len(sources.test))
        show(f"model: {run.summary['model']}")


def finish(run: RunFolder, estimator: NetworkEstimator, scores: dict[str, dict[str, float]]) -> None:
    """Save the estimator and the scores, and drop the checkpoint, which has served."""
    from specvit.training.checkpoint import NAME

    folder = run.path / "models" / estimator.name
    folder.parent.mkdir(exist_ok=True)
    estimator.metrics = scores
    estimator.save(folder)
    run.write_summary(
        {
            "model": str(folder.relative_to(run.path)),
            "training": estimator.origin.training.to_dict(),
            "test": scores,
        }
    )
    run.finish()
    (run.path / NAME).unlink(missing_ok=True)


def parse_settings(settings: list[str]) -> dict[str, str]:
    """Return NAME=VALUE texts as a dictionary; ConfigError for anything else."""
    from specvit.errors import ConfigError

    pairs = [setting.partition("=") for setting in settings]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise ConfigError(f"--set: expected NAME=VALUE, got '{name}'")
    return {name: value for name, _, value in pairs}


def score(estimator: NetworkEstimator, test: SpectraSource) -> dict[str, dict[str, float]]:
    """Return R², MAE and RMSE per label on test spectra."""
    from specvit.evaluate import mae, r2, rmse
    from specvit.spectra import collect

    batch = collect(test)
    labels = batch.known_labels()
    estimate = estimator.predict(batch.flux, batch.sigma, test.grid)
    space = test.label_space
    scores = {}
    for i, name in enumerate(estimate.names):
        truth, mean = labels[:, space.index(name)], estimate.mean[:, i]
        scores[name] = {
            "r2": float(r2(truth, mean)),
            "mae": float(mae(truth, mean)),
            "rmse": float(rmse(truth, mean)),
        }
    return scores


def print_scores(console: Console, summary: dict[str, Any], test: int) -> None:
    """Print one line per label."""
    from rich.table import Table

    from specvit.cli.screen import print_table

    training = summary["training"]
    trained = f"trained on {training['train_spectra']:,} in {training['seconds']:.0f} s"
    table = Table(title=f"{test:,} test spectra; {trained}")
    for column in ("label", "R²", "MAE", "RMSE"):
        table.add_column(column)
    for name, values in summary["test"].items():
        table.add_row(name, *(f"{values[key]:.4g}" for key in ("r2", "mae", "rmse")))
    print_table(console, table)


class TrainingBar:
    """Shows a training as a bar with loss, R², speed and remaining time; passes records on to the run's log.

    Args:
        console: where it is drawn.
        log: called with every record, or None.
    """

    def __init__(self, console: Console, log: Callable[..., None] | None) -> None:
        from specvit.cli.progress import RichProgress

        self._log, self._best, self._text = log, "-", ""
        self._progress, self._stack = RichProgress(console), ExitStack()

    def __enter__(self) -> TrainingBar:
        """Start drawing."""
        self._stack.enter_context(self._progress)
        self._update = self._stack.enter_context(self._progress.task("train"))
        self._update(0.0, 1.0, "preparing")
        return self

    def __exit__(self, *error: Any) -> None:
        """Stop drawing."""
        self._stack.__exit__(*error)

    def __call__(self, record: dict[str, Any]) -> None:
        """Show and log one record of the engine."""
        if record["event"] == "calibration":
            self._update(record["progress"], 1.0, "correcting stated errors")
            return
        if self._log is not None:
            self._log(**record)
        if record["event"] == "validation":
            self._best = f"{record['best']:.4f}"
        else:
            self._text = (
                f"loss {record['loss']:.3f}  best R² {self._best}  "
                f"{record['spectra_per_second']:,.0f} spectra/s  {record['seconds_left']:.0f} s left"
            )
        self._update(record["progress"], 1.0, self._text)
