"""How far `specvit predict` is from the known parameters of real stars, and which of its promises hold.

    python tools/measure_real_stars.py spectra/                          # a folder with manifest.csv
    python tools/measure_real_stars.py spectra/ --set core_error=0.3 --set continuum_order=18
    python tools/measure_real_stars.py spectra/ --surveys --read lamost:medium=air --night-sky

`manifest.csv` has the columns file, star, instrument, teff, logg, feh, gbs_v3 (a benchmark star) and, for files that do
not say it, medium and R where `stated` is true. Stars of the library's box are those whose known Teff, log g and [M/H]
lie in it. A star is fitted with a model error (`ModelError`) that a tenth of the stars, its own among them, had no part
in; with `--surveys` its whole survey had none. A setting that was chosen by looking at these numbers is said to be so in
docs/predict.md.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from specvit.errors import DataError
from specvit.observed import ReadOptions, read_spectra
from specvit.starlist.recipe import NIGHT_SKY
from specvit.stellar import Refusal, StarFitSettings, StarFitter
from specvit.stellar.calibration import KnownStar, known_residuals, leave_out
from specvit.stellar.flags import NOTES
from specvit.stellar.label_calibration import left_out_values
from specvit.stellar.systematic import left_out_pulls, missing_error

LABELS = {"teff": "teff", "log_g": "logg", "m_h": "feh"}
#: Files that say neither medium nor resolution, and are of no use without.
UNSAID = {"kesseli": {"medium": "vacuum", "resolution": 2000.0}}
MAD_TO_SIGMA = 1.4826


def read(folder: Path, words: dict[str, dict[str, Any]]) -> tuple[list[dict[str, str]], list[Any]]:
    """Return rows of the manifest with known parameters, and their spectra; `words` of `ReadOptions` by part of the path."""
    with (folder / "manifest.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["teff"] and row["logg"] and row["feh"]]
    kept, spectra = [], []
    for row in rows:
        options = next((said for key, said in (UNSAID | words).items() if key in row["file"]), {})
        try:
            spectra.append(read_spectra(folder / row["file"], ReadOptions(**options))[0])
            kept.append(row)
        except DataError as error:
            print(f"not read: {error}")
    return kept, spectra


def known_stars(rows: list[dict[str, str]], spectra: list[Any]) -> list[KnownStar]:
    """Return the stars with their known labels; those of surveys of which there is one star are one group."""
    found = []
    for row, spectrum in zip(rows, spectra, strict=True):
        survey = row["file"].split("/")[0]
        labels = {label: float(row[key]) for label, key in LABELS.items()}
        found.append(KnownStar(spectrum, labels, survey if survey in ("stelib", "lamost") else "others"))
    return found


def outcomes_of(stars: list[KnownStar], fitter: StarFitter, surveys: bool) -> list[Any]:
    """Return what is found for each star, by a model error that it has no part in unless the settings state one."""
    if fitter.settings.model_error is not None:
        return fitter.fit([star.spectrum for star in stars])
    residuals = known_residuals(stars, fitter.emulator, fitter.settings)
    left_out = leave_out(residuals, fitter.emulator, fitter.settings, surveys)
    found = {id(star): outcome for star, outcome in zip(left_out.stars, left_out.corrected, strict=True)}
    # Stars outside the box have no part in any.
    others = [star for star in stars if id(star) not in found]
    found |= {
        id(star): outcome
        for star, outcome in zip(others, fitter.fit([star.spectrum for star in others]), strict=True)
    }
    return [found[id(star)] for star in stars]


def summary(name: str, chosen: np.ndarray, off: np.ndarray, sigma: np.ndarray) -> None:
    """Print one line about the chosen stars."""
    rows = off[chosen]
    if not len(rows):
        print(f"{name:<34} none")
        return
    middle, inside = np.nanmedian(rows, 0), np.nanmean(np.abs(rows) < sigma[chosen], 0)
    spread = MAD_TO_SIGMA * np.nanmedian(np.abs(rows - middle), 0)
    print(
        f"{name:<34} {len(rows):3d}  |Δlog g| {np.nanmedian(np.abs(rows[:, 1])):.2f}  log g {middle[1]:+.2f} ± {spread[1]:.2f}"
        f"  Teff {middle[0]:+4.0f}, MAD {np.nanmedian(np.abs(rows[:, 0])):3.0f} K  [M/H] {middle[2]:+.2f} ± {spread[2]:.2f}"
        f"  inside 1 σ: {100 * inside[0]:.0f} {100 * inside[1]:.0f} {100 * inside[2]:.0f} %"
    )


def measure(folder: Path, settings: StarFitSettings, surveys: bool, words: dict[str, dict[str, Any]]) -> None:
    """Print how the stars of `folder` come out."""
    rows, spectra = read(folder, words)
    fitter = StarFitter(settings=settings)
    space = fitter.emulator.label_space
    known = np.array([[float(row[key]) for key in LABELS.values()] for row in rows])
    at = [space.index(label) for label in LABELS]
    low, high = np.array(space.low)[at], np.array(space.high)[at]
    in_box = ((known >= low) & (known <= high)).all(1)
    fitter.fit(spectra)
    began = time.process_time()
    fitter.fit(spectra)
    seconds = time.process_time() - began
    outcomes = outcomes_of(known_stars(rows, spectra), fitter, surveys)
    off, sigma = np.full((2, len(rows), 3), np.nan)
    snr = np.full(len(rows), np.nan)
    doubts: list[set[str]] = []
    notes: list[set[str]] = []
    for k, outcome in enumerate(outcomes):
        if isinstance(outcome, Refusal):
            doubts.append({"REFUSED"})
            notes.append(set())
            continue
        star = outcome[0]
        off[k] = [star.labels[label] - known[k, i] for i, label in enumerate(LABELS)]
        snr[k] = star.snr
        sigma[k] = [star.errors[label] for label in LABELS]
        doubts.append(set(star.flags) - set(NOTES))
        notes.append(set(star.flags) & set(NOTES[:2]))
    flagged = np.array([bool(doubt) for doubt in doubts])
    covered = np.array([not note & {"NO_CAT", "LOW_COVERAGE"} for note in notes])
    noted = np.array([bool(note) for note in notes])
    good = in_box & ~flagged
    instrument = np.array([row["file"].split("/")[0] for row in rows])
    print(
        f"{len(rows)} stars, {in_box.sum()} in the box; {1000 * seconds / len(rows):.0f} ms of CPU per star, templates not included"
    )
    summary("all in the box", in_box, off, sigma)
    summary("all in the box, unflagged", good, off, sigma)
    for kind in dict.fromkeys(instrument):
        summary(f"{kind}, in the box", in_box & (instrument == kind), off, sigma)
        summary(f"{kind}, unflagged", good & (instrument == kind), off, sigma)
    benchmark = np.array([row.get("gbs_v3") == "True" for row in rows])
    summary("benchmark stars", in_box & benchmark, off, sigma)
    summary("benchmark stars, unflagged", good & benchmark, off, sigma)
    summary("without doubts, with notes", good & noted, off, sigma)
    summary("without doubts or notes", good & ~noted, off, sigma)
    print(f"outside the box: {(flagged & ~in_box).sum()} of {(~in_box).sum()} flagged")
    print(
        f"in the box: {100 * flagged[in_box].mean():.0f} % flagged, "
        f"{100 * flagged[in_box & covered].mean():.0f} % of those that cover the Ca II triplet"
    )
    usable = good & np.isfinite(off).all(1)
    pulls = np.full_like(off, np.nan)
    for i, label in enumerate(LABELS):
        pulls[usable, i] = left_out_pulls(off[usable, i], sigma[usable, i])
        print(f"{label}: {missing_error(off[usable, i], sigma[usable, i]):.3g} is missing in the errors")
    print("inside 1 and 2 σ of the total error, its systematic part from all the other stars:")
    groups = {"all without doubts": usable, "benchmark stars": usable & benchmark}
    groups |= {kind: usable & (instrument == kind) for kind in ("stelib", "lamost")}
    groups |= {
        "log g below 3": usable & (known[:, 1] < 3),
        "log g above 3": usable & (known[:, 1] >= 3),
        "S/N below 100": usable & (snr < 100),
        "S/N above 100": usable & (snr >= 100),
    }
    for name, chosen in groups.items():
        shares = [100 * np.mean(np.abs(pulls[chosen]) < width, axis=0) for width in (1, 2)]
        cells = " | ".join(f"{one:.0f}, {two:.0f} %" for one, two in zip(*shares, strict=True))
        print(f"| {name} | {chosen.sum()} | {cells} |")
    calibrated = np.full_like(off, np.nan)
    for i in range(len(LABELS)):
        estimate = (off + known)[usable, i]
        calibrated[usable, i] = left_out_values(estimate, known[usable, i]) - known[usable, i]
    print("on the scale of known stars, each brought there by all the others (--calibrated):")
    summary("  without doubts", usable, calibrated, sigma)
    for kind in ("stelib", "lamost"):
        summary(f"  {kind}, without doubts", usable & (instrument == kind), calibrated, sigma)
    summary("  benchmark stars, without doubts", usable & benchmark, calibrated, sigma)
    flags = [doubt | note for doubt, note in zip(doubts, notes, strict=True)]
    counts = {
        name: sum(name in flags[k] for k in np.flatnonzero(in_box)) for name in sorted(set().union(*flags))
    }
    print("flags in the box: " + ", ".join(f"{name} {count}" for name, count in counts.items() if count))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--set", action="append", default=[], metavar="SETTING=NUMBER", help="of StarFitSettings"
    )
    parser.add_argument("--surveys", action="store_true", help="leave out whole surveys")
    parser.add_argument(
        "--read",
        action="append",
        default=[],
        metavar="SURVEY:WORD=VALUE",
        help="read files of a survey otherwise, a word of ReadOptions",
    )
    parser.add_argument("--night-sky", action="store_true", help="leave out the OH lines of the night sky")
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = dict(_pair(text) for text in options.set)
    words: dict[str, dict[str, Any]] = {}
    for text in options.read:
        survey, _, pair = text.partition(":")
        words.setdefault(survey, {}).update([_pair(pair)])
    masks = NIGHT_SKY if options.night_sky else ()
    measure(options.folder, StarFitSettings(masks=masks, **settings), options.surveys, words)


def _pair(text: str) -> tuple[str, Any]:
    """Return name and value of `name=value`."""
    name, _, value = text.partition("=")
    try:
        return name, int(value) if value.isdigit() else float(value)
    except ValueError:
        return name, value


if __name__ == "__main__":
    main()
