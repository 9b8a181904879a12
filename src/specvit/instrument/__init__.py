"""Spectrographs: pixel grid, line-spread function, photometric band, observing conditions and noise.

A spectrograph is one TOML file (see docs/instrument.md). Owns no stars and draws no noise (`simulate` does).
"""

from specvit.instrument.description import instrument_names
from specvit.instrument.instrument import Instrument
from specvit.instrument.noise import NoiseTerms
from specvit.instrument.observed import ObservedEmulator

__all__ = ["Instrument", "NoiseTerms", "ObservedEmulator", "instrument_names"]
