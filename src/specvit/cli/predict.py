"""`specvit predict`: stellar parameters of real spectra, from files of any form."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from specvit.observed.spectrum import Medium
    from specvit.starlist import FitRecipe, StarInput, StarListJob
    from specvit.starlist.recipe import PlotForm

#: Words for the method that is not the fit.
NETWORK_METHODS = ("network", "amortised")
#: Stars that are printed when a table holds all of them.
MOST_ROWS = 50


def predict(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="Spectra, folders of spectra, tables of files, or - for a list of files on standard input."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Table to write; .csv, .ecsv, .fits, .parquet or .json says which form."),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Folder for one picture or page per star.")] = None,
    plot_format: Annotated[str, typer.Option(help="png, or html for a page with the posterior.")] = "png",
    summary: Annotated[Path | None, typer.Option(help="One HTML page about all stars.")] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", help="Form of the files, if it is not to be detected; see --formats."),
    ] = None,
    formats: Annotated[bool, typer.Option("--formats", help="List the forms that are read.")] = False,
    medium: Annotated[str | None, typer.Option(help="air or vacuum, whatever the files say.")] = None,
    resolution: Annotated[float | None, typer.Option(help="λ/FWHM, whatever the files say.")] = None,
    columns: Annotated[
        str,
        typer.Option(help="Columns by role, as in wavelength=WAVE,flux=FLX,sigma=ERR (or ivar, mask, fwhm)."),
    ] = "",
    hdu: Annotated[str | None, typer.Option(help="Name or number of the FITS extension.")] = None,
    unit: Annotated[
        str | None, typer.Option(help="Of the wavelengths: angstrom, nm, um or log10(angstrom).")
    ] = None,
    select: Annotated[
        str,
        typer.Option(
            help="Names or numbers (from 0) of the targets, comma-separated, from files with several."
        ),
    ] = "",
    prior: Annotated[
        list[str] | None,
        typer.Option(help="What is known, e.g. teff=5777+-50 or log_g=4.4+-0.1; repeatable."),
    ] = None,
    mask: Annotated[
        list[str] | None,
        typer.Option(help="Window to leave out, e.g. 8740:8760 (Å, vacuum), or a file of them; repeatable."),
    ] = None,
    no_telluric: Annotated[
        bool, typer.Option("--no-telluric", help="Fit the windows of the air too: they were corrected.")
    ] = False,
    night_sky: Annotated[
        bool, typer.Option("--oh", help="Leave out the bright lines of the night sky: for faint stars.")
    ] = False,
    clip: Annotated[
        float | None, typer.Option(help="Leave out pixels this many σ off the best template, and fit again.")
    ] = None,
    show_mask_cost: Annotated[
        bool, typer.Option("--show-mask-cost", help="Print what every mask costs in precision.")
    ] = False,
    model_error: Annotated[
        str | None,
        typer.Option(
            help="What the library gets wrong: a file of `specvit calibrate-stars`, or one error of every pixel, "
            "relative to the flux; the built-in library's is known."
        ),
    ] = None,
    core_error: Annotated[
        float | None,
        typer.Option(
            help="Further error at the cores of the Ca II triplet, relative to the flux; 0 fits them like the rest. By default what "
            "the model error's stars chose, else 0.3."
        ),
    ] = None,
    calibrated: Annotated[
        bool,
        typer.Option(
            "--calibrated",
            help="Beside the labels found give them on the scale of the model error's stars of known parameters.",
        ),
    ] = False,
    library: Annotated[
        str, typer.Option(help="'builtin' or an emulator file made by `specvit library build`.")
    ] = "builtin",
    method: Annotated[
        str,
        typer.Option(
            help="template (the fit), or network (also: amortised): trained for the instrument, for many stars."
        ),
    ] = "template",
    network: Annotated[
        str, typer.Option(help="Kind of network, as in `specvit train --model`; for --method network.")
    ] = "subspace",
    updates: Annotated[
        int, typer.Option(help="Length of the training of a network; for --method network.")
    ] = 3000,
    domain: Annotated[
        bool,
        typer.Option(
            help="Flag spectra unlike what library and spectrograph make; takes seconds per new instrument."
        ),
    ] = True,
    workers: Annotated[int, typer.Option(help="Local processes, one thread each.")] = 1,
    dask: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler instead of local processes (extra 'hpc').")
    ] = None,
    example: Annotated[
        Path | None,
        typer.Option(help="Write a simulated star in the form of a pfsObject to this file, and end."),
    ] = None,
) -> None:
    """Print Teff, log g, [M/H], [α/M], velocity, goodness of fit and flags of stars from their spectra.

    Printed errors are total: statistical, and what stars of known parameters showed to be missing; tables have both.
    What a file does not say is assumed and printed. A command with --out that was stopped continues. Flags and what to
    do about them, and how a table of files looks: docs/predict.md.

    Examples:

        specvit predict --example star.fits

        specvit predict star.fits --plot figures --plot-format html

        specvit predict spectra/ --out stars.csv --summary stars.html --workers 4

        specvit predict targets.csv --out stars.parquet

        specvit predict survey/ --method network --out stars.fits

        specvit predict coadd.fits --select 39633123,39633124 --json

        specvit predict star.txt --medium air --resolution 5000 --prior teff=5200+-100
    """
    from specvit.cli.predict_table import print_found, print_mask_costs
    from specvit.cli.terminal import say, show, show_json
    from specvit.errors import ConfigError, DataError, RunError
    from specvit.observed import ReadOptions, form_names
    from specvit.report.plain_page import check_pages
    from specvit.starlist import FitRecipe, StarListJob, star_inputs
    from specvit.starlist.inputs import check_output, parse_columns, parse_prior, parse_windows
    from specvit.starlist.tables import check_table_name, write_table_of_stars
    from specvit.stellar import StarFitSettings

    if formats:
        for name, title in form_names().items():
            show(f"{name:<15} {title}")
        return
    if example is not None:
        from specvit.runs.atomic import check_own
        from specvit.stellar.example import MARK, write_example

        check_own(example, MARK, "specvit predict --example", "name")
        write_example(example)
        show(f"{example}: a simulated star; specvit predict {example}")
        return
    if not files:
        raise ConfigError("predict: name at least one file, a folder, or - for a list on standard input")
    if out is not None:
        check_table_name(out)
    if plot is not None and plot.exists() and not plot.is_dir():
        raise ConfigError(f"--plot {plot}: expected a folder, this is a file")
    if plot_format not in ("png", "html"):
        raise ConfigError(f"--plot-format {plot_format}: expected png or html")
    if summary is not None:
        check_pages("pages of stars")
        if summary.suffix.lower() not in (".html", ".htm") or summary.is_dir():
            raise ConfigError(f"--summary {summary}: expected the name of a file that ends in .html")
    options = ReadOptions(
        form=form,
        medium=cast("Medium | None", medium),
        resolution=resolution,
        columns=parse_columns(columns),
        hdu=hdu,
        unit=unit,
        select=tuple(word.strip() for word in select.split(",") if word.strip()),
    )
    error = _model_error(model_error)
    settings = StarFitSettings(
        telluric=not no_telluric,
        model_error=error if isinstance(error, float) else None,
        core_error=StarFitSettings.core_error if core_error is None else core_error,
        priors=dict(parse_prior(text) for text in prior or ()),
    )
    recipe = FitRecipe(
        library,
        settings,
        error if isinstance(error, str) else None,
        windows=tuple(window for text in mask or () for window in parse_windows(text)),
        night_sky=night_sky,
        calibrated=calibrated,
        clip=clip,
        costs=show_mask_cost
        or json_output
        or plot_format == "html"
        or (out is not None and out.suffix == ".json"),
        plot=None if plot is None else str(plot.absolute()),
        judged=domain,
        plot_form=cast("PlotForm", plot_format),
    )
    recipe.check()
    if core_error is None:
        recipe = recipe.with_chosen_cores()
    inputs = star_inputs(files, options, sys.stdin if "-" in files else ())
    for option, path in (("--out", out), ("--summary", summary)):
        if path is not None:
            check_output(path, option, files, inputs)
    if method in NETWORK_METHODS:
        recipe = _with_networks(recipe, network, updates, inputs, quiet=json_output)
    elif method != "template":
        raise ConfigError(f"--method {method}: expected template, {' or '.join(NETWORK_METHODS)}")
    with _parts_folder(out) as folder:
        job = StarListJob(inputs, recipe, folder)
        _run(job, workers, dask, quiet=json_output, kept=out is not None)
        counts = job.counts()
        if counts.refused == counts.stars == 1:
            raise (ConfigError if counts.usage else DataError)(counts.reason)
        if summary is not None:
            job.summarise(summary)
        if out is not None:
            write_table_of_stars(job.stars, out, recipe.provenance)
        if json_output:
            show_json({"provenance": recipe.provenance, "stars": list(job.stars())}, indent=1)
        else:
            print_found(job.stars(), MOST_ROWS if out is not None else None)
            if show_mask_cost:
                print_mask_costs(job.stars())
            if out is not None:
                say(f"{counts.stars} rows: {out}")
        if out is not None:
            job.parts.remove()
    if counts.refused == counts.stars:
        raise RunError(f"none of {counts.stars} spectra could be fitted; the reasons are above")


def _with_networks(
    recipe: FitRecipe, model: str, updates: int, inputs: list[StarInput], quiet: bool
) -> FitRecipe:
    """Return a recipe by which networks answer, after they were trained or found, and checked."""
    from specvit.amortised import TrainingPlan
    from specvit.cli.progress import RichProgress
    from specvit.cli.screen import Screen
    from specvit.cli.terminal import say
    from specvit.starlist import with_networks

    with (
        RichProgress(Screen(stderr=True, quiet=quiet), transient=True) as progress,
        progress.task("network") as update,
    ):
        return with_networks(recipe, TrainingPlan(model, updates=updates), inputs, say, update)


def _run(job: StarListJob, workers: int, dask: str | None, quiet: bool, kept: bool) -> None:
    """Do the job; if it is told to stop, say how it goes on."""
    from specvit.cli.interruption import Interrupted
    from specvit.cli.progress import RichProgress
    from specvit.cli.screen import Screen
    from specvit.cli.terminal import say_if_heard

    files = total = 0
    try:
        with (
            RichProgress(Screen(stderr=True, quiet=quiet), transient=True) as progress,
            progress.task("spectra") as update,
        ):

            def told(done: int, of: int, stars: int) -> None:
                nonlocal files, total
                files, total = done, of
                update(done, of, f"{stars} stars")

            job.run(workers, dask, told)
    except (Interrupted, KeyboardInterrupt):
        if kept:
            words = shlex.join(["specvit", *sys.argv[1:]])
            say_if_heard(
                f"{files} of {total} files are done and kept in {job.parts.folder}; go on with: {words}"
            )
        raise


@contextmanager
def _parts_folder(out: Path | None) -> Iterator[Path]:
    """Yield where parts go: beside the table, or, without one, where they are forgotten."""
    if out is not None:
        yield out.with_name(f"{out.name}.parts")
        return
    with tempfile.TemporaryDirectory(prefix="specvit-predict-") as folder:
        yield Path(folder)


def _model_error(text: str | None) -> float | str | None:
    """Return a number, the path of a file that is there, or None."""
    from specvit.errors import ConfigError

    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        if Path(text).is_file():
            return str(Path(text).absolute())
    raise ConfigError(
        f"--model-error {text}: expected a file of `specvit calibrate-stars` or a number such as 0.02"
    )
