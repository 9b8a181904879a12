"""What a long list of stars costs beside the fit: reading, parts, tables and the page; and whether memory stays flat.

The fit is replaced by one constant answer. Files are made here: many targets in each (as DESI's coadds have them, 3750
pixels, three arms' worth in one), and files of one star (a simulated pfsObject).

    python benchmarks/star_lists.py [--stars 10000] [--files 200]
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from astropy.io import fits

from _machine import heading
from specvit.library import Emulator
from specvit.observed import ObservedSpectrum, read_spectra
from specvit.starlist import FitRecipe, StarInput, StarListJob, recipe
from specvit.starlist.tables import write_table_of_stars
from specvit.stellar import FittedSpectrum, Minimum, StarFitSettings, StellarParameters, write_example

PIXELS, TARGETS = 3750, 500


class NoFit:
    """In the place of `StarFitter`: the same answer for every spectrum."""

    def __init__(self, emulator: Emulator | None, settings: StarFitSettings, _: object = None) -> None:
        self.emulator, self.settings = emulator or Emulator.builtin(), settings
        names = self.emulator.label_space.names
        self.labels = dict.fromkeys(names, 0.5)
        self.covariance = np.eye(len(names))

    def fit(self, spectra: Sequence[ObservedSpectrum]) -> list[tuple[StellarParameters, FittedSpectrum]]:
        """Return the answer, with the whole spectrum as its pixels."""
        return [self._one(spectrum) for spectrum in spectra]

    def _one(self, spectrum: ObservedSpectrum) -> tuple[StellarParameters, FittedSpectrum]:
        labels = self.labels
        star = StellarParameters(
            spectrum.name, spectrum.source, labels, labels, 0.0, 1.0, 1.0, 0.1, 1.0, 50.0, spectrum.flux.size,
            self.covariance, (Minimum(labels, 0.0, 1.0, 0.0),), (), 3000.0, spectrum.medium, spectrum.frame,
            spectrum.form, spectrum.assumptions, dict(spectrum.facts),
        )  # fmt: skip
        model = np.ones(spectrum.flux.size)
        return star, FittedSpectrum(spectrum, spectrum.wavelength, model, spectrum.sigma, model, model)


def write_many(path: Path) -> None:
    """Write `TARGETS` spectra with their resolution in one file."""
    rng = np.random.default_rng(0)
    flux = rng.normal(10, 1, (TARGETS, PIXELS)).astype(np.float32)
    kernel = np.exp(-0.5 * (np.arange(-5, 6) / 1.2) ** 2, dtype=np.float32)
    arrays = {
        "Z_WAVELENGTH": np.linspace(6500, 9500, PIXELS),
        "Z_FLUX": flux,
        "Z_IVAR": np.ones_like(flux),
        "Z_RESOLUTION": np.tile((kernel / kernel.sum())[None, :, None], (TARGETS, 1, PIXELS)),
    }
    fibres = fits.BinTableHDU.from_columns(
        [fits.Column("TARGETID", "K", array=np.arange(TARGETS))], name="FIBERMAP"
    )
    hdus = [fits.ImageHDU(values, name=name) for name, values in arrays.items()]
    fits.HDUList([fits.PrimaryHDU(), fibres, *hdus]).writeto(path)


def cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds of `work`."""
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stars", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(heading("cpu", 1, 0, ("numpy", "astropy", "pyarrow")))
    recipe.StarFitter = NoFit  # type: ignore[assignment,misc]
    FitRecipe().fitter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        example = folder / "star.fits"
        write_example(example)
        singles = cpu(lambda: [read_spectra(example) for _ in range(options.files)])
        print(f"one pfsObject read: {1000 * singles / options.files:.2f} ms of CPU")
        many = folder / "coadd-0.fits"
        write_many(many)
        paths = [many]
        for k in range(1, -(-options.stars // TARGETS)):
            paths.append(folder / f"coadd-{k}.fits")
            os.link(many, paths[-1])
        before = 0
        for share in (0.25, 1.0):
            chosen = paths[: max(1, round(share * len(paths)))]
            job = StarListJob(
                [StarInput(str(path)) for path in chosen], FitRecipe(), folder / f"parts-{share}"
            )
            seconds, stars = cpu(job.run), len(chosen) * TARGETS
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(
                f"{stars:,} targets of {len(chosen)} files: {1000 * seconds / stars:.2f} ms of CPU per star, read, answered "
                f"and kept; peak memory {peak / 1024:.0f} MB ({(peak - before) / 1024:+.0f})"
            )
            before = peak
        for ending in ("csv", "ecsv", "fits", "parquet", "json"):
            seconds = cpu(lambda: write_table_of_stars(job.stars, folder / f"a.{ending}", {}))  # noqa: B023
            print(f"table as {ending}: {1000 * seconds / stars:.3f} ms of CPU per star")
        seconds = cpu(lambda: job.summarise(folder / "all.html"))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(
            f"page about all: {1000 * seconds / stars:.3f} ms per star; peak memory then {peak / 1024:.0f} MB ({(peak - before) / 1024:+.0f})"
        )


if __name__ == "__main__":
    main()
