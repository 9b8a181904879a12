"""Spectra as such: grids, batches, labels, S/N. Knows no survey, no file format and no model."""

from specvit.spectra.air import air_to_vacuum, vacuum_to_air
from specvit.spectra.batch import SpectraBatch, Truth
from specvit.spectra.grid import SPEED_OF_LIGHT_KM_S, WavelengthGrid
from specvit.spectra.labels import LOW_T_BOX, LabelSpace
from specvit.spectra.snr import median_snr
from specvit.spectra.source import (
    Cropped,
    Generated,
    MemorySource,
    RowsOf,
    SpectraSource,
    check_rows,
    collect,
    cropped_identity,
    in_batches,
    take,
)

__all__ = [
    "LOW_T_BOX",
    "SPEED_OF_LIGHT_KM_S",
    "Cropped",
    "Generated",
    "LabelSpace",
    "MemorySource",
    "RowsOf",
    "SpectraBatch",
    "SpectraSource",
    "Truth",
    "WavelengthGrid",
    "air_to_vacuum",
    "check_rows",
    "collect",
    "cropped_identity",
    "in_batches",
    "median_snr",
    "take",
    "vacuum_to_air",
]
