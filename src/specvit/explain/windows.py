"""Windows around the features one asks about: every pixel belongs to one of a few named groups."""

from __future__ import annotations

import numpy as np

from specvit.spectra import WavelengthGrid
from specvit.spectra.lines import FEATURES, Feature

#: Half width, Å, of the window around each line of a group: the core and the inner wings at a resolution of
#: 5000. (Ca II has damping wings beyond it in dwarfs.)
HALF_WIDTH = {"Ca II": 12.0, "Na I": 8.0, "Mg I": 5.0, "Fe I": 4.0, "Paschen": 6.0, "other lines": 4.0}

#: Å from a TiO head to the red that count as its band: where most of the opacity of a head lies.
BAND_WIDTH = 60.0

#: All groups, in order of precedence: a pixel in two windows belongs to the first. Paschen 13, 15 and 16 are
#: blended with the Ca II triplet and count there.
WINDOWS = (*HALF_WIDTH, "TiO", "elsewhere")


def group_of(feature: Feature) -> str:
    """Return the group of a feature, one of `WINDOWS`."""
    if feature.kind == "band":
        return "TiO"
    if feature.kind == "hydrogen":
        return "Paschen"
    return feature.name if feature.name in HALF_WIDTH else "other lines"


def window_of_pixels(grid: WavelengthGrid) -> np.ndarray:
    """Return the place in `WINDOWS` of the group that each pixel centre belongs to, shape (L,), int."""
    windows = np.full(grid.size, WINDOWS.index("elsewhere"))
    # From the last to the first, so that groups of higher precedence overwrite.
    for number in reversed(range(len(WINDOWS) - 1)):
        for feature in FEATURES:
            if group_of(feature) == WINDOWS[number]:
                start, stop = _extent(feature)
                windows[(grid.wavelength >= start) & (grid.wavelength <= stop)] = number
    return windows


def _extent(feature: Feature) -> tuple[float, float]:
    if feature.kind == "band":
        return feature.wavelength, feature.wavelength + BAND_WIDTH
    half = HALF_WIDTH[group_of(feature)]
    return feature.wavelength - half, feature.wavelength + half
