"""Make the model error that comes with specvit from real stars of known parameters, and judge it on stars left out.

    python tools/build_model_error.py spectra/                                    # a folder with manifest.csv
    python tools/build_model_error.py spectra/ --out src/specvit/stellar/data/model_error.json

The folder is that of `measure_real_stars.py`. What is written are numbers per wavelength, means over all stars: no
spectrum can be had from them. Anybody's own stars: `specvit calibrate-stars`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from measure_real_stars import LABELS, known_stars, read
from specvit.library import Emulator
from specvit.stellar import StarFitSettings
from specvit.stellar.calibration import build_model_error, known_residuals, leave_out, scale_of

SOURCES = (
    "STELIB (Le Borgne et al. 2003, A&A 402, 433) with parameters of its headers or of the Gaia FGK benchmark stars, "
    "version 3 (Soubiran et al. 2024, A&A 682, A145); LAMOST DR1 (Luo et al. 2015, RAA 15, 1095), LASP parameters; "
    "one star each of SDSS, Kesseli et al. 2017, Gaia RVS, MIKE and GALAH"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, help="file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows, spectra = read(options.folder, {})
    stars = known_stars(rows, spectra)
    emulator, settings = Emulator.builtin(), StarFitSettings()
    residuals = known_residuals(stars, emulator, settings)
    scale = scale_of(leave_out(residuals, emulator, settings))
    for label, one in scale.calibration.items():
        print(
            f"{label}: {one.stars} stars, offset {one.offset:+.3g}, slope {one.slope:+.3f} about {one.pivot:.4g}; median abs. "
            f"{scale.before[label]:.3g} -> {scale.after[label]:.3g}, missing {scale.systematic[label]:.3g} -> {one.error:.3g}"
        )
    for groups in (False, True):
        found = leave_out(residuals, emulator, settings, groups)
        print("whole surveys left out" if groups else "a tenth of the stars left out")
        for name, outcomes in (("without", found.plain), ("with", found.corrected)):
            for label in LABELS:
                off = found.off(outcomes, label)
                middle = np.nanmedian(off)
                far, spread = np.nanmedian(np.abs(off)), 1.4826 * np.nanmedian(np.abs(off - middle))
                print(f"  {name:<8} {label:<6} {middle:+.3g} ± {spread:.3g}, median abs. {far:.3g}")
    # Its systematic errors are `SYSTEMATIC`, which stand for other libraries, too.
    error = replace(
        build_model_error(residuals, emulator, SOURCES),
        core_error=settings.core_error,
        calibration=scale.calibration,
    )
    print(
        f"{error.stars} stars; ln(error) changes by {error.by_teff:+.2f} per 1000 K, {error.by_log_g:+.2f} per dex"
    )
    if options.out is not None:
        error.save(options.out)
        print(f"{options.out}: {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
