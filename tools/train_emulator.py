"""Fit the emulator to a library, state its held-out errors, and write the weights shipped as package data.

    python tools/train_emulator.py [--library FILE.h5] [--out FILE] [--steps N]

Defaults: the built-in library, its working box, the settings of `FitSettings`. The errors stored with the
weights are those of spectra inside the box that neither the fit nor any choice has used.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch

from pfs_errors import pfs_errors, table_row
from specvit.library import FitSettings, SyntheticLibrary, fit_emulator, load_builtin
from specvit.library.emulator import BUILTIN_EMULATOR
from specvit.library.emulator_fit import relative_flux, split_library
from specvit.spectra import LOW_T_BOX

OUT = Path(__file__).resolve().parents[1] / "src" / "specvit" / "library" / "data" / BUILTIN_EMULATOR


def show(done: int, total: int, loss: float) -> None:
    print(f"\rstep {done}/{total}  loss {loss:.4f}", end="\n" if done == total else "", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--library", type=Path, help="a specvit library file; default the built-in one")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--steps", type=int, default=FitSettings.steps)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    library = SyntheticLibrary.load(options.library) if options.library else load_builtin()
    settings = replace(FitSettings(), steps=options.steps)
    start = time.perf_counter()
    emulator = fit_emulator(library, LOW_T_BOX, settings, show)
    _, held_out = split_library(library, LOW_T_BOX, settings.held_out, settings.seed)
    emulator.errors["pfs_mr"] = pfs_errors(
        emulator, library.labels[held_out], relative_flux(library)[held_out]
    )
    emulator.save(options.out, compact=True)
    minutes = (time.perf_counter() - start) / 60
    print(f"{options.out.name}: {options.out.stat().st_size / 1e6:.2f} MB")
    print(f"{minutes:.1f} min on {options.threads} threads, seed {settings.seed}")
    print("held-out error on the PFS grid, %: median / 95th / 99th | above 4300 K | below 4300 K")
    print(table_row(emulator.errors["pfs_mr"]))
    print(json.dumps(emulator.errors, indent=2))


if __name__ == "__main__":
    main()
