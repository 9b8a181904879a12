"""`Setup`: what spectra of one spectrograph have in common, in round numbers, found from any of them.

Round, because networks are kept by it: the next night's spectra of the same spectrograph are to find the network that
was trained for the first one's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from specvit.spectra import SPEED_OF_LIGHT_KM_S
from specvit.stellar.pixels import FitPixels
from specvit.stellar.settings import TELLURIC, StarFitSettings

#: Å to which the ends are rounded, and within which they are taken for round; ratios of steps and line widths.
ENDS, NEARLY, STEP_RATIO, FWHM_RATIO = 10.0, 2.0, 1.03, 1.05
#: How far from the round numbers a spectrum of the same spectrograph may be: Å at the ends, ratios.
OFF_ENDS, OFF_RATIO = 30.0, 1.09


@dataclass(frozen=True)
class Setup:
    """Pixels and resolution of a spectrograph, within the range of the library.

    Args:
        start, stop: Å in vacuum, of the first and the last pixel.
        steps: Å per pixel at both ends.
        fwhm: Å, of the line-spread function at both ends.
        windows: that are left out of every spectrum, Å in vacuum in the telescope's frame.
        guessed: whether the resolution had to be assumed.
    """

    start: float
    stop: float
    steps: tuple[float, float]
    fwhm: tuple[float, float]
    windows: tuple[tuple[float, float], ...]
    guessed: bool

    @classmethod
    def of(cls, pixels: FitPixels, settings: StarFitSettings) -> Setup:
        """Return the setup of one spectrum."""
        wavelength = pixels.wavelength
        first, last = _ends(np.gradient(wavelength))
        sharp, blunt = _ends(pixels.fwhm)
        return cls(
            # Inwards, but for what is round within a pixel or two.
            float(np.ceil((wavelength[0] - NEARLY) / ENDS) * ENDS),
            float(np.floor((wavelength[-1] + NEARLY) / ENDS) * ENDS),
            (_round(first, STEP_RATIO), _round(last, STEP_RATIO)),
            (_round(sharp, FWHM_RATIO), _round(blunt, FWHM_RATIO)),
            _windows(pixels, settings),
            "resolution" in pixels.spectrum.assumed,
        )

    def has(self, pixels: FitPixels, settings: StarFitSettings) -> bool:
        """Return whether a spectrum is one of this setup; what it lacks at the ends or in between is dead."""
        wavelength = pixels.wavelength
        ours = (*self.steps, *self.fwhm)
        theirs = (*_ends(np.gradient(wavelength)), *_ends(pixels.fwhm))
        return (
            abs(wavelength[0] - self.start) < OFF_ENDS
            and abs(wavelength[-1] - self.stop) < OFF_ENDS
            and all(abs(np.log(a / b)) < np.log(OFF_RATIO) for a, b in zip(ours, theirs, strict=True))
            and self.windows == _windows(pixels, settings)
            and self.guessed == ("resolution" in pixels.spectrum.assumed)
        )

    @property
    def wavelength(self) -> np.ndarray:
        """Pixels from `start` to `stop` whose step changes evenly, shape (L,), Å."""
        first, last = self.steps
        count = int(2 * (self.stop - self.start) / (first + last)) + 1
        steps = np.linspace(first, last, count - 1)
        found: np.ndarray = self.start + np.concatenate([[0.0], np.cumsum(steps)])
        return found

    def fwhm_at(self, wavelength: np.ndarray) -> np.ndarray:
        """Return the FWHM of the line-spread function at wavelengths, Å."""
        found: np.ndarray = np.interp(wavelength, (self.start, self.stop), self.fwhm)
        return found

    @property
    def resolution(self) -> float:
        """λ/FWHM in the middle."""
        middle = 0.5 * (self.start + self.stop)
        return float(middle / self.fwhm_at(np.array(middle)))

    def describe(self) -> str:
        """Return one line for people."""
        air = ", without the windows of the air" if self.windows else ""
        return f"{self.start:.0f}-{self.stop:.0f} Å at R = {self.resolution:.0f}{air}"

    def to_dict(self) -> dict[str, Any]:
        """Return what networks are kept by, JSON-ready."""
        return {
            "start": self.start,
            "stop": self.stop,
            "steps": list(self.steps),
            "fwhm": list(self.fwhm),
            "windows": [list(window) for window in self.windows],
            "guessed": self.guessed,
        }


#: Pixels, their FWHM, whether there is air above, and whether the resolution is a guess.
SameSetup = tuple[bytes, bytes, bool, bool]


def grouped(
    pixels: Iterable[FitPixels], settings: StarFitSettings, known: list[Setup]
) -> list[tuple[Setup, list[int]]]:
    """Return setups and the numbers of their spectra; those that are not yet in `known` are added to it."""
    members: dict[int, list[int]] = {}
    # Spectra of a survey share their pixels; what a setup is known by is told once of these.
    same: dict[SameSetup, int] = {}
    for number, one in enumerate(pixels):
        key = _key(one)
        if key in same:
            members.setdefault(same[key], []).append(number)
            continue
        at = next((k for k, setup in enumerate(known) if setup.has(one, settings)), len(known))
        if at == len(known):
            known.append(Setup.of(one, settings))
        same[key] = at
        members.setdefault(at, []).append(number)
    return [(known[at], rows) for at, rows in members.items()]


def shift(velocity: np.ndarray) -> np.ndarray:
    """Return ln(1 + v / c) for velocities in km/s."""
    found: np.ndarray = np.log1p(velocity / SPEED_OF_LIGHT_KM_S)
    return found


def _ends(values: np.ndarray) -> tuple[float, float]:
    """Return the medians of the first and the last tenth."""
    tenth = max(3, values.size // 10)
    return float(np.median(values[:tenth])), float(np.median(values[-tenth:]))


def _round(value: float, ratio: float) -> float:
    """Return the nearest of the numbers that are a `ratio` apart."""
    return float(f"{ratio ** round(np.log(value) / np.log(ratio)):.5g}")


def _key(pixels: FitPixels) -> SameSetup:
    """Return what two spectra share that are of one setup without a doubt."""
    spectrum = pixels.spectrum
    assumed = "resolution" in spectrum.assumed
    return pixels.wavelength.tobytes(), pixels.fwhm.tobytes(), spectrum.ground, assumed


def _windows(pixels: FitPixels, settings: StarFitSettings) -> tuple[tuple[float, float], ...]:
    in_air = TELLURIC if settings.telluric and pixels.spectrum.ground else ()
    return tuple(sorted((*settings.masks, *in_air)))
