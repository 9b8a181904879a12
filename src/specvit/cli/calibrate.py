"""`specvit calibrate`: the errors of a trained network for another prior or world, without training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from specvit.estimators import NetworkEstimator
    from specvit.evaluate import Coverage
    from specvit.jobs import Recalibrated


def calibrate(
    bundle: Annotated[
        str, typer.Argument(help="Folder of a trained network, or the name of one that comes with specvit.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the corrected network; an earlier one is replaced.")],
    prior: Annotated[str | None, typer.Option(help="uniform, or the reference work's lattice.")] = None,
    bounds: Annotated[
        list[str] | None,
        typer.Option(help="LABEL=LOW:HIGH, e.g. log_g=4:5; the stars have labels inside. Repeatable."),
    ] = None,
    instrument: Annotated[
        str | None, typer.Option(help="Preset name or file of the spectrograph, with the network's pixels.")
    ] = None,
    library: Annotated[str | None, typer.Option(help="'builtin' or an emulator file.")] = None,
    noise_level: Annotated[float | None, typer.Option(help="Multiplies sigma.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another field of the world (`specvit.World`), FIELD=VALUE; repeatable."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Stored spectra instead: a folder of `specvit simulate`, or a dataset.h5."),
    ] = None,
    reweight: Annotated[
        bool, typer.Option(help="Weight what the network states by the new prior, if it is another.")
    ] = True,
    spectra: Annotated[
        int | None, typer.Option(help="Spectra that correct the errors; by default as after a training.")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Seed of the spectra; 42 may have corrected the network before.")
    ] = 43,
    json_output: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Correct the errors of a trained network for other stars, spectrograph or noise; the weights stay.

    Errors that hold on average over the stars of a training hold for no part of them. What is not given is as in the
    training. Where the new stars have another prior, what the network states is weighted by it; then held-out spectra
    of the new world, never test spectra, correct its errors. See docs/training.md.

    Examples:

        specvit calibrate subspace --bounds log_g=4:5 --out dwarfs

        specvit calibrate vit --prior lattice --out vit-lattice

        specvit calibrate runs/mine/models/vit-nano --noise-level 0.5 --out quiet

        specvit calibrate subspace --data data/held-out --out corrected --json
    """
    from specvit.cli.progress import RichProgress
    from specvit.cli.screen import Screen
    from specvit.cli.terminal import say, show, show_json
    from specvit.estimators import NetworkEstimator, find_bundle
    from specvit.jobs import recalibrate, simulated_stars, stored_stars
    from specvit.jobs.recalibration import check_out, training_world
    from specvit.jobs.worlds import changed_world, in_words

    changes = given(prior, bounds, instrument, library, noise_level, set_)
    folder = find_bundle(bundle)
    check_out(out, folder)
    estimator = NetworkEstimator.load(folder)
    if data is None:
        world = changed_world(training_world(estimator), changes)
        say(f"stars: {in_words(world)}")
        stars = simulated_stars(estimator, world, spectra, seed)
    else:
        refuse_beside_data(changes)
        stars = stored_stars(estimator, data, spectra, seed)
    with RichProgress(Screen(stderr=True)) as progress:
        found = recalibrate(estimator, stars, reweight, progress)
    found.estimator.save(out)
    if json_output:
        show_json({"model": str(out), **facts(found)})
        return
    print_coverage(found)
    show(f"model: {out}")


def given(
    prior: str | None,
    bounds: list[str] | None,
    instrument: str | None,
    library: str | None,
    noise_level: float | None,
    settings: list[str] | None,
) -> dict[str, Any]:
    """Return the fields of the world that were given; ConfigError names an option that cannot be meant."""
    from specvit.cli.train import parse_settings
    from specvit.documents.toml import parse_value

    named = {"prior": prior, "instrument": instrument, "library": library, "noise_level": noise_level}
    changes: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    if bounds:
        changes["bounds"] = parse_bounds(bounds)
    return {**changes, **{name: parse_value(text) for name, text in parse_settings(settings or []).items()}}


def parse_bounds(bounds: list[str]) -> dict[str, tuple[float, float]]:
    """Return LABEL=LOW:HIGH texts as a dictionary; ConfigError for anything else."""
    import math

    from specvit.errors import ConfigError

    found = {}
    for text in bounds:
        label, _, ends = text.partition("=")
        try:
            low, high = (float(end) for end in ends.split(":"))
        except ValueError:
            low = high = math.nan
        # Written this way round, NaN is refused.
        if not (label and low < high):
            raise ConfigError(f"--bounds {text}: expected LABEL=LOW:HIGH with LOW < HIGH, e.g. log_g=4:5")
        if label in found:
            raise ConfigError(f"--bounds {text}: {label} is given twice")
        found[label] = (low, high)
    return found


def refuse_beside_data(changes: dict[str, Any]) -> None:
    """Raise ConfigError for a choice of world beside stored spectra, which have one."""
    from specvit.errors import ConfigError

    if changes:
        name = next(iter(changes))
        raise ConfigError(f"--data: stored spectra have a world of their own; leave out {name}")


def facts(found: Recalibrated) -> dict[str, Any]:
    """Return the outcome as JSON-ready values."""
    done = found.estimator.recalibration
    assert done is not None
    parts = {"before": found.before, "after": found.after}
    return {
        "spectra": done.spectra,
        "measured_spectra": done.measured_spectra,
        "world": done.world,
        "reweighted": found.estimator.network.head.reweighting is not None,
        "snr_edges": None if found.before.edges is None else found.before.edges.tolist(),
        **{
            when: {
                label: {
                    **scores,
                    **{f"coverage_{s}_by_snr": rows[:, at].tolist() for s, rows in part.held_by_snr.items()},
                }
                for at, (label, scores) in enumerate(part.scores().items())
            }
            for when, part in parts.items()
        },
    }


def print_coverage(found: Recalibrated) -> None:
    """Print how often stated intervals hold the truth, before and after, for all spectra and by S/N."""
    from specvit.cli.screen import Screen, print_table
    from specvit.cli.terminal import show

    for share in found.after.held:
        print_table(Screen(), _table(found.before, found.after, share))
    show(f"what the network states: {weighting(found.estimator)}")


def weighting(estimator: NetworkEstimator) -> str:
    """Return by which prior the distributions of a network are weighted, in words."""
    reweighting, space = estimator.network.head.reweighting, estimator.label_space
    if reweighting is None:
        return "as it was trained, not weighted by another prior"
    low, high = reweighting.box
    ends = zip(space.names, zip(low, high, strict=True), zip(space.low, space.high, strict=True), strict=True)
    # As printed: the network keeps the bounds of its training in float32.
    texts = [(name, "{:g} to {:g}".format(*box), "{:g} to {:g}".format(*whole)) for name, box, whole in ends]
    cut = [f"{name} {box}" for name, box, whole in texts if box != whole]
    return f"weighted by the new prior{' inside ' if cut else ''}{', '.join(cut)}"


def _table(before: Coverage, after: Coverage, share: int) -> Any:
    """Return the shares of truths inside the intervals of one nominal share, in percent."""
    from itertools import pairwise

    from rich import box
    from rich.table import Table

    table = Table(
        title=f"{share} % intervals hold, %: {after.spectra:,} further spectra, by S/N",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    edges = [] if after.edges is None else [f"{edge:.1f}" for edge in after.edges]
    for column in (
        "",
        "",
        "RMSE",
        "all",
        *(f"{low}-{high}" for low, high in pairwise(edges)),
    ):
        table.add_column(column, justify="right" if column else "left")
    for at, label in enumerate(after.names):
        for when, part in (("before", before), ("after", after)):
            values = [part.held[share][at], *part.held_by_snr[share][:, at]]
            cells = [f"{100 * value:.1f}" for value in values]
            table.add_row(label, when, f"{part.rmse[at]:.4g}", *cells, end_section=when == "after")
    return table
