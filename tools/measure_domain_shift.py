"""What lies between simulated and real spectra: networks trained on the first, tested on the second.

    python tools/measure_domain_shift.py spectra/ --part nuisances        # what each nuisance in the training buys
    python tools/measure_domain_shift.py spectra/ --part tuning           # half of the known stars teach, the others test
    python tools/measure_domain_shift.py spectra/ --part surveys          # corrected by all surveys but the one tested
    python tools/measure_domain_shift.py spectra/ --part bosz --bosz formats/     # another library

`spectra/` has a `manifest.csv` as for `tools/measure_real_stars.py`. Networks are kept (`--networks`): a second call is
quick. Stars are those of the library's box; nothing is fitted to them but where it says so.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from specvit.amortised import NetworkStore, Nuisances, Setup, TrainingPlan
from specvit.amortised.answers import answered
from specvit.amortised.setup import grouped
from specvit.errors import DataError
from specvit.library import Emulator
from specvit.observed import ObservedSpectrum, read_spectra
from specvit.stellar import Refusal, StarFitSettings, StarFitter
from specvit.stellar.pixels import FitPixels, fit_pixels

LABELS = {"teff": "teff", "log_g": "logg", "m_h": "feh"}
MAD_TO_SIGMA = 1.4826
#: Spectra of BOSZ 2017 are of R = 5000; S/N per pixel at which they are shown.
BOSZ_RESOLUTION, BOSZ_SNRS = 5000.0, (10.0, 30.0, 100.0)
HEADS = "| %s | stars | in domain | abs. log g | log g | Teff | [M/H] | log g inside 1 σ |\n|---|---|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Known:
    """Real stars of the box whose parameters are known: surveys, spectra, labels (N, 3)."""

    survey: np.ndarray
    spectra: list[ObservedSpectrum]
    labels: np.ndarray

    def of(self, survey: str) -> Known:
        """Return those of one survey."""
        rows = np.flatnonzero(self.survey == survey)
        return Known(self.survey[rows], [self.spectra[row] for row in rows], self.labels[rows])


def read(folder: Path, emulator: Emulator) -> Known:
    """Return the known stars of a folder that lie in the box."""
    space = emulator.label_space
    at = [space.index(name) for name in LABELS]
    low, high = np.array(space.low)[at], np.array(space.high)[at]
    survey, spectra, labels = [], [], []
    with (folder / "manifest.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            try:
                known = np.array([float(row[key]) for key in LABELS.values()])
                one = read_spectra(folder / row["file"])[0]
                fit_pixels(one, StarFitSettings(), emulator.grid.start, emulator.grid.stop)
            except (ValueError, DataError):
                continue
            if ((known >= low) & (known <= high)).all():
                survey.append(row["file"].split("/")[0])
                spectra.append(one)
                labels.append(known)
    return Known(np.array(survey), spectra, np.array(labels))


@dataclass(frozen=True)
class Estimates:
    """Estimates of N stars: values and errors (N, 3), in domain (N,)."""

    values: np.ndarray
    errors: np.ndarray
    inside: np.ndarray


def row(name: str, found: Estimates, truth: np.ndarray, chosen: np.ndarray) -> str:
    """Return one row of a table about the chosen stars."""
    off, inside = (found.values - truth)[chosen], found.inside[chosen]
    middle = np.median(off, 0)
    spread = MAD_TO_SIGMA * np.median(np.abs(off - middle), 0)
    within = np.mean(np.abs(off[:, 1]) < found.errors[chosen, 1])
    return (
        f"| {name} | {len(off)} | {inside.sum()} | {np.median(np.abs(off[:, 1])):.2f} | {middle[1]:+.2f} ± {spread[1]:.2f} "
        f"| {middle[0]:+.0f} ± {spread[0]:.0f} | {middle[2]:+.2f} ± {spread[2]:.2f} | {100 * within:.0f} % |"
    )


class Bench:
    """Makes estimates, with networks that are kept."""

    def __init__(self, emulator: Emulator, updates: int, folder: Path | None) -> None:
        self.emulator, self.updates, self.folder = emulator, updates, folder

    def store(self, settings: StarFitSettings, nuisances: Nuisances) -> NetworkStore:
        """Return the store of networks of one kind."""
        return NetworkStore(
            self.emulator, settings, TrainingPlan(updates=self.updates, nuisances=nuisances), self.folder
        )

    def pixels(self, spectra: list[ObservedSpectrum], settings: StarFitSettings) -> list[FitPixels]:
        """Return what of the spectra is fitted."""
        grid = self.emulator.grid
        return [fit_pixels(one, settings, grid.start, grid.stop) for one in spectra]

    def network(
        self,
        spectra: list[ObservedSpectrum],
        nuisances: Nuisances | None = None,
        settings: StarFitSettings | None = None,
        setups: list[Setup] | None = None,
    ) -> Estimates:
        """Return what networks say."""
        settings = settings or StarFitSettings()
        store = self.store(settings, nuisances or Nuisances())
        pixels = self.pixels(spectra, settings)
        values, errors = np.full((2, len(spectra), 3), np.nan)
        inside = np.zeros(len(spectra), bool)
        for setup, rows in grouped(pixels, settings, [] if setups is None else setups):
            began = time.monotonic()
            if not store.has(setup):
                print(f"training: {setup.describe()}, {nuisances}", flush=True)
            said = answered(store.network(setup), [pixels[k] for k in rows])
            if time.monotonic() - began > 60:
                print(f"trained in {time.monotonic() - began:.0f} s", flush=True)
            at = [said.prediction.names.index(name) for name in LABELS]
            assert said.prediction.std is not None
            values[rows], errors[rows] = (
                part[:, at].numpy() for part in (said.prediction.mean, said.prediction.std)
            )
            inside[rows] = said.in_domain
        return Estimates(values, errors, inside)

    def fit(self, spectra: list[ObservedSpectrum]) -> Estimates:
        """Return what the fit says; it knows no domain."""
        values, errors = np.full((2, len(spectra), 3), np.nan)
        for k, outcome in enumerate(StarFitter(self.emulator).fit(spectra)):
            if not isinstance(outcome, Refusal):
                values[k] = [outcome[0].labels[name] for name in LABELS]
                errors[k] = [outcome[0].errors[name] for name in LABELS]
        return Estimates(values, errors, np.isfinite(values[:, 0]))


def nuisances(bench: Bench, known: Known) -> Iterator[str]:
    """Yield a table: each nuisance left out of the training in turn."""
    whole = bench.network(known.spectra)
    # The same stars in every row: those that the network with everything may answer.
    chosen = whole.inside
    yield HEADS % "training spectra have"
    yield row("everything", whole, known.labels, chosen)
    for name in Nuisances().to_dict():
        # Windows of the air are masked in no spectrum then, neither in training nor in test.
        settings = StarFitSettings(telluric=name != "masks")
        found = bench.network(known.spectra, Nuisances().without(name), settings)
        yield row(f"all but {name.replace('_', ' ')}", found, known.labels, chosen)
    yield row("(the fit)", bench.fit(known.spectra), known.labels, chosen)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part", choices=list(PARTS), default="nuisances")
    parser.add_argument("--survey", default="stelib", help="of the manifest: the first part of its files")
    parser.add_argument("--updates", type=int, default=600, help="of every training")
    parser.add_argument("--networks", type=Path, help="where networks are kept; default: the user's cache")
    parser.add_argument("--bosz", type=Path, help="a folder of BOSZ spectra")
    options = parser.parse_args()
    torch.set_num_threads(1)
    emulator = Emulator.builtin()
    bench, known = Bench(emulator, options.updates, options.networks), read(options.folder, emulator)
    for line in PARTS[options.part](bench, known, options):
        print(line, flush=True)


PARTS = {
    "nuisances": lambda bench, known, options: nuisances(bench, known.of(options.survey)),
}


if __name__ == "__main__":
    main()
