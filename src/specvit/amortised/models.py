"""The template that a network's labels stand for, on the pixels of the star: for pictures, and for what is left over."""

from __future__ import annotations

import numpy as np
from numpy.polynomial import chebyshev

from specvit.amortised.stars import star_flux
from specvit.stellar.parameters import FittedSpectrum, StellarParameters
from specvit.stellar.pixels import FitPixels
from specvit.stellar.settings import StarFitSettings
from specvit.stellar.templates import WidthTemplates


def modelled(
    star: StellarParameters, pixels: FitPixels, templates: WidthTemplates, settings: StarFitSettings
) -> FittedSpectrum:
    """Return the pixels of a star with the template of its labels, under the continuum that fits best.

    Labels and velocity are the star's; nothing but the continuum is fitted.
    """
    labels, velocity = np.array([list(star.labels.values())]), np.array([star.velocity])
    own = np.log(pixels.fwhm / pixels.wavelength * templates.resolution)[None]
    template = star_flux(templates, labels, velocity, np.log(pixels.wavelength), own)[0].astype(np.float64)
    used = pixels.usable
    ends = pixels.wavelength[used][[0, -1]]
    place = (2 * (pixels.wavelength - ends[0]) / (ends[1] - ends[0]) - 1).clip(-1, 1)
    columns = chebyshev.chebvander(place, settings.order_for(pixels.span))
    error = np.hypot(pixels.sigma[used], settings.flat_error * pixels.level[used])
    design = columns[used] * (template[used] / error)[:, None]
    level = columns @ np.linalg.lstsq(design, pixels.flux[used] / error, rcond=None)[0]
    return FittedSpectrum(
        pixels.spectrum, pixels.wavelength, pixels.flux, pixels.sigma, level * template, level
    )
