"""Curves over the pixels of a spectrograph, broken where there is none."""

from __future__ import annotations

import numpy as np

from specvit.spectra import WavelengthGrid


def broken_at_gaps(wavelength: np.ndarray, *curves: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return wavelengths (L,) and curves (L,) with a NaN between two segments: no line is drawn from one to the next.

    Values that are not finite, as of dead pixels, are not drawn either.
    """
    breaks = [segment.start for segment in WavelengthGrid.joined(wavelength).segments[1:]]
    known = (np.where(np.isfinite(values), values, np.nan) for values in (wavelength, *curves))
    return tuple(np.insert(values.astype(float), breaks, np.nan) for values in known)
