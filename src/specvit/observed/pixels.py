"""Pixels of an observed spectrum: their order, their wavelengths in vacuum, the width of lines on them.

Most spectra of a table have the same ones. What is found of pixels is found without the flux, once for all of these.
Knows no file: what is refused here is told with its source by who asked.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from specvit.errors import DataError
from specvit.numerics import locked, median, remembered
from specvit.spectra import air_to_vacuum

#: FWHM in pixels where nobody says: spectrographs are built to have 2 to 4.
PIXELS_PER_FWHM = 3.0
#: A line-spread function with its pixel is about a pixel wide at least; half of one is a mistake.
FEWEST_PER_FWHM = 0.5


class Order(NamedTuple):
    """Wavelengths that increase, shape (L,), and how they were found.

    there: which of the pixels of the file have one, bool; None: all.
    backwards: whether they decreased.
    notes: what was done.
    """

    wavelength: np.ndarray
    there: np.ndarray | None
    backwards: bool
    notes: tuple[str, ...]

    def of(self, values: np.ndarray) -> np.ndarray:
        """Return the values of the file's pixels in this order."""
        values = values if self.there is None else values[self.there]
        return values[::-1] if self.backwards else values


@remembered
def order_of(wavelength: np.ndarray) -> Order:
    """Return the pixels with a wavelength, in increasing order.

    Raises:
        DataError: for what has no order.
    """
    notes = list[str]()
    there = np.isfinite(wavelength) & (wavelength > 0)
    if not there.any():
        raise DataError("no wavelength is a positive number; choose the column with `--columns`")
    if not there.all():
        notes.append(f"{int((~there).sum())} pixels without a wavelength were left out")
        wavelength = wavelength[there]
    step = np.diff(wavelength)
    backwards = bool(step.size) and bool((step < 0).all())
    if backwards:
        notes.append("wavelengths decrease in the file; the spectrum was reversed")
        wavelength = wavelength[::-1]
    elif (step == 0).any():
        at = int(np.argmax(step == 0))
        raise DataError(
            f"wavelength {wavelength[at]:.4f} Å stands twice (pixels {at} and {at + 1}); "
            "combine or remove the duplicates"
        )
    elif (step < 0).any():
        at = int(np.argmax(step < 0))
        raise DataError(
            f"wavelengths go back at pixel {at + 1} ({wavelength[at]:.3f} then {wavelength[at + 1]:.3f} Å); "
            "sort the spectrum, or merge its orders first"
        )
    return Order(locked(wavelength.copy()), None if there.all() else there, backwards, tuple(notes))


class Pixels(NamedTuple):
    """Wavelengths in vacuum and FWHM, shape (L,), Å; what was taken for granted, in words and as `assumed` has it."""

    wavelength: np.ndarray
    fwhm: np.ndarray
    notes: tuple[str, ...]
    assumed: frozenset[str]


@remembered
def pixels_of(
    wavelength: np.ndarray, in_air: bool, fwhm: np.ndarray | float | None, resolution: float | None
) -> Pixels:
    """Return the pixels in vacuum and their FWHM.

    Args:
        wavelength: increasing, shape (L,), Å.
        in_air: whether these are wavelengths in air.
        fwhm: of the file, shape (L,) or one number, Å; None if it does not say.
        resolution: λ/FWHM, the user's word.

    Raises:
        DataError: if pixels cannot show such lines.
    """
    notes, assumed = list[str](), set[str]()
    if in_air:
        wavelength = np.where(wavelength > 2000, air_to_vacuum(wavelength.clip(2000.5)), wavelength)
    found = _fwhm(fwhm, wavelength, resolution, notes, assumed)
    return Pixels(locked(wavelength.copy()), locked(found), tuple(notes), frozenset(assumed))


def _fwhm(
    found: np.ndarray | float | None,
    wavelength: np.ndarray,
    resolution: float | None,
    notes: list[str],
    assumed: set[str],
) -> np.ndarray:
    """Return the FWHM per pixel, Å."""
    step = np.gradient(wavelength)
    if resolution is not None:
        return _seen_by_pixels(wavelength / resolution, wavelength, step, "--resolution")
    if found is None:
        notes.append(
            f"the resolution is not stated: {PIXELS_PER_FWHM:g} pixels per FWHM assumed "
            f"(R = {np.median(wavelength / (PIXELS_PER_FWHM * step)):.0f}); give it with --resolution"
        )
        assumed.add("resolution")
        # A constant number of Å: a gap between two arms is no wide pixel.
        return np.full(wavelength.size, PIXELS_PER_FWHM * median(step))
    fwhm = np.broadcast_to(np.asarray(found, dtype=np.float64), wavelength.shape).copy()
    good = np.isfinite(fwhm) & (fwhm > 0)
    if not good.any():
        return _fwhm(None, wavelength, None, notes, assumed)
    filled: np.ndarray = np.interp(wavelength, wavelength[good], fwhm[good])
    return _seen_by_pixels(filled, wavelength, step, "the file")


def _seen_by_pixels(fwhm: np.ndarray, wavelength: np.ndarray, step: np.ndarray, whose: str) -> np.ndarray:
    """Return the FWHM if pixels can show it: a pixel widens every line to about itself."""
    pixels = median(fwhm / step)
    if pixels < FEWEST_PER_FWHM:
        stated, most = (float(np.median(wavelength / w)) for w in (fwhm, step))
        raise DataError(
            f"{whose} says R = {stated:.0f}, a FWHM of {pixels:.2g} pixels, but pixels of "
            f"{np.median(step):.3g} Å show no more than R = {most:.0f}; give the right one with --resolution"
        )
    return fwhm
