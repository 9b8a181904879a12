"""Whether what was taken out of a spectrum is noise: χ² of (observed - denoised) / σ, and how probable that is.

Of a posterior mean E[(y - x̂)²] = σ² - Var x, whatever the distribution of x (Tweedie's formula: x̂ = y + σ² ∂ ln p / ∂y);
so over live pixels χ² is expected to be N - Σ (std / σ)², and that sum is the number of parameters the denoiser takes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from specvit.spectra import WavelengthGrid

#: What chance brings less often than this is told; a batch may hold thousands of spectra.
IMPROBABLE = 1e-4


@dataclass(frozen=True)
class Misfit:
    """How large what was taken out of one spectrum is.

    Args:
        chi2: sum over live pixels of ((observed - denoised) / σ)².
        pixels: N, how many are live.
        parameters: that the denoiser takes of them; χ² is expected to be N less these.
    """

    chi2: float
    pixels: int
    parameters: float

    @property
    def freedom(self) -> float:
        """Degrees of freedom, at least 1."""
        return max(self.pixels - self.parameters, 1.0)

    @property
    def per_pixel(self) -> float:
        """χ² over the degrees of freedom: 1 is expected."""
        return self.chi2 / self.freedom

    @property
    def p_larger(self) -> float:
        """Chance of a χ² as large or larger, of noise alone."""
        half = torch.tensor([0.5 * self.freedom, 0.5 * self.chi2], dtype=torch.float64)
        return float(torch.special.gammaincc(half[0], half[1]))

    @property
    def p_smaller(self) -> float:
        """Chance of a χ² as small or smaller."""
        half = torch.tensor([0.5 * self.freedom, 0.5 * self.chi2], dtype=torch.float64)
        return float(torch.special.gammainc(half[0], half[1]))

    @property
    def doubt(self) -> str | None:
        """What an improbable χ² may mean, in words; None for one that noise makes."""
        if self.p_larger < IMPROBABLE:
            return (
                "more was taken out than its noise: not at rest (--velocity), unlike the library's stars, of another "
                "resolution, or sigma is too small"
            )
        if self.p_smaller < IMPROBABLE:
            return "less was taken out than its noise: noise is left in it, or sigma is too large"
        return None


def misfit_of(flux: np.ndarray, sigma: np.ndarray, mean: np.ndarray, parameters: float) -> Misfit:
    """Return the misfit of one spectrum, arrays (N,); pixels without finite sigma or `mean` are left out."""
    live = np.isfinite(sigma) & np.isfinite(mean)
    left = (flux - mean)[live] / sigma[live]
    return Misfit(float(np.square(left).sum()), int(live.sum()), parameters)


def between_pixels(mean: np.ndarray, grid: WavelengthGrid, wavelength: np.ndarray) -> np.ndarray:
    """Return a spectrum without noise (L,) at other wavelengths (N,), by cubic splines; NaN where the grid has gaps."""
    found = np.full(len(wavelength), np.nan)
    for segment in grid.segments:
        at = grid.wavelength[segment]
        if len(at) < 2:
            continue
        inside = (wavelength >= at[0]) & (wavelength <= at[-1])
        found[inside] = CubicSpline(at, mean[segment])(wavelength[inside])
    return found
