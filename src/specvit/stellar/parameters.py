"""`StellarParameters`: what a fit says of one star, all of it. Owns names and units of the columns that are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from specvit.observed import ObservedSpectrum
from specvit.stellar.systematic import SYSTEMATIC


@dataclass(frozen=True)
class Minimum:
    """One place where χ² has a minimum.

    Args:
        values: label -> value.
        velocity: km/s.
        chi2: of the pixels.
        excess: of χ² plus priors over the best minimum, in units of what the noise makes of 1.
    """

    values: dict[str, float]
    velocity: float
    chi2: float
    excess: float


@dataclass(frozen=True)
class StellarParameters:
    """Labels, errors, goodness of fit and flags of one star.

    Args:
        name, source: of the spectrum.
        labels: label -> best value.
        errors: label -> 1 σ, statistical, model error in it: half the width of the posterior, all minima counted.
        velocity, velocity_error: km/s, in the frame of the file's wavelengths.
        width, width_error: line width over the stated one.
        chi2: per degree of freedom, with the model error in sigma.
        snr: median flux / sigma of the pixels that were fitted.
        pixels: how many were fitted.
        covariance: of the labels, shape (P, P), at the best minimum.
        minima: all that were found, the best first.
        flags: names, see `FLAGS`.
        resolution: λ/FWHM that the fit took.
        medium, frame, form: of the file.
        assumptions: what was taken for granted, in sentences.
        method: what gave the answer: "template", the fit, or the name of a network.
        systematic: label -> 1 σ that stars of known parameters showed to be missing in `errors`.
        calibrated: label -> value on the scale of stars of known parameters, and its total error; see `LabelCalibration`.
    """

    name: str
    source: str
    labels: dict[str, float]
    errors: dict[str, float]
    velocity: float
    velocity_error: float
    width: float
    width_error: float
    chi2: float
    snr: float
    pixels: int
    covariance: np.ndarray
    minima: tuple[Minimum, ...]
    flags: tuple[str, ...]
    resolution: float
    medium: str
    frame: str
    form: str
    assumptions: tuple[str, ...] = ()
    facts: dict[str, str | float] = field(default_factory=dict)
    method: str = "template"
    systematic: Mapping[str, float] = field(default_factory=lambda: dict(SYSTEMATIC))
    calibrated: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def total_errors(self) -> dict[str, float]:
        """label -> 1 σ, statistical and systematic in quadrature."""
        return {
            label: float(np.hypot(error, self.systematic.get(label, 0.0)))
            for label, error in self.errors.items()
        }

    def row(self) -> dict[str, Any]:
        """Return the star as one row of a table: plain numbers and texts."""
        row: dict[str, Any] = {"name": self.name, "file": self.source}
        for label, value in self.labels.items():
            row |= {
                label: value,
                f"{label}_err": self.errors[label],
                f"{label}_total": self.total_errors[label],
            }
        for label, (value, error) in self.calibrated.items():
            row |= {f"{label}_calibrated": value, f"{label}_calibrated_total": error}
        row |= {
            "rv": self.velocity,
            "rv_err": self.velocity_error,
            "width": self.width,
            "chi2": self.chi2,
            "snr": self.snr,
            "pixels": self.pixels,
            "resolution": self.resolution,
            "medium": self.medium,
            "frame": self.frame,
            "format": self.form,
            "method": self.method,
            "flags": " ".join(self.flags),
            "minima": len(self.minima),
            "assumptions": " | ".join(self.assumptions),
        }
        return row

    def record(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        names = list(self.labels)
        return self.row() | {
            "flags": list(self.flags),
            "assumptions": list(self.assumptions),
            "covariance": {"labels": names, "matrix": self.covariance.tolist()},
            "minima": [
                {**m.values, "rv": m.velocity, "chi2": m.chi2, "excess": m.excess} for m in self.minima
            ],
            "header": self.facts,
        }


@dataclass(frozen=True)
class Refusal:
    """A spectrum that was not fitted, and why."""

    name: str
    source: str
    reason: str


@dataclass(frozen=True)
class FittedSpectrum:
    """What a figure of one star shows: pixels of the fit, shape (L,), in units of the median flux.

    Args:
        spectrum: as it was read.
        wavelength: Å in vacuum, frame of the file.
        flux, sigma, model, continuum: σ is the noise's, `inf` where a pixel is left out.
    """

    spectrum: ObservedSpectrum
    wavelength: np.ndarray
    flux: np.ndarray
    sigma: np.ndarray
    model: np.ndarray
    continuum: np.ndarray
