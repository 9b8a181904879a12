"""`specvit refine`: a learnt step for the bright stars of a trained network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def refine(
    bundle: Annotated[
        str, typer.Argument(help="Folder of a trained network, or the name of one that comes with specvit.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the refined network; an earlier one is replaced.")],
    snr: Annotated[float, typer.Option(help="Median S/N per pixel from which on stars are refined.")] = 40.0,
    spectra: Annotated[
        int, typer.Option(help="Bright spectra to learn from; about a millisecond each.")
    ] = 1_000_000,
    steps: Annotated[int, typer.Option(help="Updates of the step, of 128 spectra each.")] = 20_000,
    expected_steps: Annotated[
        int,
        typer.Option(
            help="Updates, before those, of the coefficients that are expected of a star, of 512 each."
        ),
    ] = 8_000,
    seed: Annotated[int, typer.Option(help="Seed of the stars; not that of the training.")] = 47,
    json_output: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Give a trained network a Gauss-Newton step for bright stars; its weights, and all other stars, stay as they are.

    A network knows the map from spectra to labels less well than a bright spectrum could tell; from its estimate, one
    learnt step towards what the subspace coefficients of the spectrum say does most of what a fit would do, at a
    fraction of its time. Stated errors are corrected anew. Half an hour on a core. See docs/training.md.

    Examples:

        specvit refine runs/mine/models/subspace-small --out sharp

        specvit refine runs/mine/models/vit-nano --snr 60 --spectra 300000 --steps 8000 --expected-steps 3000 --out sharp-vit --json
    """
    from specvit.cli.progress import RichProgress
    from specvit.cli.screen import Screen
    from specvit.cli.terminal import say, show, show_json
    from specvit.estimators import NetworkEstimator, find_bundle
    from specvit.jobs.recalibration import check_out
    from specvit.jobs.refining import bright_stars, refined
    from specvit.jobs.worlds import in_words
    from specvit.training.refining import RATIO, RefiningRecipe

    recipe = RefiningRecipe(spectra=spectra, expected_steps=expected_steps, steps=steps, seed=seed)
    folder = find_bundle(bundle)
    check_out(out, folder)
    estimator = NetworkEstimator.load(folder)
    stars = bright_stars(estimator, snr, seed)
    say(f"stars: {in_words(stars.world)}")
    with RichProgress(Screen(stderr=True)) as progress:
        found = refined(estimator, stars, snr, recipe, progress)
    found.save(out)
    record = found.origin.training.refinement
    assert record is not None
    if json_output:
        show_json({"model": str(out), **record})
        return
    show("root mean square error of bright stars that it was not learnt on, over that before:")
    for label, ratio in record[RATIO].items():
        show(f"  {label:8} {ratio:.2f}")
    if worse := [label for label, ratio in record[RATIO].items() if ratio > 1]:
        say(f"warning: {', '.join(worse)} became worse; give more --spectra, --expected-steps and --steps")
    show(f"model: {out}")
