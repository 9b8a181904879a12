"""`specvit denoise`: spectra with less noise, from files, stored sets or the test stars of a run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from specvit.denoise import Denoiser
    from specvit.jobs.denoise_inputs import SeenSpectrum
    from specvit.jobs.denoise_spectra import DenoisedBatch
    from specvit.observed import ReadOptions
    from specvit.simulate import World
    from specvit.spectra import WavelengthGrid

#: Spectra, and lines about them, that are printed.
MOST_ROWS = 20


def denoise(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Files of spectra, folders of `specvit simulate`, or run folders (their test stars)."
        ),
    ],
    model: Annotated[
        Path | None,
        typer.Option(help="Saved denoiser, or the run that trained it; by default the exact posterior mean."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The .npz to write.")] = Path("denoised.npz"),
    plot: Annotated[Path | None, typer.Option(help="Folder for one picture (PNG) per star.")] = None,
    strength: Annotated[
        float,
        typer.Option(
            help="0 leaves spectra as they are, 1 denoises them, between is a share of the way; of a residual denoiser: the "
            "share of sigma that is in the spectra, at most that of its training."
        ),
    ] = 1.0,
    draws: Annotated[
        int, typer.Option(help="Samples of each noise-free spectrum, where they can be drawn.")
    ] = 0,
    count: Annotated[int, typer.Option(help="Most spectra of a stored set or a run.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the samples.")] = 0,
    instrument: Annotated[
        str | None,
        typer.Option(
            help="Preset or file, for the exact posterior mean of files; by default pfs_mr_reference."
        ),
    ] = None,
    library: Annotated[
        str | None,
        typer.Option(
            help="'builtin' (the default) or an emulator file, for the exact posterior mean of files."
        ),
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option(
            help="uniform (the default), or the reference work's lattice, for the exact posterior mean of files."
        ),
    ] = None,
    velocity: Annotated[float, typer.Option(help="km/s, taken out of the wavelengths of files.")] = 0.0,
    medium: Annotated[str | None, typer.Option(help="air or vacuum, whatever the files say.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Take the noise out of spectra as far as what is known of stars allows, and say how certain that is.

    What comes out holds no more than what went in, and what no star of the library has is taken out: measure on the
    spectrum as it was observed. Files are brought to the denoiser's pixels in the rest frame; what they do not say is
    assumed and printed. χ² is of what was taken out: far from 1, the spectrum is none that the denoiser knows.

    Examples:

        specvit denoise runs/mine --count 5 --plot figures

        specvit denoise star.fits --velocity 42 --instrument pfs_mr --out star.npz

        specvit denoise data/test --model runs/train-subspace-denoiser --draws 10
    """
    from specvit.cli.library_options import check_at_least_one
    from specvit.cli.progress import RichProgress
    from specvit.cli.screen import Screen
    from specvit.cli.terminal import say, show, show_json
    from specvit.errors import ConfigError, DataError, RunError
    from specvit.jobs.denoise_inputs import told_apart
    from specvit.jobs.denoise_spectra import check_out, denoise_all, facts_of, write_denoised
    from specvit.observed import ReadOptions

    check_at_least_one(count=count)
    check_out(out, paths)
    chosen: Any = medium
    options = ReadOptions(medium=chosen)
    said = {"instrument": instrument, "library": library, "prior": prior}
    stated = {name: value for name, value in said.items() if value is not None}
    if model is not None and stated:
        raise ConfigError(
            f"{', '.join(f'--{name}' for name in stated)}: of the exact posterior mean; the denoiser of --model has its own, "
            "leave it out"
        )
    refused: list[str] = []
    with RichProgress(Screen(stderr=True)) as progress, progress.task("denoise"):
        denoiser, world = _chosen(model, paths, stated)
        seen = told_apart(_read(paths, denoiser, count, options, velocity, refused))
        batch = denoise_all(denoiser, seen, strength, draws, seed, refused.append)
    if not batch.seen and len(refused) == 1:
        raise DataError(refused[0])
    if not batch.seen:
        for reason in refused:
            say(f"not denoised: {reason}")
        raise RunError(f"none of {len(refused)} spectra could be denoised; the reasons are above")
    facts = facts_of(batch)
    about: dict[str, Any] = {
        "denoiser": denoiser.name,
        "digest": denoiser.digest,
        "world": denoiser.origin.training.world if world is None else world.to_dict(),
        "strength": strength,
    }
    write_denoised(out, denoiser.origin.grid, batch, facts, about)
    if plot is not None:
        _plot(batch, denoiser.origin.grid, plot)
    if json_output:
        show_json({"out": str(out), **about, "spectra": facts, "refused": refused})
        return
    if world is not None:
        from specvit.jobs.worlds import in_words

        say(f"exact posterior mean in the world: {in_words(world)}")
    _print(facts)
    for reason in refused:
        say(f"not denoised: {reason}")
    show(f"written to {out}")


def _chosen(model: Path | None, paths: list[Path], stated: dict[str, str]) -> tuple[Denoiser, World | None]:
    """Return the denoiser, and its world if it is the exact posterior of one."""
    from specvit.cli.audit import saved_denoiser
    from specvit.denoise.making import load_denoiser
    from specvit.jobs.denoise_spectra import optimum_of, world_for

    if model is not None:
        return load_denoiser(saved_denoiser(model)), None
    world = world_for(paths, stated)
    return optimum_of(world), world


def _read(
    paths: list[Path],
    denoiser: Denoiser,
    count: int,
    options: ReadOptions,
    velocity: float,
    refused: list[str],
) -> list[SeenSpectrum]:
    """Return the spectra of all paths that can be used; `refused` hears of the others, a single path raises."""
    from specvit.errors import SpecvitError
    from specvit.jobs.denoise_inputs import spectra_of

    found: list[SeenSpectrum] = []
    for path in paths:
        try:
            found += spectra_of(path, denoiser.origin, count, options, velocity, refused.append)
        except SpecvitError as error:
            if len(paths) == 1:
                raise
            text = str(error)
            refused.append(text if str(path) in text else f"{path}: {text}")
    return found


def _plot(batch: DenoisedBatch, grid: WavelengthGrid, folder: Path) -> None:
    """Draw each spectrum into a file with its number: names may be alike but for what no file name has."""
    from specvit.report.figure_denoised import denoised_figure
    from specvit.report.style import save_figure

    digits = len(str(len(batch.seen) - 1))
    for row, one in enumerate(batch.seen):
        safe = "".join(letter if letter.isalnum() else "-" for letter in Path(one.name).name)
        std = None if batch.found.std is None else batch.found.std[row].numpy()
        samples = None if batch.found.samples is None else batch.found.samples[row].numpy()
        drawn = (grid.wavelength, one.flux, one.sigma, batch.found.mean[row].numpy(), std, one.clean, samples)
        save_figure(denoised_figure(one.name, *drawn), folder, f"{row:0{digits}d}-{safe}")


def _print(facts: list[dict[str, Any]]) -> None:
    """Print a line per spectrum, then warnings and assumptions, each once."""
    from specvit.cli.terminal import say, show

    for one in facts[:MOST_ROWS]:
        words = "" if one["noise_left"] is None else f", stated error {one['noise_left']:.3g} of sigma"
        if one["chi2"] is not None:
            p = min(one["p_larger"], one["p_smaller"])
            words += f", χ² of what was taken out {one['chi2']:.3f} per degree of freedom (p = {p:.2g})"
        doubt = (
            "" if one["converged"] in (None, True) else "; its posterior did not converge, believe none of it"
        )
        show(f"{one['name']}: S/N {one['snr']:.1f}{words}{doubt}")
    if len(facts) > MOST_ROWS:
        say(f"and {len(facts) - MOST_ROWS} more")
    lines = [f"warning: {one['name']}: {text}" for one in facts for text in one["warnings"]]
    often = Counter(f"assumed: {text}" for one in facts for text in one["assumptions"])
    lines += [f"{text} ({count} spectra)" if count > 1 else text for text, count in often.items()]
    for line in lines[:MOST_ROWS]:
        say(line)
    if len(lines) > MOST_ROWS:
        say(f"... and {len(lines) - MOST_ROWS} lines more; the file has them all")
