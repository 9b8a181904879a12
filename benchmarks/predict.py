"""Stars per second and core of `specvit predict`, files and table included, by the template fit.

Spectra are made: stars of the whole box of the built-in library on the pixels of a red arm (R = 3000, 1 Å, S/N 60,
errors, velocities to 300 km/s), as CSV files. What is timed is what the command does with the folder: read, fit, flag,
write the table; templates and compiled code are made before, and what they cost is said. CPU seconds of one thread.

    python benchmarks/predict.py [--stars 256] [--repeats 3] [--rvspecfit PYTHON] [--json FILE]

`--rvspecfit` names the Python of an environment that has rvspecfit (and not specvit): it fits some of the same files in the
same run, with templates of the same emulator, see `_rvspecfit.py`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
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


def write_templates(folder: Path) -> None:
    """Write a grid of the emulator's spectra as FITS files with the headers that rvspecfit reads."""
    from astropy.io import fits

    emulator = Emulator.builtin()
    (folder / "a").mkdir(parents=True)
    wavelength = np.arange(7000.0, 8950.0, 0.2)
    fits.writeto(folder / "wave.fits", wavelength)
    axes = (
        np.linspace(3800, 5950, 8),
        np.linspace(1.1, 4.9, 6),
        np.linspace(-2.4, 0.6, 6),
        (-0.1, 0.15, 0.4),
    )
    labels = np.array([[*node, 0.0] for node in itertools.product(*axes)])
    with torch.no_grad():
        flux = emulator(torch.from_numpy(labels).float()).numpy()
    for number, (row, spectrum) in enumerate(zip(labels, flux, strict=True)):
        keys = ("PHXTEFF", "PHXLOGG", "PHXM_H", "PHXALPHA")
        header = fits.Header(list(zip(keys, row.round(3).tolist(), strict=False)))
        seen = np.interp(wavelength, emulator.grid.wavelength, spectrum).astype("f4")
        fits.writeto(folder / "a" / f"{number:04d}.fits", seen, header)


def rival_seconds(python: str, folder: Path, stars: int) -> float:
    """Return the CPU seconds per star of rvspecfit."""
    write_templates(folder / "templates")
    script = Path(__file__).with_name("_rvspecfit.py")
    done = subprocess.run([python, str(script), str(folder), str(stars)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"rvspecfit: {done.stderr.strip().splitlines()[-1]}")
    seconds: float = json.loads(done.stdout.splitlines()[-1])["seconds_per_star"]
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stars", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rvspecfit", metavar="PYTHON", help="of an environment that has rvspecfit")
    parser.add_argument("--rival-stars", type=int, default=16)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = FitRecipe(settings=StarFitSettings())
    rival = None
    with tempfile.TemporaryDirectory() as folder:
        stars = Path(folder, "stars")
        stars.mkdir()
        write_stars(stars, options.stars)
        first = predict_all(stars, 1, recipe)
        seconds = [predict_all(stars, options.stars, recipe) for _ in range(options.repeats)]
        if options.rvspecfit is not None:
            rival = rival_seconds(options.rvspecfit, Path(folder), min(options.rival_stars, options.stars))
    middle = statistics.median(seconds)
    found = {
        "stars": options.stars,
        "first_star_seconds": first,
        "seconds": seconds,
        "stars_per_second": options.stars / middle,
        "rvspecfit_stars_per_second": None if rival is None else 1 / rival,
    }
    print(heading("cpu", 1, 0, PACKAGES))
    print(f"first star, templates and compiled code included: {first:.1f} s")
    print(
        f"{options.stars} stars: {options.stars / middle:.1f} per second and core "
        f"({options.stars / max(seconds):.1f} to {options.stars / min(seconds):.1f} in {options.repeats} runs)"
    )
    if rival is not None:
        print(f"rvspecfit, on {options.rival_stars} of them: {1 / rival:.2f} per second and core")
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


PACKAGES = ("numba", "scipy")


if __name__ == "__main__":
    main()
