"""`specvit audit`: checks that a score can be believed: of noise features for leaks, of mixtures of experts for fair gains."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from specvit.cli.terminal import say, show, show_json

if TYPE_CHECKING:
    from specvit.report import Table
    from specvit.runs import Score

#: Of an audit of leaks: fewer cannot tell an R² of 0.05 from none.
FEWEST_STARS = 100

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Check features for leaks of the truth, and mixtures of experts for gains that are none.",
)


@app.command()
def leak(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Strategies S0-raw to S4-norm, saved estimators (folder or name), module:function; all strategies if left out."
        ),
    ] = None,
    label: Annotated[str, typer.Option(help="The label that may not be told.")] = "log_g",
    sigma: Annotated[
        str | None,
        typer.Option(
            help="pipeline: what a pipeline knows; true: the one the noise was drawn with. By default the training's."
        ),
    ] = None,
    noise_level: Annotated[
        float | None, typer.Option(help="Multiplies sigma; by default the training's, or 1.")
    ] = None,
    instrument: Annotated[
        str | None, typer.Option(help="Preset name or file; by default the training's.")
    ] = None,
    stars: Annotated[int, typer.Option(help="Stars to learn from; as many test what was learnt.")] = 2_000,
    seed: Annotated[int, typer.Option(help="Seed of the stars.")] = 42,
    json_output: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Say what can be read off the noise of a spectrum: the S/N may, the star may not.

    Ridge and trees are fitted on what is seen of sigma alone; a feature passes if R² of the label stays below 0.05 and
    that of ln S/N is above 0.5. An estimator is shown one and the same spectrum with the sigma of every star.

    Examples:

        specvit audit leak

        specvit audit leak --sigma true S0-raw S2-scale S3b-aggregates

        specvit audit leak vit subspace runs/train-moe/models/moe
    """
    from specvit.cli.progress import RichProgress
    from specvit.cli.screen import Screen
    from specvit.errors import ConfigError, LabelError
    from specvit.jobs.leak_audit import LEAST_OF_SNR, MOST_OF_LABEL, audit_leak, training_world
    from specvit.jobs.worlds import changed_world

    if stars < FEWEST_STARS:
        raise ConfigError(f"--stars: expected at least {FEWEST_STARS}, got {stars}")
    world = training_world(names or [])
    changes = {"visible_sigma": sigma, "noise_level": noise_level, "instrument": instrument}
    world = changed_world(world, {name: value for name, value in changes.items() if value is not None})
    try:
        with RichProgress(Screen(stderr=True)) as progress:
            scores = audit_leak(
                names or [], world, label, (stars, max(stars // 4, 100), stars), seed, progress
            )
    except LabelError as error:
        raise ConfigError(f"--label: {error}") from None
    if json_output:
        facts = {
            "label": label,
            "visible_sigma": world.visible_sigma,
            "noise_level": world.noise_level,
            "seed": seed,
        }
        show_json({**facts, "scores": [{**vars(one), "passes": one.passes} for one in scores]})
        return
    width = max(len(one.name) for one in scores)
    show(f"{'':{width}}  features  R² {label}  R² ln S/N")
    for one in scores:
        verdict = (
            "passes" if one.passes else "leaks" if one.label_r2 >= MOST_OF_LABEL else "does not know the S/N"
        )
        show(
            f"{one.name:{width}}  {one.features:8d}  {one.label_r2:{len(label) + 3}.3f}  {one.snr_r2:9.3f}  {verdict}"
        )
    say(
        f"sigma: {world.visible_sigma}, noise level {world.noise_level:g}, {stars:,} test stars, seed {seed}; to pass: "
        f"R² of {label} below {MOST_OF_LABEL}, of ln S/N above {LEAST_OF_SNR}"
    )


@app.command()
def experts(
    model: Annotated[
        Path, typer.Argument(help="Folder of a fitted mixture of experts, or of the run that fitted it.")
    ],
    label: Annotated[str, typer.Option(help="One of the labels it estimates; by default the first.")] = "",
    stars: Annotated[int, typer.Option(help="Test stars.")] = 10_000,
    posteriors: Annotated[
        int,
        typer.Option(
            help="Exact posteriors, of the first of them, for R² without the luck of the labels; 0: none."
        ),
    ] = 0,
    seed: Annotated[int, typer.Option(help="Seed of test stars and intervals.")] = 42,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the files; by default experts/ in the run, or beside the model."),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Score every routing of a mixture of experts, its oracle and its global model on the same test stars.

    Writes experts.json, tables (CSV and LaTeX) and figures: routings, coverage, gate. A share of the oracle's gain is
    stated only if that gain is told from zero; a routing above its oracle is explained or flagged.

    Examples:

        specvit train --model moe --labels log_g --spectra 20000

        specvit audit experts runs/train-moe --stars 5000 --posteriors 300
    """
    from specvit.cli.library_options import check_at_least_one
    from specvit.cli.progress import RichProgress
    from specvit.cli.screen import Screen
    from specvit.jobs.experts_audit import audit_experts
    from specvit.models.experts import MixtureOfExperts
    from specvit.report.experts_tables import experts_tables
    from specvit.report.figure_experts import coverage_map, gate_figure, routing_comparison
    from specvit.report.style import save_figure
    from specvit.report.tables import write_table
    from specvit.runs import write_atomic

    check_at_least_one(stars=stars)
    folder = mixture_folder(model)
    mixture = MixtureOfExperts.load(folder)
    with RichProgress(Screen(stderr=True)) as progress:
        record = audit_experts(mixture, label or mixture.names[0], stars, posteriors, seed, watch=progress)
    place = out or (model if folder != model else folder.parent) / "experts"
    write_atomic(place / "experts.json", record.model_dump_json(indent=1) + "\n")
    tables = experts_tables(record)
    for table in tables:
        write_table(table, place)
    for name, draw in (("routings", routing_comparison), ("coverage", coverage_map), ("gate", gate_figure)):
        save_figure(draw(record), place, name)
    if json_output:
        show_json(record.model_dump(mode="json"))
        return
    for table in tables[:3]:
        print_plain(table)
    show(f"written to {place}")


@app.command()
def denoisers(
    models: Annotated[
        list[Path],
        typer.Argument(help="Folders of saved denoisers, or of the runs that trained them."),
    ],
    stars: Annotated[int, typer.Option(help="Test stars, each with its exact posterior.")] = 300,
    seed: Annotated[int, typer.Option(help="Seed of the test stars.")] = 42,
    labels: Annotated[
        str,
        typer.Option(help="Measured downstream, comma-separated; posteriors from samples are of the first."),
    ] = "log_g,teff,m_h",
    fit: Annotated[
        str, typer.Option(help="Estimators fitted anew on denoised spectra, comma-separated; empty: none.")
    ] = "ridge",
    instrument: Annotated[
        str | None, typer.Option(help="Preset name or file; by default the training's.")
    ] = None,
    noise_level: Annotated[
        float | None, typer.Option(help="Multiplies sigma; by default the training's.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for record, tables and figure.")] = Path("runs/denoisers"),
    json_output: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Score denoisers on held-out stars against the noisy spectra and the exact optimum, and by what they do to labels.

    Errors by S/N and part of the spectrum, intervals, equivalent widths and velocities, over-smoothing, lines made up
    or lost, controls of the sigma, and estimators on denoised spectra paired with the same on spectra as observed.

    Examples:

        specvit train --model subspace-denoiser --minutes 8

        specvit audit denoisers runs/train-subspace-denoiser --stars 300
    """
    from dataclasses import replace

    from specvit.cli.library_options import check_at_least_one
    from specvit.cli.progress import RichProgress
    from specvit.cli.screen import Screen
    from specvit.denoise.making import load_denoiser
    from specvit.errors import ConfigError
    from specvit.estimators.choice import choose
    from specvit.jobs.denoiser_audit import audit_denoisers
    from specvit.jobs.worlds import changed_world, in_words
    from specvit.report.denoiser_tables import denoiser_tables
    from specvit.report.figure_denoisers import denoiser_details, denoiser_figure
    from specvit.report.style import save_figure
    from specvit.report.tables import write_table
    from specvit.runs import write_atomic
    from specvit.simulate import World

    check_at_least_one(stars=stars)
    wanted = tuple(dict.fromkeys(name.strip() for name in labels.split(",") if name.strip()))
    estimators = tuple(name for name in fit.split(",") if name)
    for name in estimators:
        choice = choose(name, "--fit")
        if not choice.is_fitted_here or choice.is_own or not choice.spec.learns:
            raise ConfigError(
                f"--fit: '{name}' is not fitted on a fixed set; choose ridge, lightgbm, subspace-nano, ..."
            )
    loaded = dict(zip(models, (load_denoiser(saved_denoiser(path)) for path in models), strict=True))
    if len(loaded) < len(models):
        raise ConfigError("denoisers: a path is given twice")
    named = dict(
        zip(own_keys([(one.name, path) for path, one in loaded.items()]), loaded.values(), strict=True)
    )
    stated = next((one.origin.training.world for one in named.values() if one.origin.training.world), None)
    world = World() if stated is None else replace(World.from_dict(stated), widening=None)
    changes = {"noise_level": noise_level, "instrument": instrument}
    world = changed_world(world, {name: value for name, value in changes.items() if value is not None})
    with RichProgress(Screen(stderr=True)) as progress:
        record = audit_denoisers(named, world, stars, seed, wanted, estimators, progress)
    write_atomic(out / "denoisers.json", record.model_dump_json(indent=1) + "\n")
    for table in denoiser_tables(record):
        write_table(table, out)
    save_figure(denoiser_figure(record), out, "denoisers")
    save_figure(denoiser_details(record), out, "denoisers-details")
    if json_output:
        show_json(record.model_dump(mode="json"))
        return
    for table in denoiser_tables(record):
        print_plain(table)
    say(f"world of the stars: {in_words(world)}")
    for name, words in record.worlds.items():
        say(f"{name}: {words}")
    show(f"written to {out}")


def own_keys(named: list[tuple[str, Path]]) -> list[str]:
    """Return a name for each of (name, path) that no other has: with as many of the path's last parts as it takes."""
    keys = [name for name, _ in named]
    for parts in range(1, max(len(path.parts) for _, path in named) + 1):
        often = Counter(keys)
        if len(often) == len(keys):
            break
        names = [name for name, _ in named]
        keys = [
            key if names.count(name) == 1 else f"{name} ({Path(*path.parts[-parts:])})"
            for key, (name, path) in zip(keys, named, strict=True)
        ]
    return keys


def saved_denoiser(path: Path) -> Path:
    """Return the folder of the denoiser in a run, or the path itself if it is one; ConfigError if it is neither."""
    from specvit.denoise.making import FITTED
    from specvit.errors import ConfigError
    from specvit.models.manifest import MANIFEST

    for folder in (path, *(path / "models" / name for name in FITTED)):
        if (folder / MANIFEST).is_file():
            return folder
    raise ConfigError(f"{path}: neither a saved denoiser nor a run that trained one (models/...-denoiser)")


def mixture_folder(path: Path) -> Path:
    """Return the folder of the mixture in a run, or the path itself if it is one.

    Raises:
        ConfigError: if it is neither.
    """
    from specvit.errors import ConfigError
    from specvit.models.manifest import MANIFEST

    for folder in (path, path / "models" / "moe"):
        if (folder / MANIFEST).is_file():
            return folder
    raise ConfigError(f"{path}: neither a saved mixture of experts nor a run that fitted one (models/moe)")


def _decimals(score: Score) -> int:
    """Return how many decimals show two digits of the interval, or of a small number without one."""
    from specvit.report.words import decimals_of

    if score.value and abs(score.value) < 0.1:
        return decimals_of(score, min(8, 1 - math.floor(math.log10(abs(score.value)))))
    return decimals_of(score)


def print_plain(table: Table) -> None:
    """Print a table with its caption."""
    from rich import box
    from rich.table import Table as Grid

    from specvit.cli.screen import Screen, print_table
    from specvit.report.tables import cell_text
    from specvit.report.words import score_text
    from specvit.runs import Score

    grid = Grid(*table.head, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in grid.columns[1:]:
        column.justify = "right"
    for row in table.rows:
        grid.add_row(
            *(
                score_text(cell, _decimals(cell)) if isinstance(cell, Score) else cell_text(cell)
                for cell in row
            )
        )
    print_table(Screen(), grid)
    show(table.caption)
