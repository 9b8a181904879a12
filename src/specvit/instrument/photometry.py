"""The photometric band that gives a magnitude its meaning: response, pivot wavelength and AB zero point."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import erf

from specvit.errors import ConfigError, WavelengthRangeError
from specvit.instrument.quantities import FRACTION
from specvit.instrument.schema_optics import OWN_BAND, BandSection
from specvit.instrument.tables import Tables, in_range
from specvit.spectra import WavelengthGrid

SPEED_OF_LIGHT_A_S = 2.997_924_58e18
AB_ZERO_POINT = 3.631e-20  # erg/s/cm²/Hz

#: Share of the band's photons (flat-AB source) that a library must cover for the magnitude to be meant.
COVERED_AT_LEAST = 0.9

#: Softness of the edges of the band that a spectrograph's own pixels are, of its width.
OWN_EDGES = 0.005

#: Bands known by their name: half-response wavelengths and σ of the edges, Å, or the photon response at nodes.
#: i and r as soft top-hats between the half-response wavelengths of the Hyper Suprime-Cam filters (Kawanomoto et al.
#: 2018, PASJ 70, 66); V: Bessell 1990, PASP 102, 1181, table 2, in steps of 200 Å; G: a soft top-hat with the pivot
#: wavelength of Gaia EDR3, 6217.6 Å (Riello et al. 2021, A&A 649, A3), and the width of its passband.
TOP_HATS = {"i": (6950.0, 8450.0, 50.0), "r": (5450.0, 6960.0, 50.0), "G": (4150.0, 8570.0, 300.0)}
CURVES = {
    "V": (
        (4700, 4900, 5100, 5300, 5500, 5700, 5900, 6100, 6300, 6500, 6700, 6900, 7000),
        (0.0, 0.163, 0.780, 1.0, 0.898, 0.684, 0.461, 0.270, 0.135, 0.045, 0.017, 0.009, 0.0),
    )
}


@dataclass(frozen=True)
class Band:
    """A photon response: nodes, linear between, or a top-hat with Gaussian-softened edges.

    The top-hat has half response at `blue` and `red` Å. It stands in for a filter curve; for smooth stellar continua
    the two differ by a grey offset that the magnitude absorbs.

    Args:
        name: what the magnitude is said to be in.
        blue, red: ends of the band, Å.
        edge_width: σ of the edges, Å; 0 where there are nodes.
        nodes: wavelengths, Å, and responses; None for a top-hat.
    """

    name: str
    blue: float
    red: float
    edge_width: float
    nodes: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    @classmethod
    def from_section(cls, section: BandSection, tables: Tables, grid: WavelengthGrid) -> Band:
        """Return the band of an instrument file.

        Raises:
            ConfigError: for a name alone that is not known.
            DataError: if its tables cannot be used.
        """
        name = section.name
        if section.blue is not None and section.red is not None:
            return cls(name, section.blue, section.red, section.edge_width)
        if section.response is not None:
            return cls._of_curve(name, *_curve(section, tables))
        if name == OWN_BAND:
            low, high = float(grid.lower.min()), float(grid.upper.max())
            return cls(f"AB over {low:.0f}-{high:.0f} Å", low, high, OWN_EDGES * (high - low))
        if name in TOP_HATS:
            return cls(name, *TOP_HATS[name])
        if name in CURVES:
            return cls._of_curve(name, *(np.array(values, float) for values in CURVES[name]))
        known = ", ".join(sorted({*TOP_HATS, *CURVES, OWN_BAND}))
        raise ConfigError(
            f"band: '{name[:80]}' is not known by its name ({known} are); give blue and red, or response"
        )

    @classmethod
    def _of_curve(cls, name: str, wavelength: np.ndarray, response: np.ndarray) -> Band:
        nodes = tuple(wavelength.tolist()), tuple(response.tolist())
        return cls(name, float(wavelength[0]), float(wavelength[-1]), 0.0, nodes)

    def response(self, wavelength: np.ndarray) -> np.ndarray:
        """Return the relative photon response at `wavelength` Å."""
        if self.nodes is not None:
            at_nodes: np.ndarray = np.interp(wavelength, *self.nodes, left=0.0, right=0.0)
            return at_nodes
        scale = np.sqrt(2) * self.edge_width
        rise, fall = erf((wavelength - self.blue) / scale), erf((wavelength - self.red) / scale)
        response: np.ndarray = 0.5 * (rise - fall)
        return response

    def _sampled(self) -> tuple[np.ndarray, np.ndarray]:
        margin = 6 * self.edge_width
        # Six widths: the response there is below 1e-9. The lower end stays positive for absurd bands.
        wavelength = np.linspace(max(self.blue - margin, 1.0), self.red + margin, 20_001)
        return wavelength, self.response(wavelength)

    @cached_property
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
        inside = np.zeros(wavelength.size, bool)
        for segment in grid.segments:
            low, high = grid.lower[segment][0], grid.upper[segment][-1]
            inside |= (wavelength >= low) & (wavelength <= high)
        covered = float(photons[inside].sum() / photons.sum())
        if covered < COVERED_AT_LEAST:
            raise WavelengthRangeError(
                f"the library ({grid.describe()}) covers {100 * covered:.0f} % of band {self.name} "
                f"({self.blue:.0f}-{self.red:.0f} Å); at least {100 * COVERED_AT_LEAST:.0f} % is needed, as the "
                "rest of the star is not known: give a wider library, or, to state AB magnitudes over the "
                f'spectrograph\'s own pixels, set band = {{ name = "{OWN_BAND}" }}'
            )
        at_grid = self.response(grid.wavelength) * grid.width
        weights: np.ndarray = at_grid * grid.wavelength / (self.pivot**2 * (at_grid / grid.wavelength).sum())
        return weights


def _curve(section: BandSection, tables: Tables) -> tuple[np.ndarray, np.ndarray]:
    """Return the nodes of a response, in vacuum."""
    if isinstance(section.response, str):
        assert section.wavelength is not None
        wavelength = tables.axis(section.wavelength, "band.wavelength")
        response = tables.array(section.response, "band.response", wavelength.shape)
        return wavelength, in_range(response, "band.response", FRACTION)
    assert section.response is not None
    return np.array(section.response.wavelength), np.array(section.response.value)
