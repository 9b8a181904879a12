"""The templates that a network's labels stand for, on the pixels of the stars: for pictures, and for what is left over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.polynomial import chebyshev

from specvit.amortised.stars import star_flux
from specvit.stellar.parameters import FittedSpectrum, StellarParameters
from specvit.stellar.pixels import FitPixels
from specvit.stellar.settings import StarFitSettings
from specvit.stellar.templates import WidthTemplates

#: Added to the normal equations, over their largest: columns that no pixel tells apart must not make them singular.
RIDGE = 1e-12
#: Stars from which on it pays to multiply all pairs of polynomials beforehand.
PAIRED_ROWS = 8
#: Stars under whose templates continua are put at once.
ROWS = 32


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
    flux, sigma = np.stack([one.flux for one in pixels]), np.stack([one.sigma for one in pixels])
    level = np.empty_like(template)
    for rows, design in _designs(first.wavelength, np.isfinite(sigma), settings):
        # What of some dozen stars is at work stays in the cache.
        for some in np.array_split(rows, -(-rows.size // ROWS)):
            error = np.hypot(sigma[some], settings.flat_error * np.stack([pixels[row].level for row in some]))
            weight = np.where(np.isfinite(error), error**-2, 0.0)
            level[some] = _levels(design, template[some], flux[some], weight)
    return [
        FittedSpectrum(
            one.spectrum, one.wavelength, one.flux, one.sigma, level[row] * template[row], level[row]
        )
        for row, one in enumerate(pixels)
    ]


def _levels(design: np.ndarray, template: np.ndarray, flux: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the polynomials that bring templates to the flux, shape (N, L).

    Args:
        design: polynomials, shape (L, C).
        template, flux, weight: shape (N, L), weights 0 where a pixel is not fitted.
    """
    count = design.shape[1]
    heavy = weight * template
    square = heavy * template
    if len(template) < PAIRED_ROWS:
        normal = (square[:, None] * design.T) @ design
    else:
        # One product for all: those of pairs of polynomials do not depend on the star.
        rows, columns = np.tril_indices(count)
        normal = np.empty((len(template), count, count))
        normal[:, rows, columns] = square @ (design[:, rows] * design[:, columns])
        normal[:, columns, rows] = normal[:, rows, columns]
    np.einsum("nii->ni", normal)[:] *= 1 + RIDGE
    right = (heavy * flux) @ design
    found: np.ndarray = np.linalg.solve(normal, right[..., None])[..., 0] @ design.T
    return found


def _designs(
    wavelength: np.ndarray, alive: np.ndarray, settings: StarFitSettings
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield stars and the Chebyshev polynomials of their continuum, from the first pixel to the last that is fitted.

    Args:
        wavelength: shape (L,), Å.
        alive: which pixels are fitted, shape (N, L), bool.
        settings: of the fit.

    Yields:
        Numbers of stars with the same ends, shape (n,), and polynomials at the pixels, shape (L, C).
    """
    start, stop = alive.argmax(1), wavelength.size - 1 - alive[:, ::-1].argmax(1)
    ends = start * wavelength.size + stop
    for both in np.unique(ends):
        first, last = wavelength[list(divmod(int(both), wavelength.size))]
        place = (2 * (wavelength - first) / (last - first) - 1).clip(-1, 1)
        yield np.flatnonzero(ends == both), chebyshev.chebvander(place, settings.order_for(last - first))
