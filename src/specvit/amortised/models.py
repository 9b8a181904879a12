"""The templates that a network's labels stand for, on the pixels of the stars: for pictures, and for what is left over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.polynomial import chebyshev

from specvit.amortised.stars import star_flux
from specvit.stellar.parameters import FittedSpectrum, StellarParameters
from specvit.stellar.pixels import FitPixels
from specvit.stellar.settings import StarFitSettings
from specvit.stellar.templates import WidthTemplates

#: Added to the normal equations, over their largest: columns that no pixel tells apart must not make them singular.
RIDGE = 1e-12


def modelled(
    stars: Sequence[StellarParameters],
    pixels: Sequence[FitPixels],
    templates: WidthTemplates,
    settings: StarFitSettings,
) -> list[FittedSpectrum]:
    """Return the pixels of stars with the templates of their labels, each under the continuum that fits best.

    Labels and velocities are the stars'; nothing but the continuum is fitted. Stars on the same pixels are done together.
    """
    groups: dict[tuple[bytes, bytes], list[int]] = {}
    for row, one in enumerate(pixels):
        groups.setdefault((one.wavelength.tobytes(), one.fwhm.tobytes()), []).append(row)
    found: dict[int, FittedSpectrum] = {}
    for rows in groups.values():
        together = [pixels[row] for row in rows]
        some = _modelled([stars[row] for row in rows], together, templates, settings)
        found |= dict(zip(rows, some, strict=True))
    return [found[row] for row in range(len(pixels))]


def _modelled(
    stars: Sequence[StellarParameters],
    pixels: Sequence[FitPixels],
    templates: WidthTemplates,
    settings: StarFitSettings,
) -> list[FittedSpectrum]:
    """Return the same for N stars on the same L pixels."""
    first = pixels[0]
    labels = np.array([list(star.labels.values()) for star in stars])
    velocity = np.array([star.velocity for star in stars])
    own = np.log(first.fwhm / first.wavelength * templates.resolution)
    template = star_flux(
        templates, labels, velocity, np.log(first.wavelength), np.broadcast_to(own, (len(stars), own.size))
    ).astype(np.float64)
    found = []
    flux, sigma = np.stack([one.flux for one in pixels]), np.stack([one.sigma for one in pixels])
    error = np.hypot(sigma, settings.flat_error * np.stack([one.level for one in pixels]))
    weight = np.where(np.isfinite(sigma), error**-2, 0.0)
    columns = {one.usable.tobytes(): _columns(one, settings) for one in pixels}
    for row, one in enumerate(pixels):
        design = columns[one.usable.tobytes()]
        scaled = design * (weight[row] * template[row])[:, None]
        normal = (scaled * template[row][:, None]).T @ design
        normal[np.diag_indices_from(normal)] *= 1 + RIDGE
        level = design @ np.linalg.solve(normal, scaled.T @ flux[row])
        found.append(
            FittedSpectrum(one.spectrum, one.wavelength, one.flux, one.sigma, level * template[row], level)
        )
    return found


def _columns(pixels: FitPixels, settings: StarFitSettings) -> np.ndarray:
    """Return the Chebyshev polynomials of the continuum between the ends of what is fitted, shape (L, terms)."""
    ends = pixels.wavelength[pixels.usable][[0, -1]]
    place = (2 * (pixels.wavelength - ends[0]) / (ends[1] - ends[0]) - 1).clip(-1, 1)
    found: np.ndarray = chebyshev.chebvander(place, settings.order_for(pixels.span))
    return found
