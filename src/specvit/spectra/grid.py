"""Wavelength grids: where the pixels are. Owns edges and medium; knows nothing of flux or instruments."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from specvit.errors import WavelengthRangeError

#: Exact, by the definition of the metre.
SPEED_OF_LIGHT_KM_S = 299_792.458


@dataclass(frozen=True, eq=False)
class WavelengthGrid:
    """Pixel centres in Å, strictly increasing, with the medium they are measured in.

    Args:
        wavelength: pixel centres, shape (pixels,), Å, stored as float64.
        medium: "vacuum" (the house medium) or "air".

    Raises:
        WavelengthRangeError: if the values are not finite, positive and strictly increasing, or fewer than 2.
    """

    wavelength: np.ndarray
    medium: Literal["vacuum", "air"] = "vacuum"

    def __post_init__(self) -> None:
        wavelength = np.ascontiguousarray(self.wavelength, dtype=np.float64)
        if wavelength.ndim != 1 or wavelength.size < 2:
            raise WavelengthRangeError(
                f"a wavelength grid needs one axis of at least 2 pixels; got shape {wavelength.shape}"
            )
        bad = ~np.isfinite(wavelength) | (wavelength <= 0)
        if bad.any():
            raise WavelengthRangeError(
                f"wavelength: pixel {int(np.argmax(bad))} is {wavelength[np.argmax(bad)]}; "
                "expected finite, positive Å"
            )
        step = np.diff(wavelength)
        if (step <= 0).any():
            first = int(np.argmax(step <= 0))
            raise WavelengthRangeError(
                f"wavelength: does not increase at pixel {first + 1} "
                f"({wavelength[first]:.4f} then {wavelength[first + 1]:.4f} Å); sort the spectrum first"
            )
        # Everything on a grid shares this array: nobody may change it for the others.
        wavelength.flags.writeable = False
        object.__setattr__(self, "wavelength", wavelength)

    @classmethod
    def linear(cls, start: float, step: float, size: int) -> WavelengthGrid:
        """Return `size` pixels from `start` Å with constant `step` Å."""
        return cls(start + step * np.arange(size))

    @classmethod
    def log(cls, start: float, step_km_s: float, size: int) -> WavelengthGrid:
        """Return `size` pixels from `start` Å with a constant velocity step in km/s."""
        return cls(start * np.exp(step_km_s / SPEED_OF_LIGHT_KM_S * np.arange(size)))

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.wavelength.size

    @property
    def start(self) -> float:
        """Centre of the first pixel, Å."""
        return float(self.wavelength[0])

    @property
    def stop(self) -> float:
        """Centre of the last pixel, Å."""
        return float(self.wavelength[-1])

    @property
    def edges(self) -> np.ndarray:
        """Pixel edges, shape (pixels + 1,), Å: midpoints between centres, end pixels symmetric."""
        w = self.wavelength
        middle = 0.5 * (w[1:] + w[:-1])
        return np.concatenate([[2 * w[0] - middle[0]], middle, [2 * w[-1] - middle[-1]]])

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that identify the grid to 1e-4 Å, for files that must fit together."""
        # Little-endian integers: the same digits on every machine.
        rounded = np.round(self.wavelength * 1e4).astype("<i8").tobytes()
        return hashlib.sha256(self.medium.encode() + rounded).hexdigest()[:16]

    def matches(self, other: WavelengthGrid, tolerance: float = 1e-3) -> bool:
        """Return whether `other` has the same medium and the same centres within `tolerance` Å."""
        return (
            self.medium == other.medium
            and self.size == other.size
            # 1e-3 Å is 0.04 km/s at 8000 Å, far less than a pixel.
            and bool(np.abs(self.wavelength - other.wavelength).max() <= tolerance)
        )

    def check_matches(self, other: WavelengthGrid, what: str) -> None:
        """Raise WavelengthRangeError naming `what` if `other` is not this grid."""
        if not self.matches(other):
            raise WavelengthRangeError(
                f"{what}: expected {self.describe()}, got {other.describe()}; resample to that grid"
            )

    def covers(self, start: float, stop: float) -> bool:
        """Return whether the pixels span [start, stop] Å, edges included."""
        edges = self.edges
        return bool(edges[0] <= start and edges[-1] >= stop)

    def describe(self) -> str:
        """Return e.g. '4096 pixels, 7100.21-8849.79 Å (vacuum)'."""
        return f"{self.size} pixels, {self.start:.2f}-{self.stop:.2f} Å ({self.medium})"
