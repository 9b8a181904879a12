"""The photometric band that gives a magnitude its meaning: response, pivot wavelength and AB zero point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import erf

from specvit.errors import WavelengthRangeError
from specvit.instrument.schema import BandSection
from specvit.spectra import WavelengthGrid

SPEED_OF_LIGHT_A_S = 2.997_924_58e18
AB_ZERO_POINT = 3.631e-20  # erg/s/cm²/Hz

#: Share of the band's photons (flat-AB source) that a library must cover for the magnitude to be meant.
COVERED_AT_LEAST = 0.9


@dataclass(frozen=True)
class Band:
    """A top-hat photon response with Gaussian-softened edges: half response at `blue` and `red` Å.

    A stand-in for a tabulated filter curve; for smooth stellar continua the two differ by a grey offset that
    the magnitude absorbs.
    """

    name: str
    blue: float
    red: float
    edge_width: float

    @classmethod
    def from_section(cls, section: BandSection) -> Band:
        """Return the band of an instrument file."""
        return cls(section.name, section.blue, section.red, section.edge_width)

    def response(self, wavelength: np.ndarray) -> np.ndarray:
        """Return the relative photon response at `wavelength` Å."""
        scale = np.sqrt(2) * self.edge_width
        rise, fall = erf((wavelength - self.blue) / scale), erf((wavelength - self.red) / scale)
        response: np.ndarray = 0.5 * (rise - fall)
        return response

    def _sampled(self) -> tuple[np.ndarray, np.ndarray]:
        margin = 6 * self.edge_width
        # Six widths: the response there is below 1e-9. The lower end stays positive for absurd bands.
        wavelength = np.linspace(max(self.blue - margin, 1.0), self.red + margin, 20_001)
        return wavelength, self.response(wavelength)

    @property
    def pivot(self) -> float:
        """Pivot wavelength, Å: λp² = ∫Tλdλ / ∫T/λ dλ."""
        wavelength, response = self._sampled()
        return float(np.sqrt((response * wavelength).sum() / (response / wavelength).sum()))

    @property
    def flux_ab0(self) -> float:
        """F_λ of an AB = 0 source at the pivot wavelength, erg/s/cm²/Å."""
        return AB_ZERO_POINT * SPEED_OF_LIGHT_A_S / self.pivot**2

    def flat_source(self, wavelength: np.ndarray) -> np.ndarray:
        """Return the band-normalised flux of a flat-AB source, (λp/λ)²."""
        return (self.pivot / wavelength) ** 2

    def weights(self, grid: WavelengthGrid) -> np.ndarray:
        """Return w (L,) such that w · F is the F_λ at the pivot of the flat-AB source of equal magnitude.

        w · F = ∫ F T λ dλ / (λp² ∫ T/λ dλ), the integrals taken over the part of the band that `grid` covers:
        the magnitude in the covered part stands for that in the band (exact for a flat-AB source).

        Raises:
            WavelengthRangeError: if the grid covers less than 90 % of the band.
        """
        wavelength, response = self._sampled()
        # Photons of a flat-AB source, whose F_λ goes as 1/λ²: the integrand is T/λ.
        photons = response / wavelength
        edges = grid.edges
        inside = (wavelength >= edges[0]) & (wavelength <= edges[-1])
        covered = float(photons[inside].sum() / photons.sum())
        if covered < COVERED_AT_LEAST:
            raise WavelengthRangeError(
                f"the library ({grid.describe()}) covers {100 * covered:.0f} % of band {self.name} "
                f"({self.blue:.0f}-{self.red:.0f} Å); at least {100 * COVERED_AT_LEAST:.0f} % is needed: "
                "choose another [band] or a wider library"
            )
        width = np.diff(edges)
        at_grid = self.response(grid.wavelength) * width
        weights: np.ndarray = at_grid * grid.wavelength / (self.pivot**2 * (at_grid / grid.wavelength).sum())
        return weights
