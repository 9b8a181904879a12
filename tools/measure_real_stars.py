"""How far `specvit predict` is from the known parameters of real stars, and which of its promises hold.

    python tools/measure_real_stars.py spectra/                          # a folder with manifest.csv
    python tools/measure_real_stars.py spectra/ --set core_error=0.3 --set continuum_order=18

`manifest.csv` has the columns file, star, instrument, teff, logg, feh, gbs_v3 (a benchmark star) and, for files that do
not say it, medium and R where `stated` is true. Stars of the library's box are those whose known Teff, log g and [M/H]
lie in it. Nothing is fitted to the known parameters: a setting that was chosen by looking at these numbers is said to
be so in docs/predict.md.
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
from specvit.stellar import Refusal, StarFitSettings, StarFitter
from specvit.stellar.flags import ASSUMED
from specvit.stellar.systematic import left_out_coverage, missing_error

LABELS = {"teff": "teff", "log_g": "logg", "m_h": "feh"}
#: Files that say neither medium nor resolution, and are of no use without.
UNSAID = {"kesseli": {"medium": "vacuum", "resolution": 2000.0}}
MAD_TO_SIGMA = 1.4826


def read(folder: Path) -> tuple[list[dict[str, str]], list[Any]]:
    """Return rows of the manifest with known parameters, and their spectra."""
    with (folder / "manifest.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["teff"] and row["logg"] and row["feh"]]
    kept, spectra = [], []
    for row in rows:
        options = next((words for key, words in UNSAID.items() if key in row["file"]), {})
        try:
            spectra.append(read_spectra(folder / row["file"], ReadOptions(**options))[0])
            kept.append(row)
        except DataError as error:
            print(f"not read: {error}")
    return kept, spectra


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


def measure(folder: Path, settings: StarFitSettings) -> None:
    """Print how the stars of `folder` come out."""
    rows, spectra = read(folder)
    fitter = StarFitter(settings=settings)
    space = fitter.emulator.label_space
    known = np.array([[float(row[key]) for key in LABELS.values()] for row in rows])
    at = [space.index(label) for label in LABELS]
    low, high = np.array(space.low)[at], np.array(space.high)[at]
    in_box = ((known >= low) & (known <= high)).all(1)
    fitter.fit(spectra[:1])
    began = time.process_time()
    outcomes = fitter.fit(spectra)
    seconds = time.process_time() - began
    off, sigma = np.full((2, len(rows), 3), np.nan)
    doubts: list[set[str]] = []
    for k, outcome in enumerate(outcomes):
        if isinstance(outcome, Refusal):
            doubts.append({"REFUSED"})
            continue
        star = outcome[0]
        off[k] = [star.labels[label] - known[k, i] for i, label in enumerate(LABELS)]
        sigma[k] = [star.errors[label] for label in LABELS]
        doubts.append(set(star.flags) - set(ASSUMED))
    flagged = np.array([bool(doubt) for doubt in doubts])
    covered = np.array([not doubt & {"NO_CAT", "LOW_COVERAGE", "REFUSED"} for doubt in doubts])
    good = in_box & ~flagged
    instrument = np.array([row["file"].split("/")[0] for row in rows])
    print(
        f"{len(rows)} stars, {in_box.sum()} in the box; {1000 * seconds / len(rows):.0f} ms of CPU per star, templates included"
    )
    summary("all in the box", in_box, off, sigma)
    summary("all in the box, unflagged", good, off, sigma)
    for kind in dict.fromkeys(instrument):
        summary(f"{kind}, in the box", in_box & (instrument == kind), off, sigma)
        summary(f"{kind}, unflagged", good & (instrument == kind), off, sigma)
    benchmark = np.array([row.get("gbs_v3") == "True" for row in rows])
    summary("benchmark stars", in_box & benchmark, off, sigma)
    summary("benchmark stars, unflagged", good & benchmark, off, sigma)
    print(f"outside the box: {(flagged & ~in_box).sum()} of {(~in_box).sum()} flagged")
    print(
        f"in the box: {100 * flagged[in_box].mean():.0f} % flagged, "
        f"{100 * flagged[in_box & covered].mean():.0f} % of those that cover the Ca II triplet"
    )
    usable = good & np.isfinite(off).all(1)
    for i, label in enumerate(LABELS):
        error, share = (f(off[usable, i], sigma[usable, i]) for f in (missing_error, left_out_coverage))
        print(
            f"{label}: {error:.3g} is missing in the errors; "
            f"stars left out are inside 1 σ of the total in {100 * share:.0f} %"
        )
    counts = {
        name: sum(name in doubts[k] for k in np.flatnonzero(in_box)) for name in sorted(set().union(*doubts))
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
    options = parser.parse_args()
    torch.set_num_threads(1)
    pairs = (text.partition("=")[::2] for text in options.set)
    settings = {name: int(value) if value.isdigit() else float(value) for name, value in pairs}
    measure(options.folder, StarFitSettings(**settings))


if __name__ == "__main__":
    main()
