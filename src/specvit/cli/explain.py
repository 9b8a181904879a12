"""`specvit explain`: what a trained network looks at, beside where the information on a label lies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

if TYPE_CHECKING:
    from specvit.estimators.network_estimator import NetworkEstimator
    from specvit.report import Table
    from specvit.runs import Explanation
    from specvit.simulate import World


def explain(
    model: Annotated[
        str, typer.Argument(help="Folder of a trained network, or the name of one that comes with specvit.")
    ],
    label: Annotated[str, typer.Option(help="The label whose estimate is explained.")] = "log_g",
    stars: Annotated[int, typer.Option(help="Test spectra; one takes up to a second on a core.")] = 128,
    seed: Annotated[int, typer.Option(help="Seed of the test spectra.")] = 42,
    instrument: Annotated[
        str | None, typer.Option(help="Preset name or file of the spectrograph; by default the network's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the files; by default runs/explain-MODEL.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Show which pixels a network's estimate comes from, and compare them with the Fisher information.

    Writes explain.npz (arrays), explain.csv and .tex (shares of groups of lines) and explain.pdf and .png.
    Response is how much of the variance of an estimate the noise of each pixel causes; integrated gradients
    (IG) are what each pixel contributes to it; attention, which a SpecViT alone has over the whole spectrum,
    is what its tokens mix. See docs/explain.md.

    Examples:

        specvit explain runs/train-vit-nano/models/vit-nano

        specvit explain vit --label teff --stars 256 --out vit-teff

        specvit explain subspace --instrument pfs_mr_reference --json
    """
    from specvit.cli.progress import RichProgress
    from specvit.cli.screen import Screen
    from specvit.cli.terminal import say, show, show_json
    from specvit.errors import ConfigError, LabelError
    from specvit.estimators.network_estimator import NetworkEstimator
    from specvit.estimators.pretrained import find_bundle
    from specvit.explain import has_attention
    from specvit.jobs.stages import explain_network
    from specvit.report import explain_table
    from specvit.simulate import splits

    if stars < 2:
        raise ConfigError(f"--stars {stars}: expected at least 2")
    estimator = NetworkEstimator.load(find_bundle(model))
    try:
        estimator.label_space.index(label)
    except LabelError as error:
        raise ConfigError(f"--label: {error}") from None
    simulator = training_world(estimator, instrument).build()
    estimator.grid.check_matches(simulator.grid, f"--instrument: {estimator.name}")
    if not has_attention(estimator.network):
        say(
            f"{estimator.name}: no attention over the whole spectrum; response, integrated "
            "gradients and Fisher information only"
        )
    with RichProgress(Screen(stderr=True)) as progress, progress.task(f"explain {estimator.name}") as update:
        test = simulator.draw(splits.TEST, seed, 0, stars)
        found = explain_network(estimator, simulator, test, label, update)
    folder = out or Path("runs") / f"explain-{estimator.name}"
    table = explain_table(found)
    files = write_files(found, table, folder)
    if json_output:
        rows = [[_plain(cell) for cell in row] for row in table.rows]
        facts = {"model": estimator.name, "label": label, "stars": stars, "gap": float(found.gap)}
        show_json({**facts, "head": table.head, "rows": rows, "files": [str(path) for path in files]})
        return
    print_shares(table)
    show(f"written to {folder}: {', '.join(path.name for path in files)}")


def training_world(estimator: NetworkEstimator, instrument: str | None) -> World:
    """Return the world a network was trained in, if its file says, seen with `instrument` if that is given."""
    from dataclasses import replace

    from specvit.jobs.recalibration import training_world as recorded

    world = recorded(estimator)
    return replace(world, instrument=instrument) if instrument else world


def write_files(found: Explanation, table: Table, folder: Path) -> list[Path]:
    """Write arrays, table and figure into `folder`, each file whole or not at all; return their paths."""
    import numpy as np

    from specvit.report import draw_explanation
    from specvit.report.style import save_figure
    from specvit.report.tables import write_table
    from specvit.runs import write_atomic

    def save(file: BinaryIO) -> None:
        np.savez_compressed(file, **found.arrays())  # type: ignore[arg-type]  # NumPy's stub sees one keyword

    path = write_atomic(folder / "explain.npz", save)
    return [path, *write_table(table, folder), *save_figure(draw_explanation(found), folder, "explain")]


def print_shares(table: Table) -> None:
    """Print the shares without their intervals, which are in the files."""
    from rich import box
    from rich.table import Table as Grid

    from specvit.cli.screen import Screen, print_table
    from specvit.cli.terminal import show

    grid = Grid(*table.head, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in grid.columns[2:]:
        column.justify = "right"
    for row, following in zip(table.rows, (*table.rows[1:], None), strict=True):
        # The last row of each range of stars is a correlation, not percent.
        digits = 2 if row[2] is None else 1
        cells = [_text(cell, digits) for cell in row]
        grid.add_row(*cells, end_section=following is not None and following[0] != row[0])
    print_table(Screen(), grid)
    show(table.caption)


def _text(cell: object, digits: int) -> str:
    from specvit.report.words import number
    from specvit.runs import Score

    value = cell.value if isinstance(cell, Score) else cell
    return number(value, digits) if isinstance(value, float) else str(value or "")


def _plain(cell: object) -> object:
    from specvit.runs import Score

    return cell.model_dump() if isinstance(cell, Score) else cell
