"""Synthetic spectral libraries and the emulator: noiseless spectra as a function of the labels."""

from specvit.library.builtin import load_builtin
from specvit.library.emulator import Emulator
from specvit.library.synthetic_library import SyntheticLibrary

__all__ = ["Emulator", "SyntheticLibrary", "load_builtin"]
