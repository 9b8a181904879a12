"""What the best templates leave over, in the stars' rest frame: kept of every star, small, and put together for a survey.

One number per bin of wavelength and star, in steps of a thousandth of the flux: a survey's median residual then shows
what the library gets wrong, whatever the stars' velocities.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter

from specvit.errors import DataError
from specvit.spectra import SPEED_OF_LIGHT_KM_S
from specvit.stellar import FittedSpectrum

#: λ/Δλ of the bins; residuals are stored in steps of STEP, those beyond 127 steps as 127, bins without a pixel as EMPTY.
BINS_PER_E, STEP, EMPTY = 4000.0, 1e-3, -128
#: Å over which the level of the flux is a median.
LEVEL_WINDOW = 60.0


@dataclass(frozen=True)
class RestBins:
    """Bins of equal width in ln λ.

    Args:
        start, stop: Å in vacuum.
    """

    start: float
    stop: float

    @property
    def count(self) -> int:
        """How many there are."""
        return int(np.log(self.stop / self.start) * BINS_PER_E)

    @property
    def centres(self) -> np.ndarray:
        """Å in vacuum, shape (count,)."""
        centres: np.ndarray = self.start * np.exp((np.arange(self.count) + 0.5) / BINS_PER_E)
        return centres

    def residual(self, fitted: FittedSpectrum, velocity: float) -> np.ndarray:
        """Return the mean residual in each bin, relative to the local flux, int8 in units of `STEP`, shape (count,).

        Args:
            fitted: pixels of one star.
            velocity: of the star, km/s, in the frame of its wavelengths.
        """
        # A network gives no model.
        used = np.isfinite(fitted.sigma) & np.isfinite(fitted.model)
        if not used.any():
            return np.full(self.count, EMPTY, np.int8)
        rest = fitted.wavelength[used] / (1 + velocity / SPEED_OF_LIGHT_KM_S)
        size = max(3, int(LEVEL_WINDOW / float(np.median(np.diff(fitted.wavelength)))))
        model = fitted.model
        level = np.maximum(np.abs(median_filter(model, min(size, model.size), mode="nearest")), 0.1)
        off = ((fitted.flux - model) / level)[used]
        at = np.floor(np.log(rest / self.start) * BINS_PER_E).astype(int)
        inside = (at >= 0) & (at < self.count)
        number = np.bincount(at[inside], minlength=self.count)
        total = np.bincount(at[inside], off[inside], self.count)
        mean = total / np.maximum(number, 1) / STEP
        return np.where(number > 0, np.clip(np.rint(mean), -127, 127), EMPTY).astype(np.int8)


def packed(residual: np.ndarray) -> str:
    """Return a residual as text."""
    return base64.b64encode(zlib.compress(residual.tobytes())).decode()


def unpacked(text: str) -> np.ndarray:
    """Return the residual of a text, int8; DataError if it is none."""
    try:
        return np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), np.int8)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise DataError(f"a residual is damaged ({error}); delete the parts of this table") from error


class SurveyResidual:
    """The distribution of the residuals of many stars in every bin; its size does not depend on their number.

    Args:
        bins: of wavelength.
    """

    def __init__(self, bins: RestBins) -> None:
        self.bins, self.stars = bins, 0
        self._counts = np.zeros((bins.count, 255), np.int64)

    def add(self, residual: np.ndarray) -> None:
        """Add one star's, shape (count,), int8."""
        there = np.flatnonzero(residual != EMPTY)
        self._counts[there, residual[there].astype(int) + 127] += 1
        self.stars += 1

    @property
    def counts(self) -> np.ndarray:
        """How many stars are in every bin, shape (count,)."""
        counts: np.ndarray = self._counts.sum(1)
        return counts

    def quantile(self, share: float) -> np.ndarray:
        """Return the quantile of the stars' residuals per bin, relative to the flux; NaN where no star is."""
        total = self.counts
        reached = self._counts.cumsum(1) >= np.maximum(share * total, 0.5)[:, None]
        return np.where(total > 0, (reached.argmax(1) - 127) * STEP, np.nan)
