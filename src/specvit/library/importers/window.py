"""What an import keeps: a wavelength window and a resolution, and how a source spectrum is brought there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.interpolate import CubicSpline

from specvit.errors import ConfigError, WavelengthRangeError
from specvit.spectra import SPEED_OF_LIGHT_KM_S, WavelengthGrid
from specvit.spectra.resample import KERNEL_REACH, smooth

#: Pixels per FWHM of an imported library, as in the built-in one (6 km/s at R = 20000).
PIXELS_PER_FWHM = 2.5

#: More pixels than this are a mistyped resolution: all of BOSZ, 500 Å to 32 µm at R = 300 000, has 5 million.
MOST_PIXELS = 10_000_000

#: Continuum is kept at every 64th pixel: it is smooth on that scale except at the Paschen jump (8204 Å).
CONTINUUM_STRIDE = 64


@dataclass(frozen=True)
class LibraryWindow:
    """Wavelength range in Å (vacuum) and resolution λ/FWHM of the library to make.

    Raises:
        ConfigError: if the range is empty, the resolution not positive, or both make too few or too many pixels.
    """

    start: float = 7000.0
    stop: float = 8950.0
    resolution: float = 20_000.0

    def __post_init__(self) -> None:
        got = f"got {self.start:g}-{self.stop:g} Å at R = {self.resolution:g}"
        if not 0 < self.start < self.stop < np.inf or not 0 < self.resolution < np.inf:
            raise ConfigError(f"window: expected 0 < start < stop and a positive resolution, {got}")
        pixels = np.log(self.stop / self.start) * PIXELS_PER_FWHM * self.resolution
        if not 1 <= pixels <= MOST_PIXELS:
            raise ConfigError(f"window: expected 2 to {MOST_PIXELS:,} pixels (2.5 per FWHM), {got}")

    @cached_property
    def grid(self) -> WavelengthGrid:
        """Log-λ vacuum grid with 2.5 pixels per FWHM."""
        step = 1.0 / (PIXELS_PER_FWHM * self.resolution)
        size = int(np.floor(np.log(self.stop / self.start) / step)) + 1
        return WavelengthGrid.log(self.start, step * SPEED_OF_LIGHT_KM_S, size)

    @property
    def continuum_wavelength(self) -> np.ndarray:
        """Nodes of the stored continuum, Å."""
        nodes = np.unique(np.append(np.arange(0, self.grid.size, CONTINUUM_STRIDE), self.grid.size - 1))
        wavelength: np.ndarray = self.grid.wavelength[nodes]
        return wavelength

    @property
    def needed(self) -> tuple[float, float]:
        """Range a source must cover, Å (vacuum): the window and a margin for the smoothing kernel."""
        margin = KERNEL_REACH / self.resolution
        return self.grid.start * (1 - margin), self.grid.stop * (1 + margin)


class Transfer:
    """Brings spectra of one source grid to the window's grid and resolution.

    Args:
        wavelength: source samples, Å (vacuum), increasing.
        resolution: λ/FWHM of the source.
        window: what is wanted.
        reach: range of the whole source, Å (vacuum), if `wavelength` is a part of it.

    Raises:
        WavelengthRangeError: if the source does not cover the window, or is not sharp enough.
    """

    def __init__(
        self,
        wavelength: np.ndarray,
        resolution: float,
        window: LibraryWindow,
        reach: tuple[float, float] | None = None,
    ) -> None:
        self.source = WavelengthGrid(wavelength)
        self.resolution, self.window = resolution, window
        low, high = window.needed
        if self.source.start > low or self.source.stop < high:
            start, stop = reach or (self.source.start, self.source.stop)
            margin = KERNEL_REACH / window.resolution
            first, last = np.ceil(start / (1 - margin) * 10) / 10, np.floor(stop / (1 + margin) * 10) / 10
            mend = f"choose one inside {first:.1f}-{last:.1f} Å (--start, --stop)"
            raise WavelengthRangeError(
                f"the spectrum covers {start:.1f}-{stop:.1f} Å (vacuum), this window needs {low:.1f}-{high:.1f} Å; "
                + (mend if first < last else "the spectrum is too short for any window at this resolution")
            )
        if resolution < window.resolution * (1 - 1e-9):
            raise WavelengthRangeError(
                f"the spectrum has R = {resolution:g} and cannot be sharpened to R = {window.resolution:g}; "
                f"ask for a resolution of at most {resolution:g}"
            )

    def flux(self, flux: np.ndarray) -> np.ndarray:
        """Return the spectrum (L_in,) on the window's grid, float32, in its own unit."""
        lowered = smooth(flux, self.source, self.resolution, min(self.window.resolution, self.resolution))
        # Point values, not pixel averages: averaging over 2.5 pixels per FWHM would lower R by another 4 %.
        values: np.ndarray = CubicSpline(self.source.wavelength, lowered)(self.window.grid.wavelength)
        return values.astype(np.float32)

    def continuum(self, continuum: np.ndarray) -> np.ndarray:
        """Return the continuum (L_in,) at the window's continuum nodes, float32."""
        nodes = self.window.continuum_wavelength
        values: np.ndarray = np.interp(nodes, self.source.wavelength, continuum)
        return values.astype(np.float32)
