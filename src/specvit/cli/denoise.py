"""`specvit denoise`: spectra with less noise, from files, stored sets or the test stars of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

#: Spectra that are printed.
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
    strength: Annotated[float, typer.Option(help="0 leaves spectra as they are, 1 denoises them.")] = 1.0,
    draws: Annotated[
        int, typer.Option(help="Samples of each noise-free spectrum, where they can be drawn.")
    ] = 0,
    count: Annotated[int, typer.Option(help="Most spectra of a stored set or a run.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the samples.")] = 0,
    instrument: Annotated[
        str, typer.Option(help="Preset or file, for the exact posterior mean.")
    ] = "pfs_mr_reference",
    library: Annotated[
        str, typer.Option(help="'builtin' or an emulator file, for the exact posterior mean.")
    ] = "builtin",
    velocity: Annotated[float, typer.Option(help="km/s, taken out of the wavelengths of files.")] = 0.0,
    medium: Annotated[str | None, typer.Option(help="air or vacuum, whatever the files say.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Take the noise out of spectra as far as what is known of stars allows, and say how certain that is.

    What comes out holds no more than what went in, and what no star of the library has is taken out: measure on the
    spectrum as it was observed. Files are brought to the denoiser's pixels by straight lines, in the rest frame.

    Examples:

        specvit denoise runs/mine --count 5 --plot figures

        specvit denoise star.fits --velocity 42 --instrument pfs_mr --out star.npz

        specvit denoise data/test --model runs/train-subspace-denoiser --draws 10
    """
    from specvit.cli.audit import saved_denoiser
    from specvit.cli.library_options import check_at_least_one
    from specvit.cli.progress import RichProgress
    from specvit.cli.screen import Screen
    from specvit.cli.terminal import say, show, show_json
    from specvit.denoise.making import load_denoiser
    from specvit.errors import ConfigError
    from specvit.jobs.denoise_spectra import denoise_all, optimum_of, spectra_of, write_denoised
    from specvit.observed import ReadOptions
    from specvit.report.figure_denoised import denoised_figure
    from specvit.report.style import save_figure
    from specvit.simulate import World
    from specvit.spectra import median_snr

    check_at_least_one(count=count)
    if out.suffix != ".npz":
        raise ConfigError(f"--out {out}: expected a name that ends in .npz")
    chosen: Any = medium
    with RichProgress(Screen(stderr=True)) as progress, progress.task("denoise"):
        denoiser: Any
        if model is None:
            denoiser = optimum_of(World(library=library, instrument=instrument))
        else:
            denoiser = load_denoiser(saved_denoiser(model))
        grid = denoiser.origin.grid
        options = ReadOptions(medium=chosen)
        parts = [spectra_of(path, grid, count, options, velocity) for path in paths]
        seen, found = denoise_all(denoiser, parts, strength, draws, seed)
    write_denoised(out, grid, seen, found)
    import numpy as np
    import torch

    live = np.isfinite(seen.sigma)
    snr = median_snr(torch.from_numpy(seen.flux), torch.from_numpy(np.where(live, seen.sigma, np.inf)))
    left = (
        None
        if found.std is None
        else np.nanmedian(np.where(live, found.std.numpy() / np.where(live, seen.sigma, 1.0), np.nan), axis=1)
    )
    converged = found.diagnostics.converged
    rows = [
        {
            "name": name,
            "snr": float(snr[row]),
            "noise_left": None if left is None else float(left[row]),
            "converged": None if converged is None else bool(converged[row]),
        }
        for row, name in enumerate(seen.names)
    ]
    if plot is not None:
        for row, name in enumerate(seen.names):
            safe = "".join(letter if letter.isalnum() else "-" for letter in name)
            std = None if found.std is None else found.std[row].numpy()
            clean = None if seen.clean is None else seen.clean[row]
            drawn = (grid.wavelength, seen.flux[row], seen.sigma[row], found.mean[row].numpy(), std, clean)
            save_figure(denoised_figure(name, *drawn), plot, safe)
    if json_output:
        show_json({"out": str(out), "denoiser": denoiser.name, "digest": denoiser.digest, "spectra": rows})
        return
    for one in rows[:MOST_ROWS]:
        words = "" if one["noise_left"] is None else f", stated error {one['noise_left']:.3f} of sigma"
        doubt = (
            "" if one["converged"] in (None, True) else "; its posterior did not converge, believe none of it"
        )
        show(f"{one['name']}: S/N {one['snr']:.1f}{words}{doubt}")
    if len(rows) > MOST_ROWS:
        say(f"and {len(rows) - MOST_ROWS} more")
    show(f"written to {out}")
