"""`RestFrame`: spectra as a network sees them, on fixed pixels in the star's rest frame, over their continuum.

Spectra of a setup come on pixels of their own, at any velocity and under any smooth curve. All of that is taken out here,
in the same way from spectra that are simulated for a training and from those that were observed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.polynomial import chebyshev
from torch import Tensor

from specvit.amortised.setup import Setup, shift
from specvit.spectra import WavelengthGrid
from specvit.stellar.pixels import CALCIUM
from specvit.stellar.settings import StarFitSettings

#: Å at both ends of the pixels, and of the windows that are left out, where a star's velocity decides what is seen.
ENDS_LEFT, WINDOW_LEFT = 8.0, 8.0
#: A pixel is not interpolated across a step that is this much wider than the usual one: a gap.
GAP = 1.75
#: Least continuum, as a share of the median flux: division by less would give numbers of any size.
LEAST_CONTINUUM = 0.05


class RestSpectra(NamedTuple):
    """N spectra in the rest frame, float32; dead pixels have a flux of 0 and infinite sigma.

    flux: over the continuum, shape (N, M).
    sigma: of the noise and of what the library gets wrong, same unit, shape (N, M).
    continuum: in units of the flux that was given, shape (N, M).
    """

    flux: Tensor
    sigma: Tensor
    continuum: Tensor


def median_of(values: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """Return the medians of the pixels of each row that are alive, shape (N,); 0 where none is."""
    # What is dead goes to the end, all of it, and the middle of the rest is looked up.
    ordered = np.sort(np.where(alive, values, np.inf).astype(np.float32), axis=1)
    count = alive.sum(1)
    found: np.ndarray = np.take_along_axis(ordered, (count // 2).clip(0, values.shape[1] - 1)[:, None], 1)[
        :, 0
    ]
    return np.where(count > 0, found, 0.0)


class RestFrame:
    """The fixed pixels of a setup.

    Args:
        setup: whose spectra they are for.
        settings: of the fit: orders of the continuum, model errors.
        flat: whether spectra are divided by their continuum; without it, by their median (for comparisons).
    """

    def __init__(self, setup: Setup, settings: StarFitSettings, flat: bool = True) -> None:
        self.setup, self.settings = setup, settings
        first, last = np.log(setup.start + ENDS_LEFT), np.log(setup.stop - ENDS_LEFT)
        middle = 0.5 * (setup.start + setup.stop)
        #: ln λ from one pixel to the next: that of the spectrograph in the middle.
        self.step = 0.5 * sum(setup.steps) / middle
        whole = np.exp(np.arange(first, last, self.step))
        #: ln λ of all pixels, gaps included: what velocities are found on.
        self.whole = np.log(whole)
        #: Which of these the network sees.
        self.kept = np.ones(whole.size, bool)
        for low, high in setup.windows:
            self.kept &= ~((whole > low + WINDOW_LEFT) & (whole < high - WINDOW_LEFT))
        self.grid = WavelengthGrid(whole[self.kept])
        order = settings.order_for(setup.stop - setup.start) if flat else 0
        at = 2 * (self.whole - self.whole[0]) / (self.whole[-1] - self.whole[0]) - 1
        self.columns = chebyshev.chebvander(at, order)
        rows, columns = np.tril_indices(order + 1)
        self._pairs = (self.columns[:, rows] * self.columns[:, columns]).astype(np.float32)
        self._rows, self._columns = rows, columns
        error = np.full(whole.size, settings.flat_error)
        core = np.min([np.abs(whole - line) for line in CALCIUM], axis=0) < settings.core_width
        #: What the library gets wrong, relative to the flux, per pixel.
        self.error = np.where(core, np.hypot(error, settings.core_error), error).astype(np.float32)

    def see(
        self, log_pixels: np.ndarray, flux: np.ndarray, sigma: np.ndarray, velocity: np.ndarray
    ) -> RestSpectra:
        """Return spectra on the pixels of the network.

        Args:
            log_pixels: ln λ of the pixels of all N spectra, shape (L,).
            flux, sigma: shape (N, L), any unit; `inf` marks a dead pixel.
            velocity: km/s, that is taken out, shape (N,).
        """
        flat = self.flattened(*self.resampled(log_pixels, flux, sigma, velocity))
        return RestSpectra(*(torch.from_numpy(part[:, self.kept]) for part in flat))

    def resampled(
        self, log_pixels: np.ndarray, flux: np.ndarray, sigma: np.ndarray, velocity: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return flux and sigma on all pixels of the rest frame, gaps included, shapes (N, W), float32.

        Sigma is interpolated like the flux, not reduced: neighbours share their noise, and what a line as wide as a few
        pixels says then is what it said before.
        """
        # Needs Numba, which asking for help does not.
        from specvit.amortised.compiled import resample_rows

        steps = np.diff(log_pixels)
        bridged = steps < GAP * np.median(steps)
        seen, error = np.empty((2, len(flux), self.whole.size), np.float32)
        resample_rows(self.whole, shift(velocity), log_pixels, bridged, flux, sigma, seen, error)
        return seen, error

    def flattened(self, flux: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return flux, sigma with the model error, and continuum of resampled spectra (N, W), float32.

        The continuum is the polynomial that is nearest to the spectrum itself, lines and all.
        """
        alive = np.isfinite(sigma)
        unit = median_of(flux, alive)
        unit = np.where(unit > 0, unit, 1.0)[:, None].astype(np.float32)
        flux = flux / unit
        noise = np.where(alive, sigma / unit, 1.0).astype(np.float32)
        weight = np.where(alive, 1 / (noise**2 + self.error**2), 0.0).astype(np.float32)
        count = self.columns.shape[1]
        normal = np.zeros((len(flux), count, count))
        normal[:, self._rows, self._columns] = weight @ self._pairs
        normal[:, self._columns, self._rows] = normal[:, self._rows, self._columns]
        diagonal = np.einsum("nii->ni", normal)
        # Where a stretch is missing, what a polynomial does in it is nobody's business, but must be finite.
        diagonal += 1e-6 * diagonal[:, :1] + 1e-12
        right = (weight * flux) @ self.columns.astype(np.float32)
        solved = np.linalg.solve(normal, right[..., None])[..., 0]
        continuum = np.maximum((solved @ self.columns.T).astype(np.float32), LEAST_CONTINUUM)
        error = np.where(alive, np.hypot(noise / continuum, self.error), np.inf).astype(np.float32)
        return np.where(alive, flux / continuum, 0.0).astype(np.float32), error, continuum * unit
