"""`specvit predict`: stellar parameters of real spectra, from files of any form."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from specvit.errors import DataError
    from specvit.library import Emulator
    from specvit.observed import ObservedSpectrum, ReadOptions
    from specvit.stellar import Refusal, StellarParameters

#: Endings of the files that are taken from a folder.
SPECTRA = (".fits", ".fit", ".fits.gz", ".csv", ".ecsv", ".xml", ".vot", ".txt", ".dat", ".asc", ".ascii")


def predict(
    files: Annotated[
        list[str] | None,
        typer.Argument(help="Spectra, folders of spectra, or - for a list of files on standard input."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Table to write; .csv, .ecsv, .fits or .json says which form.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Folder for one picture (PNG) per star.")] = None,
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
        list[str] | None, typer.Option(help="Window to leave out, e.g. 8740:8760 (Å, vacuum); repeatable.")
    ] = None,
    no_telluric: Annotated[
        bool, typer.Option("--no-telluric", help="Fit the windows of the air too: they were corrected.")
    ] = False,
    model_error: Annotated[
        float, typer.Option(help="What the library gets wrong in a pixel, relative to the flux.")
    ] = 0.02,
    library: Annotated[
        str, typer.Option(help="'builtin' or an emulator file made by `specvit library build`.")
    ] = "builtin",
    example: Annotated[
        Path | None,
        typer.Option(help="Write a simulated star in the form of a pfsObject to this file, and end."),
    ] = None,
) -> None:
    """Print Teff, log g, [M/H], [α/M], velocity, goodness of fit and flags of stars from their spectra.

    Printed errors are total: statistical, and what stars of known parameters showed to be missing; tables have both.
    What a file does not say is assumed and printed. Flags and what to do about them: docs/predict.md.

    Examples:

        specvit predict --example star.fits

        specvit predict star.fits --plot figures

        specvit predict spectra/ --out stars.csv

        specvit predict coadd.fits --select 39633123,39633124 --json

        specvit predict star.txt --medium air --resolution 5000 --prior teff=5200+-100
    """
    from specvit.cli.predict_table import print_found
    from specvit.cli.terminal import say, show, show_json
    from specvit.errors import ConfigError, DataError, RunError
    from specvit.observed import ReadOptions, form_names
    from specvit.stellar import Refusal, StarFitSettings, StarFitter
    from specvit.stellar.tables import check_table_name, provenance_of, records_of, write_found

    if formats:
        for name, title in form_names().items():
            show(f"{name:<15} {title}")
        return
    if example is not None:
        from specvit.stellar.example import write_example

        write_example(example)
        show(f"{example}: a simulated star; specvit predict {example}")
        return
    if not files:
        raise ConfigError("predict: name at least one file, a folder, or - for a list on standard input")
    if out is not None:
        check_table_name(out)
    if plot is not None and plot.exists() and not plot.is_dir():
        raise ConfigError(f"--plot {plot}: expected a folder, this is a file")
    chosen: Any = medium
    options = ReadOptions(
        form=form,
        medium=chosen,
        resolution=resolution,
        columns=_pairs(columns),
        hdu=hdu,
        unit=unit,
        select=tuple(word.strip() for word in select.split(",") if word.strip()),
    )
    settings = StarFitSettings(
        masks=tuple(_window(text) for text in mask or ()),
        telluric=not no_telluric,
        model_error=model_error,
        priors=dict(_prior(text) for text in prior or ()),
    )
    paths = list(_paths(files))
    emulator, digest = _emulator(library)
    found = _fit(paths, options, StarFitter(emulator, settings), plot, quiet=json_output)
    refused = [one.reason for one in found if isinstance(one, Refusal)]
    if len(refused) == len(found) == 1:
        raise DataError(refused[0])
    provenance = provenance_of(library, digest)
    if out is not None:
        write_found(found, out, provenance)
    if json_output:
        show_json(records_of(found, provenance), indent=1)
    else:
        print_found(found)
        if out is not None:
            say(f"{len(found)} rows: {out}")
    if len(refused) == len(found):
        raise RunError(f"none of {len(found)} spectra could be fitted; the reasons are above")


def _fit(
    paths: list[str], options: ReadOptions, fitter: Any, plot: Path | None, quiet: bool
) -> list[StellarParameters | Refusal]:
    """Return what is found in all files, in their order of reading; pictures are drawn on the way."""
    from specvit.cli.progress import RichProgress
    from specvit.cli.screen import Screen
    from specvit.errors import DataError
    from specvit.observed import iter_spectra
    from specvit.stellar import Refusal

    found: list[StellarParameters | Refusal] = []
    unread: list[Refusal] = []

    def refuse(path: str) -> Callable[[str, DataError], None]:
        return lambda name, error: unread.append(Refusal(name, path, str(error)))

    def spectra(update: Any) -> Iterator[ObservedSpectrum]:
        for number, path in enumerate(paths):
            update(number, len(paths), Path(path).name)
            try:
                yield from iter_spectra(path, options, refuse(path))
            except DataError as error:
                unread.append(Refusal(Path(path).name, path, str(error)))

    with (
        RichProgress(Screen(stderr=True, quiet=quiet), transient=True) as progress,
        progress.task("spectra") as update,
    ):
        for outcome in fitter.iter_fit(spectra(update)):
            if isinstance(outcome, Refusal):
                found.append(outcome)
                continue
            star, pixels = outcome
            if plot is not None:
                from specvit.stellar.figure import draw_star, figure_name

                draw_star(star, pixels, plot / figure_name(star, len(found)))
            found.append(star)
    return found + unread


def _paths(files: list[str]) -> Iterator[str]:
    """Yield the files meant: folders are those of their spectra, - is a list on standard input."""
    from specvit.errors import DataError

    for name in files:
        if name == "-":
            yield from (line.strip() for line in sys.stdin if line.strip())
        elif "://" not in name and Path(name).is_dir():
            inside = sorted(
                p for p in Path(name).rglob("*") if p.name.lower().endswith(SPECTRA) and p.is_file()
            )
            if not inside:
                raise DataError(f"{name}: a folder without spectra ({', '.join(SPECTRA)})")
            yield from map(str, inside)
        else:
            yield name


def _emulator(library: str) -> tuple[Emulator, str]:
    from specvit.cli.ceiling import open_emulator
    from specvit.library.emulator import BUILTIN_EMULATOR
    from specvit.runs.identity import file_digest

    emulator = open_emulator(library)
    if library != "builtin":
        return emulator, file_digest(Path(library))
    import specvit.library

    return emulator, file_digest(Path(specvit.library.__path__[0]) / "data" / BUILTIN_EMULATOR)


def _pairs(text: str) -> dict[str, str]:
    from specvit.errors import ConfigError

    pairs = {}
    for word in filter(None, text.split(",")):
        role, equals, column = word.partition("=")
        if not equals or not column.strip():
            raise ConfigError(f"--columns {text}: expected role=column, as in wavelength=WAVE,flux=FLX")
        pairs[role.strip()] = column.strip()
    return pairs


def _prior(text: str) -> tuple[str, tuple[float, float]]:
    from specvit.errors import ConfigError

    name, _, rest = text.partition("=")
    mean, _, sigma = rest.replace("±", "+-").partition("+-")
    try:
        return name.strip(), (float(mean), float(sigma))
    except ValueError:
        raise ConfigError(f"--prior {text}: expected label=mean+-sigma, as in teff=5777+-50") from None


def _window(text: str) -> tuple[float, float]:
    from specvit.errors import ConfigError

    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        raise ConfigError(f"--mask {text}: expected low:high in Å, as in 8740:8760") from None
