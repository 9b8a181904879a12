"""The two pixels between which a wavelength lies, by the one rule of what a gap is. Interpolates nothing itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from specvit.spectra.grid import WavelengthGrid

#: This share of a step beside a pixel is on it: what stands beyond it does not matter.
ON_PIXEL = 1e-3


class Neighbours(NamedTuple):
    """Where N wavelengths lie among the pixels of a grid.

    right: number of the first pixel that is not to the left, shape (N,); the other neighbour is the one before.
    share: of the way from the left one to the right one, (N,), from 0 to 1 where `inside`.
    inside: whether there is no gap between them, (N,), bool.
    """

    right: np.ndarray
    share: np.ndarray
    inside: np.ndarray


def neighbours(have: WavelengthGrid, want: np.ndarray) -> Neighbours:
    """Return between which pixels of `have` the wavelengths `want` (N,), Å, lie; across a gap lies nothing."""
    centres = have.wavelength
    right = np.clip(np.searchsorted(centres, want), 1, len(centres) - 1)
    share = (want - centres[right - 1]) / (centres[right] - centres[right - 1])
    segment = np.searchsorted([part.start for part in have.segments], np.arange(have.size), side="right")
    bridged = segment[right - 1] == segment[right]
    left_end, right_end = np.abs(share) <= ON_PIXEL, np.abs(share - 1) <= ON_PIXEL
    share = np.where(bridged, share, np.where(right_end, 1.0, np.where(left_end, 0.0, share)))
    within = (want >= centres[0]) & (want <= centres[-1])
    return Neighbours(right, share, within & (bridged | left_end | right_end))
