"""Stars per second and core of `specvit predict`, files and table included, by the template fit.

Spectra are made: stars of the whole box of the built-in library on the pixels of a red arm (R = 3000, 1 Å, S/N 60,
errors, velocities to 300 km/s), as CSV files. What is timed is what the command does with the folder: read, fit, flag,
write the table; templates and compiled code are made before, and what they cost is said. CPU seconds of one thread.

    python benchmarks/predict.py [--stars 256] [--repeats 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from _machine import heading
from specvit.library import Emulator
from specvit.observed import ReadOptions
from specvit.spectra import SPEED_OF_LIGHT_KM_S
from specvit.spectra.resample import smooth
from specvit.starlist import FitRecipe, StarListJob, star_inputs
from specvit.starlist.tables import write_table_of_stars
from specvit.stellar import StarFitSettings

RESOLUTION, SNR, FASTEST = 3000.0, 60.0, 300.0
PIXELS = np.arange(7020.0, 8930.0, 1.0)


def write_stars(folder: Path, count: int, seed: int = 0) -> None:
    """Write `count` stars as CSV files with wavelength, flux, sigma and FWHM."""
    emulator, rng = Emulator.builtin(), np.random.default_rng(seed)
    space = emulator.label_space
    low, high = np.array(space.low), np.array(space.high)
    labels = low + (high - low) * rng.uniform(0.05, 0.95, (count, len(space)))
    with torch.no_grad():
        flux = emulator(torch.from_numpy(labels).float()).double().numpy()
    seen = smooth(flux, emulator.grid, emulator.resolution, RESOLUTION)
    for number, (row, speed) in enumerate(zip(seen, rng.uniform(-FASTEST, FASTEST, count), strict=True)):
        shifted = emulator.grid.wavelength * (1 + speed / SPEED_OF_LIGHT_KM_S)
        star = np.interp(PIXELS, shifted, row)
        sigma = np.full(PIXELS.size, np.median(star) / SNR)
        columns = (PIXELS, star + sigma * rng.standard_normal(PIXELS.size), sigma, PIXELS / RESOLUTION)
        np.savetxt(
            folder / f"star{number:05d}.csv",
            np.column_stack(columns),
            "%.6g",
            ",",
            header="wavelength,flux,error,fwhm",
            comments="",
        )


def predict_all(folder: Path, files: int, recipe: FitRecipe) -> float:
    """Return the CPU seconds that a folder takes, from files to table."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as parts:
        words = [str(path) for path in sorted(folder.iterdir())[:files]]
        job = StarListJob(star_inputs(words, ReadOptions(medium="vacuum")), recipe, Path(parts, "parts"))
        job.run()
        if job.counts().refused:
            raise SystemExit(f"{job.counts().reason}: a star was refused, the time means nothing")
        write_table_of_stars(job.stars, Path(parts, "stars.csv"), recipe.provenance)
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stars", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = FitRecipe(settings=StarFitSettings())
    with tempfile.TemporaryDirectory() as folder:
        write_stars(Path(folder), options.stars)
        first = predict_all(Path(folder), 1, recipe)
        seconds = [predict_all(Path(folder), options.stars, recipe) for _ in range(options.repeats)]
    middle = statistics.median(seconds)
    found = {
        "stars": options.stars,
        "first_star_seconds": first,
        "seconds": seconds,
        "stars_per_second": options.stars / middle,
    }
    print(heading("cpu", 1, 0, PACKAGES))
    print(f"first star, templates and compiled code included: {first:.1f} s")
    print(
        f"{options.stars} stars: {options.stars / middle:.1f} per second and core "
        f"({options.stars / max(seconds):.1f} to {options.stars / min(seconds):.1f} in {options.repeats} runs)"
    )
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


PACKAGES = ("numba", "scipy")


if __name__ == "__main__":
    main()
