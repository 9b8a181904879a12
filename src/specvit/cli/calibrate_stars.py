"""`specvit calibrate-stars`: what a library gets wrong, from spectra of stars of known parameters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from specvit.stellar.calibration import LeftOut
    from specvit.stellar.cores import CoreChoice


def calibrate_stars(
    table: Annotated[
        Path,
        typer.Argument(help="Table of files: columns file, teff, log_g, and if there are m_h and survey."),
    ],
    out: Annotated[Path, typer.Option(help="File to write, for specvit predict --model-error.")],
    library: Annotated[
        str, typer.Option(help="'builtin' or an emulator file made by `specvit library build`.")
    ] = "builtin",
    sources: Annotated[str, typer.Option(help="Where the stars are from, in words; kept in the file.")] = "",
    cores: Annotated[
        bool,
        typer.Option(help="Choose the further error of the Ca II cores by cross-validation, and keep it."),
    ] = True,
    json_output: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Make a model error of stars of known parameters, and say whether it helps stars that had no part in it.

    Every star is fitted with its labels held at the known values; what the templates leave over, smooth in no star and
    alike in many, corrects them, and what remains enters sigma. Then every star is fitted freely with a model error of
    the others, and, if the table has several surveys, with one of the other surveys alone. How far the cores of the
    Ca II triplet are believed is chosen by cross-validation: what is printed of it is of stars that had no part in that.
    The stars that were left out also say what is missing in the errors (it enters the total errors of predict), and what
    brings estimates to their scale (predict --calibrated).

    Examples:

        specvit calibrate-stars stars.csv --out model_error.json

        specvit predict spectra/ --model-error model_error.json --out found.csv
    """
    from dataclasses import replace

    from specvit.cli.progress import RichProgress
    from specvit.cli.screen import Screen
    from specvit.cli.terminal import say, show, show_json
    from specvit.observed import ReadOptions
    from specvit.starlist import FitRecipe
    from specvit.starlist.known import known_stars
    from specvit.stellar import StarFitSettings
    from specvit.stellar.calibration import build_model_error, known_residuals, leave_out, scale_of
    from specvit.stellar.cores import choose_core_error

    stars = known_stars(table, ReadOptions(), say)
    emulator, settings = FitRecipe(library).open_emulator(), StarFitSettings()
    residuals = known_residuals(stars, emulator, settings)
    error = build_model_error(residuals, emulator, sources or str(table.name))
    choice = None
    if cores:
        with RichProgress(Screen(stderr=True)) as progress, progress.task("cores of Ca II") as update:
            choice = choose_core_error(residuals, emulator, settings, progress=update)
        error = replace(error, core_error=choice.chosen)
        settings = replace(settings, core_error=choice.chosen)
    groups = {one.star.group for one in residuals}
    checks = {"a tenth of the stars left out": leave_out(residuals, emulator, settings)}
    if len(groups) > 1:
        checks["whole surveys left out"] = leave_out(residuals, emulator, settings, groups=True)
    scale = scale_of(checks["a tenth of the stars left out"])
    error = replace(error, systematic=scale.systematic, calibration=scale.calibration)
    error.save(out)
    rows = {name: _numbers(left_out) for name, left_out in checks.items()}
    if json_output:
        told = None if choice is None else _cores(choice)
        known = {"systematic": scale.systematic, "median_abs": scale.before, "calibrated": scale.after}
        show_json(
            {"file": str(out), "stars": error.stars, "cores": told, "left_out": rows, "scale": known},
            indent=1,
        )
        return
    show(f"{error.stars} of {len(stars)} stars lie in the library and could be fitted")
    for name, labels in rows.items():
        show(f"{name}: median deviation and median absolute deviation, without and with the model error")
        for label, number in labels.items():
            show(
                f"  {label:<8}{number['plain_bias']:+10.3g} {number['plain']:9.3g}  ->"
                f"{number['bias']:+10.3g} {number['corrected']:9.3g}"
            )
    for label, one in scale.calibration.items():
        show(
            f"{label}: {scale.systematic[label]:.3g} is missing in the errors of {one.stars} stars without doubts; calibrated "
            f"(--calibrated), each by all others, {scale.before[label]:.3g} -> {scale.after[label]:.3g}, {one.error:.3g} missing"
        )
    if choice is not None:
        tried = ", ".join(f"{error:g}: {loss:.3f}" for error, loss in choice.losses.items())
        show(
            f"further error of the Ca II cores: {choice.chosen:g} (mean loss of each that was tried: {tried})"
        )
        chosen = ", ".join(f"{error:g}" for error in sorted(choice.folds))
        show(
            f"  stars that had no part in the choice: loss {choice.held_out:.3f}; chosen without them {chosen}"
        )
        for label, number in _cores(choice)["held_out"].items():
            show(f"  {label:<8}{number['bias']:+10.3g} {number['median_abs']:9.3g}")
    say(f"{out}: specvit predict --model-error {out}")


def _cores(choice: CoreChoice) -> dict[str, Any]:
    import numpy as np

    return {
        "chosen": choice.chosen,
        "losses": {f"{error:g}": loss for error, loss in choice.losses.items()},
        "chosen_by_others": list(choice.folds),
        "held_out_loss": choice.held_out,
        "held_out": {
            label: {"bias": float(np.nanmedian(off)), "median_abs": float(np.nanmedian(np.abs(off)))}
            for label, off in choice.off.items()
            if np.isfinite(off).any()
        },
    }


def _numbers(left_out: LeftOut) -> dict[str, Any]:
    import numpy as np

    found = {}
    for label in sorted(set.intersection(*(set(star.labels) for star in left_out.stars))):
        plain, corrected = (left_out.off(part, label) for part in (left_out.plain, left_out.corrected))
        found[label] = {
            "plain_bias": float(np.nanmedian(plain)),
            "plain": float(np.nanmedian(np.abs(plain))),
            "bias": float(np.nanmedian(corrected)),
            "corrected": float(np.nanmedian(np.abs(corrected))),
        }
    return found
