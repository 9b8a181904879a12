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

import h5py
import numpy as np
import torch

from specvit.amortised import NetworkStore, Nuisances, Setup, TrainingPlan
from specvit.amortised.answers import answered, rest_frames
from specvit.amortised.setup import grouped
from specvit.errors import DataError
from specvit.estimators import make_estimator
from specvit.library import Emulator
from specvit.observed import ObservedSpectrum, read_spectra
from specvit.observed.spectrum import RawSpectrum, checked_spectrum
from specvit.spectra import MemorySource, SpectraBatch, WavelengthGrid, air_to_vacuum
from specvit.spectra.resample import smooth
from specvit.stellar import Refusal, StarFitSettings, StarFitter
from specvit.stellar.pixels import FitPixels, fit_pixels
from specvit.stellar.priors import galactic_alpha
from specvit.training import Recipe

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


def halves(count: int, repeats: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the numbers of the stars that teach and of those that test, every star in each as often."""
    rng = np.random.default_rng(seed)
    for _ in range(repeats):
        order = rng.permutation(count)
        yield order[: count // 2], order[count // 2 :]
        yield order[count // 2 :], order[: count // 2]


def corrected(values: np.ndarray, truth: np.ndarray, teach: np.ndarray, slopes: bool) -> np.ndarray:
    """Return estimates (N, 3) less the median deviation of the stars that teach, or less a line in the label itself."""
    found = values.copy()
    for label in range(values.shape[1]):
        off = values[teach, label] - truth[teach, label]
        line = np.polyfit(values[teach, label], off, 1) if slopes else [0.0, np.median(off)]
        found[:, label] -= np.polyval(line, values[:, label])
    return found


def retrained(
    bench: Bench, known: Known, setups: list[Setup], teach: np.ndarray, test: np.ndarray, steps: int
) -> np.ndarray:
    """Return what the network says of the stars that test, trained further on those that teach, shape (N, 3)."""
    settings = StarFitSettings()
    store = bench.store(settings, Nuisances())
    network = store.network(setups[0])
    pixels = bench.pixels(known.spectra, settings)
    flux, sigma = rest_frames(network, pixels)
    space = network.estimator.label_space
    labels = torch.zeros(len(pixels), len(space))
    labels[:, [space.index(name) for name in LABELS]] = torch.from_numpy(known.labels).float()
    # Nobody knows their chemistry: drawn as the fit has it before it sees a star.
    drawn = torch.randn(2, len(pixels), generator=torch.Generator().manual_seed(1))
    alpha = galactic_alpha(labels[:, space.index("m_h")])[0]
    labels[:, space.index("alpha_m")] = alpha + settings.alpha_sigma * drawn[0]
    labels[:, space.index("c_m")] = settings.carbon_sigma * drawn[1]
    source = MemorySource(SpectraBatch(flux[teach], sigma[teach], labels[teach]), network.frame.grid, space)
    recipe = Recipe(
        start=str(store.path(setups[0])), steps=steps, batch=8, lr=1e-4, monitor="loss", validations=1
    )
    further = make_estimator("subspace", "nano", recipe=recipe, device="cpu").fit(source, source)
    mean = further.predict(flux[test], sigma[test]).mean
    return mean[:, [space.index(name) for name in LABELS]].numpy()


def tuning(bench: Bench, known: Known, repeats: int, seed: int) -> Iterator[str]:
    """Yield a table: half of the stars teach, the others test, again and again."""
    setups: list[Setup] = []
    whole = bench.network(known.spectra, setups=setups)
    inside = np.flatnonzero(whole.inside)
    stars = Known(known.survey[inside], [known.spectra[k] for k in inside], known.labels[inside])
    values, fit = whole.values[inside], bench.fit(stars.spectra).values
    ways = {
        "the network": lambda teach, test: values[test],
        "its median deviation taken off": lambda teach, test: corrected(values, stars.labels, teach, False)[
            test
        ],
        "a line in the label taken off": lambda teach, test: corrected(values, stars.labels, teach, True)[
            test
        ],
        "trained 30 steps further": lambda teach, test: retrained(bench, stars, setups, teach, test, 30),
        "trained 200 steps further": lambda teach, test: retrained(bench, stars, setups, teach, test, 200),
        "the fit": lambda teach, test: fit[test],
        "its median deviation taken off (fit)": lambda teach, test: corrected(
            fit, stars.labels, teach, False
        )[test],
    }
    yield f"{len(stars.spectra)} stars, {2 * repeats} halves, seed {seed}"
    yield "| tested on the other half | abs. log g | rms log g | abs. Teff | abs. [M/H] |\n|---|---|---|---|---|"
    for name, way in ways.items():
        off = np.concatenate(
            [
                way(teach, test) - stars.labels[test]
                for teach, test in halves(len(stars.spectra), repeats, seed)
            ]
        )
        typical = np.median(np.abs(off), 0)
        rms = np.sqrt(np.mean(off[:, 1] ** 2))
        yield f"| {name} | {typical[1]:.2f} | {rms:.2f} | {typical[0]:.0f} K | {typical[2]:.2f} |"


def surveys(bench: Bench, known: Known) -> Iterator[str]:
    """Yield a table: the fit of each survey, corrected by the stars of all others."""
    found = bench.fit(known.spectra)
    yield "| survey left out | stars | log g | less that of the others | Teff | less | [M/H] | less |\n|---|---|---|---|---|---|---|---|"
    for survey in dict.fromkeys(known.survey.tolist()):
        out = known.survey == survey
        before = (found.values - known.labels)[out]
        after = (corrected(found.values, known.labels, np.flatnonzero(~out), False) - known.labels)[out]
        cells = [
            f"{np.nanmedian(part[:, at]):+.{digits}f} ({np.nanmedian(np.abs(part[:, at])):.{digits}f})"
            for at, digits in ((1, 2), (0, 0), (2, 2))
            for part in (before, after)
        ]
        yield f"| {survey} | {out.sum()} | {' | '.join(cells)} |"


def observed(
    name: str, wavelength: np.ndarray, flux: np.ndarray, fwhm: np.ndarray, snr: float, seed: int
) -> ObservedSpectrum:
    """Return a spectrum with noise as one from the ground."""
    sigma = np.full(flux.size, float(np.median(flux)) / snr)
    noisy = flux + sigma * np.random.default_rng(seed).standard_normal(flux.size)
    raw = RawSpectrum(name, "bosz", wavelength, noisy, sigma, fwhm=fwhm, medium="vacuum")
    return checked_spectrum(raw, name)


def bosz(bench: Bench, folder: Path, known: Known, seed: int) -> Iterator[str]:
    """Yield tables: real spectra of BOSZ 2017 by the fit, and of BOSZ 2024 as the survey's spectrograph would see them."""
    space = bench.emulator.label_space
    with h5py.File(folder / "bosz_5000_test.h5") as file:
        wavelength, flux, labels = (file[name][()] for name in ("wave", "flux", "para"))
    # As the file has them: [M/H], Teff, log g.
    labels = labels[:, [1, 2, 0]]
    high = space.high[space.index("teff")]
    inside = labels[:, 0] <= high
    yield "| BOSZ 2017, 8000-8950 Å, R = 5000, by the fit | spectra | log g | Teff | [M/H] |\n|---|---|---|---|---|"
    for snr in BOSZ_SNRS:
        seen = [
            observed(f"{k}", wavelength, flux[k], wavelength / BOSZ_RESOLUTION, snr, seed + k)
            for k in np.flatnonzero(inside)
        ]
        off = bench.fit(seen).values - labels[inside]
        middle = np.nanmedian(off, 0)
        spread = MAD_TO_SIGMA * np.nanmedian(np.abs(off - middle), 0)
        yield (
            f"| S/N {snr:g} | {len(seen)} | {middle[1]:+.2f} ± {spread[1]:.2f} | {middle[0]:+.0f} ± {spread[0]:.0f} "
            f"| {middle[2]:+.2f} ± {spread[2]:.2f} |"
        )
    settings, setups = StarFitSettings(), list[Setup]()
    grouped(bench.pixels(known.spectra[:1], settings), settings, setups)
    wavelength = np.loadtxt(folder / "bosz2024_wave_r5000.txt.gz")
    red = (wavelength > 6800) & (wavelength < 9200)
    # In air, unlike BOSZ 2017.
    grid, pixels = WavelengthGrid(air_to_vacuum(wavelength[red])), setups[0].wavelength
    fwhm = setups[0].fwhm_at(pixels)
    blurred = grid.wavelength / setups[0].fwhm_at(grid.wavelength)
    yield "| BOSZ 2024, as the survey would see it | S/N | network: log g, Teff | in domain | fit: log g, Teff |\n|---|---|---|---|---|"
    for path in sorted(folder.glob("bosz2024_mp_*_r5000_resam.txt.gz")):
        flux = np.loadtxt(path)[red, 0]
        seen = np.interp(pixels, grid.wavelength, smooth(flux, grid, BOSZ_RESOLUTION, blurred))
        for snr in BOSZ_SNRS:
            stars = [observed(path.name, pixels, seen, fwhm, snr, seed + k) for k in range(16)]
            network, fit = bench.network(stars, setups=list(setups)), bench.fit(stars)
            told = [
                f"{np.median(found.values[:, 1]):.2f} ± {np.std(found.values[:, 1]):.2f}, "
                f"{np.median(found.values[:, 0]):.0f} ± {np.std(found.values[:, 0]):.0f}"
                for found in (network, fit)
            ]
            yield f"| {path.name.split('_a+')[0]} | {snr:g} | {told[0]} | {network.inside.sum()} of 16 | {told[1]} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part", choices=list(PARTS), default="nuisances")
    parser.add_argument("--survey", default="stelib", help="of the manifest: the first part of its files")
    parser.add_argument("--updates", type=int, default=600, help="of every training")
    parser.add_argument("--networks", type=Path, help="where networks are kept; default: the user's cache")
    parser.add_argument("--seed", type=int, default=45, help="of halves and noise")
    parser.add_argument("--bosz", type=Path, help="a folder of BOSZ spectra")
    options = parser.parse_args()
    if options.part == "bosz" and options.bosz is None:
        parser.error("--part bosz needs --bosz FOLDER, with bosz_5000_test.h5 and bosz2024_*.txt.gz")
    torch.set_num_threads(1)
    emulator = Emulator.builtin()
    bench, known = Bench(emulator, options.updates, options.networks), read(options.folder, emulator)
    for line in PARTS[options.part](bench, known, options):
        print(line, flush=True)


PARTS = {
    "nuisances": lambda bench, known, options: nuisances(bench, known.of(options.survey)),
    "tuning": lambda bench, known, options: tuning(bench, known.of(options.survey), 5, options.seed),
    "surveys": lambda bench, known, options: surveys(bench, known),
    "bosz": lambda bench, known, options: bosz(bench, options.bosz, known.of(options.survey), options.seed),
}


if __name__ == "__main__":
    main()
