"""Synthetic spectral libraries and the emulator: noiseless spectra as a function of the labels."""

from specvit.library.builtin import load_builtin
from specvit.library.coverage import CoveredCells
from specvit.library.derivative import batched_jacobian
from specvit.library.emulator import Emulator
from specvit.library.emulator_fit import FitSettings, fit_emulator
from specvit.library.synthetic_library import SyntheticLibrary

__all__ = [
    "CoveredCells",
    "Emulator",
    "FitSettings",
    "SyntheticLibrary",
    "batched_jacobian",
    "fit_emulator",
    "load_builtin",
]
