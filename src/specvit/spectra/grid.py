"""Wavelength grids: where the pixels are. Owns edges and medium; knows nothing of flux or instruments."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np

from specvit.errors import WavelengthRangeError

#: Exact, by the definition of the metre.
SPEED_OF_LIGHT_KM_S = 299_792.458

#: A step this much wider than the steps about it is a gap: one missing pixel makes 2, and steps that change from
#: one detector to the next, or are rounded to two decimals, stay below.
GAP = 1.75
#: Steps on either side whose median a step is compared with: several gaps may lie close together.
STEPS_ABOUT = 4

#: Segments told one by one.
LISTED = 4


#: Edges that follow from the centres to this share of a pixel are not stored.
STORED_EDGES = 1e-3


@dataclass(frozen=True, eq=False)
class WavelengthGrid:
    """Pixel centres in Å, strictly increasing within an arm, with the medium they are measured in.

    A grid falls into segments, between which no pixel spans the gap: at every step that is more than `GAP` times
    the median of the four steps before it and of the four after it, and where a further arm begins.

    Args:
        wavelength: pixel centres, shape (pixels,), Å, stored as float64.
        medium: "vacuum" (the house medium) or "air".
        arms: first pixels of the second and further arms, which may overlap those before them.
        bounds: lower and upper edge of every pixel, shape (2, pixels), Å, where they are known; None: midpoints
            between the centres of a segment, end pixels symmetric.

    Raises:
        WavelengthRangeError: if the values are not finite, positive and strictly increasing in each arm, or fewer
            than 2; if arms do not begin inside the grid; if a centre lies outside its bounds.
    """

    wavelength: np.ndarray
    medium: Literal["vacuum", "air"] = "vacuum"
    arms: tuple[int, ...] = ()
    bounds: np.ndarray | None = None

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
        arms = tuple(int(first) for first in self.arms)
        if any(b <= a for a, b in zip((0, *arms), (*arms, wavelength.size), strict=True)):
            raise WavelengthRangeError(
                f"wavelength: arms begin at pixels {arms}; expected them to increase, from 1 to {wavelength.size - 1}"
            )
        falls = np.diff(wavelength) <= 0
        falls[np.array(arms, dtype=int) - 1] = False
        if falls.any():
            first = int(np.argmax(falls))
            raise WavelengthRangeError(
                f"wavelength: does not increase at pixel {first + 1} "
                f"({wavelength[first]:.4f} then {wavelength[first + 1]:.4f} Å); sort the spectrum first"
            )
        # Everything on a grid shares these arrays: nobody may change them for the others.
        wavelength.flags.writeable = False
        object.__setattr__(self, "wavelength", wavelength)
        object.__setattr__(self, "arms", arms)
        if self.bounds is not None:
            object.__setattr__(self, "bounds", _checked_bounds(self.bounds, wavelength, arms))

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
        """Smallest pixel centre, Å."""
        return float(self.wavelength.min())

    @property
    def stop(self) -> float:
        """Largest pixel centre, Å."""
        return float(self.wavelength.max())

    @cached_property
    def segments(self) -> tuple[slice, ...]:
        """The pixels of each piece without a gap; see the class for where one ends."""
        if self.bounds is not None:
            lower, upper = self.bounds
            # Rounding of the edges of two neighbours is no gap.
            breaks = np.abs(lower[1:] - upper[:-1]) > 0.01 * (upper - lower)[1:]
        else:
            breaks = _gaps(np.diff(self.wavelength))
        breaks[np.array(self.arms, dtype=int) - 1] = True
        first = [0, *(np.flatnonzero(breaks) + 1).tolist(), self.size]
        return tuple(slice(a, b) for a, b in pairwise(first))

    @property
    def arm_pixels(self) -> tuple[slice, ...]:
        """The pixels of each arm."""
        return tuple(slice(a, b) for a, b in pairwise((0, *self.arms, self.size)))

    @cached_property
    def lower(self) -> np.ndarray:
        """Lower edge of every pixel, shape (pixels,), Å."""
        lower: np.ndarray = self._bounds[0]
        return lower

    @cached_property
    def upper(self) -> np.ndarray:
        """Upper edge of every pixel, shape (pixels,), Å: the lower one of the next, unless a segment ends."""
        upper: np.ndarray = self._bounds[1]
        return upper

    @cached_property
    def width(self) -> np.ndarray:
        """Widths of the pixels, shape (pixels,), Å."""
        width: np.ndarray = self.upper - self.lower
        width.flags.writeable = False
        return width

    def edges(self, segment: slice) -> np.ndarray:
        """Return the edges of the pixels of one of `segments`, shape (its pixels + 1,), Å."""
        return np.append(self.lower[segment], self.upper[segment][-1])

    @cached_property
    def _bounds(self) -> np.ndarray:
        if self.bounds is not None:
            return self.bounds
        bounds = np.empty((2, self.size))
        for segment in self.segments:
            edges = _midpoints(self.wavelength[segment], self._step_near(segment))
            bounds[0, segment], bounds[1, segment] = edges[:-1], edges[1:]
        for first in (segment.start for segment in self.segments[1:] if segment.start not in self.arms):
            # Where steps are erratic a pixel could reach into the next segment.
            middle = 0.5 * (self.wavelength[first - 1] + self.wavelength[first])
            bounds[1, first - 1], bounds[0, first] = (
                min(bounds[1, first - 1], middle),
                max(bounds[0, first], middle),
            )
        bounds.flags.writeable = False
        return bounds

    def _step_near(self, segment: slice) -> float:
        """Return the width of a pixel that has no neighbour: the median step about it."""
        step = np.diff(self.wavelength)
        about = step[max(segment.start - STEPS_ABOUT - 1, 0) : segment.stop + STEPS_ABOUT]
        return float(np.median(about[about > 0]))

    def take(self, pixels: np.ndarray) -> WavelengthGrid:
        """Return the grid of the pixels where the mask `pixels` (L,) is true; they keep their edges."""
        arm = np.searchsorted(self.arms, np.arange(self.size), side="right")[pixels]
        arms = tuple((np.flatnonzero(np.diff(arm)) + 1).tolist())
        return WavelengthGrid(
            self.wavelength[pixels], self.medium, arms, np.stack([self.lower[pixels], self.upper[pixels]])
        )

    @classmethod
    def joined(
        cls,
        wavelength: np.ndarray,
        medium: Literal["vacuum", "air"] = "vacuum",
        beside: Mapping[str, np.ndarray] | None = None,
    ) -> WavelengthGrid:
        """Return the grid that specvit itself has stored.

        Args:
            wavelength: the centres; where they fall, a further arm begins.
            medium: theirs.
            beside: what was stored of it beside them, see `beside_centres`.
        """
        values = np.asarray(wavelength)
        falls = np.flatnonzero(np.diff(values) <= 0) + 1 if values.ndim == 1 else np.array((), dtype=int)
        arms, bounds = (falls, None) if not beside else (beside["arms"], beside["pixel_bounds"])
        return cls(values, medium, tuple(int(first) for first in arms), bounds)

    def beside_centres(self) -> dict[str, np.ndarray]:
        """Return what does not follow from the centres, to be stored beside them; nothing for most grids.

        `pixel_bounds`, shape (2, pixels), Å: edges by table, or of what was cut; `arms`, int64: where an arm begins.
        """
        plain = WavelengthGrid.joined(self.wavelength, self.medium)
        near = np.abs(plain._bounds - self._bounds) <= STORED_EDGES * self.width
        if plain.arms == self.arms and bool(near.all()):
            return {}
        return {"pixel_bounds": self._bounds.copy(), "arms": np.array(self.arms, dtype=np.int64)}

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
        """Return whether the pixels span [start, stop] Å without a gap, edges included."""
        return any(self.lower[s][0] <= start and self.upper[s][-1] >= stop for s in self.segments)

    def describe(self) -> str:
        """Return e.g. '4096 pixels, 7100.21-8849.79 Å (vacuum)'; segments are told if there are several."""
        spans = [self.wavelength[segment][[0, -1]] for segment in self.segments]
        pieces = f" in {len(spans)} segments" if len(spans) > 1 else ""
        if 1 < len(spans) <= LISTED:
            pieces += f" ({', '.join(f'{low:.2f}-{high:.2f}' for low, high in spans)})"
        return f"{self.size} pixels, {self.start:.2f}-{self.stop:.2f} Å{pieces} ({self.medium})"


def _gaps(step: np.ndarray) -> np.ndarray:
    """Return at which steps (L - 1,) a segment ends, see `GAP`."""
    size = step.size
    if size < 2:
        return np.zeros(size, bool)
    padded = np.pad(np.where(step > 0, step, np.nan), STEPS_ABOUT, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, STEPS_ABOUT)
    before, after = windows[:size], windows[STEPS_ABOUT + 1 :]
    # Where a side has no steps, the other one decides.
    about = np.fmax(_median(before), _median(after))
    gaps: np.ndarray = step > GAP * np.where(np.isnan(about), np.inf, about)
    return gaps


def _median(windows: np.ndarray) -> np.ndarray:
    """Return the median of each row, NaN left out; NaN for a row of NaN."""
    known = ~np.isnan(windows)
    count = known.sum(axis=1)
    ordered = np.sort(windows, axis=1)
    rows = np.arange(len(windows))
    middle = 0.5 * (ordered[rows, (count - 1).clip(0) // 2] + ordered[rows, count // 2])
    return np.where(count > 0, middle, np.nan)


def _midpoints(centres: np.ndarray, alone: float) -> np.ndarray:
    """Return the edges about neighbouring centres, shape (L + 1,); a single pixel is `alone` Å wide."""
    if centres.size == 1:
        return np.array([centres[0] - 0.5 * alone, centres[0] + 0.5 * alone])
    middle = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def _checked_bounds(bounds: np.ndarray, centres: np.ndarray, arms: Sequence[int]) -> np.ndarray:
    bounds = np.array(bounds, dtype=np.float64)
    if bounds.shape != (2, centres.size):
        raise WavelengthRangeError(
            f"edges: expected a lower and an upper one of {centres.size} pixels, got shape {bounds.shape}"
        )
    outside = ~((bounds[0] < centres) & (centres < bounds[1]))
    if outside.any():
        at = int(np.argmax(outside))
        raise WavelengthRangeError(
            f"edges: pixel {at} has its centre {centres[at]:.4f} Å outside its edges "
            f"{bounds[0, at]:.4f}-{bounds[1, at]:.4f} Å"
        )
    overlap = bounds[0, 1:] < bounds[1, :-1] - 0.01 * (bounds[1] - bounds[0])[1:]
    overlap[np.array(arms, dtype=int) - 1] = False
    if overlap.any():
        at = int(np.argmax(overlap)) + 1
        raise WavelengthRangeError(
            f"edges: pixel {at} begins at {bounds[0, at]:.4f} Å, before pixel {at - 1} ends "
            f"({bounds[1, at - 1]:.4f} Å)"
        )
    bounds.flags.writeable = False
    return bounds
