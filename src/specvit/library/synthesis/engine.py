"""One SMElib instance: structure and composition -> surface flux and continuum on a fine wavelength grid.

LTE, plane parallel, four Gauss angles. Drives SMElib directly with an embedded atmosphere, so that PySME's
own grids and departure coefficients (which it would download) are never touched. One instance per process:
the library keeps its state globally, and it ends the process when its equation of state fails.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from specvit.errors import import_optional
from specvit.library.synthesis.atmosphere import BOLTZMANN, ModelAtmosphere
from specvit.library.synthesis.lines import LineTable
from specvit.spectra import SPEED_OF_LIGHT_KM_S
from specvit.spectra.air import air_to_vacuum

#: The alpha elements, enhanced together; oxygen dominates the effect on molecules.
ALPHA_ELEMENTS = ("O", "Ne", "Mg", "Si", "S", "Ca", "Ti")
SOLAR_MIX = "asplund2009"

#: Spacing of the transfer grid: a line at 4000 K and 2 km/s microturbulence has FWHM > 5 km/s.
VELOCITY_STEP_KM_S = 2.5
ANGLES = 4

#: Lines outside the window whose wings are still followed into it, Å.
LINE_MARGIN = 150.0

#: A line weaker than this fraction of the continuous opacity in its core is left out.
WEAKEST_LINE = 3e-4

_ALL_FROM_EQUATION_OF_STATE = 7  # particle, electron and mass densities
_RYDBERG_EV, _RYDBERG_PER_ANGSTROM = 13.598, 1.0967758e-3


class SmeEngine:
    """Computes spectra between two wavelengths.

    Args:
        lines: line list; those within 150 Å of the range are used.
        low, high: range, Å (air).
        microturbulence: km/s.

    Raises:
        MissingExtra: without PySME (`specvit[synthesis]`).
    """

    def __init__(self, lines: LineTable, low: float, high: float, microturbulence: float = 2.0) -> None:
        purpose = "computing spectra"
        sme = import_optional("pysme.sme_synth", "synthesis", purpose)
        self._atmosphere = import_optional("pysme.atmosphere.atmosphere", "synthesis", purpose).Atmosphere
        self._abund = import_optional("pysme.abund", "synthesis", purpose).Abund
        self._solar = self._abund(monh=0.0, pattern=SOLAR_MIX).get_pattern(type="H=12", raw=False)
        self.microturbulence = microturbulence
        step = VELOCITY_STEP_KM_S / SPEED_OF_LIGHT_KM_S
        # SMElib takes air wavelengths, as the line lists have them; vacuum is made of the finished grid.
        self.wavelength_air = np.exp(np.arange(np.log(low), np.log(high) + step, step))
        self.wavelength = air_to_vacuum(self.wavelength_air)
        # F = 2π ∫ I μ dμ on [0, 1]: Gauss points mapped from [-1, 1], whose weights halve.
        nodes, weights = np.polynomial.legendre.leggauss(ANGLES)
        self._mu = np.ascontiguousarray(0.5 * (nodes + 1)[::-1])
        self._flux_weights = np.pi * weights[::-1] * self._mu
        self.lines = lines.within(low - LINE_MARGIN, high + LINE_MARGIN)
        self._is_hydrogen = self.lines.species == "H 1"
        self._sme = sme.SME_DLL()
        self._sme.InputLineList(_sme_line_list(self.lines))
        self._sme.SetVWscale(1.0)
        self._sme.SetH2broad(True)
        self._sme.SetContinuumOpacityGrid("adaptive", 2.0, 1e-3, 1e-2)
        self._sme.SetLineInfoMode(1)
        self._sme.InputWaveRange(self.wavelength_air[0] - 1.0, self.wavelength_air[-1] + 1.0)

    def composition(self, m_h: float, alpha_m: float = 0.0, c_m: float = 0.0) -> Any:
        """Return PySME's abundances for [M/H], [alpha/M] and [C/M]; solar mix of Asplund et al. 2009."""
        pattern = {}
        for element, solar in self._solar.items():
            # Helium stays with hydrogen: [M/H] is about the metals.
            shift = 0.0 if element in ("H", "He") else m_h
            shift += alpha_m if element in ALPHA_ELEMENTS else c_m if element == "C" else 0.0
            pattern[element] = solar + shift
        return self._abund(monh=0.0, pattern=pattern, type="H=12")

    def opacity_5000(self, model: ModelAtmosphere, composition: Any) -> np.ndarray:
        """Return the continuous extinction at 5000 Å in every layer, cm²/g, shape (D,)."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._set_model(model, composition)
            return np.array(self._sme.GetContinuumOpacityComponents(5000.0)[2])

    def spectrum(self, model: ModelAtmosphere, composition: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return surface flux and continuum, erg/s/cm²/Å, on `wavelength`, each of shape (L,)."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about electron densities that the equation of state replaces
            self._set_model(model, composition)
            self._sme.Opacity()
            if len(self.lines):
                strength, ranges = self._sme.ALMAXRange(accrt=1e-4)
                ranges = self._with_hydrogen_wings(ranges)
                used = (strength > WEAKEST_LINE) | self._is_hydrogen
                self._sme.InputLinePrecomputedInfo(
                    ranges[:, 0].copy(), ranges[:, 1].copy(), used.astype(np.uint8)
                )
            count = len(self.wavelength_air)
            _, _, line, continuum = self._sme.Transf(
                self._mu, wave=self.wavelength_air, nwmax=count, accrt=1e-4, accwi=1e-2
            )
        return self._flux_weights @ line, self._flux_weights @ continuum

    def _set_model(self, model: ModelAtmosphere, composition: Any) -> None:
        electron = model.electron_pressure
        assert model.gas_pressure is not None
        if electron is None:
            electron = guess_electron_pressure(model.temperature, model.gas_pressure)
        thermal = BOLTZMANN * model.temperature
        # Only a start: the equation of state replaces both.
        xne = np.clip(electron, 1e-30, 0.5 * model.gas_pressure) / thermal
        xna = model.gas_pressure / thermal - xne
        depth = "RHOX" if model.scale == "rhox" else "TAU"
        atmosphere = self._atmosphere(
            teff=model.teff,
            logg=model.log_g,
            depth=depth,
            interp=depth,
            method="embedded",
            geom="PP",
            wlstd=5000.0,
        )
        atmosphere.temp, atmosphere.xna, atmosphere.xne = model.temperature, xna, xne
        atmosphere.rho, atmosphere.vturb = 1.3 * 1.66e-24 * xna, self.microturbulence
        atmosphere.rhox = atmosphere.tau = model.depth
        self._sme.InputModel(float(model.teff), float(model.log_g), float(self.microturbulence), atmosphere)
        self._sme.InputAbund(composition)
        self._sme.Ionization(_ALL_FROM_EQUATION_OF_STATE)

    def _with_hydrogen_wings(self, ranges: np.ndarray) -> np.ndarray:
        """Return the line ranges with those of hydrogen set by upper level: beyond, the depth is < 0.002."""
        ranges = np.array(ranges)
        centre = self.lines.wavelength_air[self._is_hydrogen]
        upper = hydrogen_levels(self.lines)[1][self._is_hydrogen]
        half = np.clip(120.0 * (9.0 / upper) ** 1.75, 12.0, 400.0)
        ranges[self._is_hydrogen, 0], ranges[self._is_hydrogen, 1] = centre - half, centre + half
        return ranges


def guess_electron_pressure(temperature: np.ndarray, gas_pressure: np.ndarray) -> np.ndarray:
    """Return a first electron pressure, dyn/cm²: the typical Pe/Pg at each temperature."""
    log_ratio = np.interp(np.log10(temperature), [3.2, 3.5, 3.7, 3.9, 4.1], [-8.0, -5.5, -4.2, -2.5, -1.0])
    guess: np.ndarray = gas_pressure * 10**log_ratio
    return guess


def hydrogen_levels(lines: LineTable) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper principal quantum numbers of each line as if it were of hydrogen, shape (N,).

    From the excitation energy and the Rydberg formula: line lists disagree on where they keep the levels.
    """
    lower = np.sqrt(1.0 / np.clip(1.0 - lines.excitation_ev / _RYDBERG_EV, 1e-4, None)).round()
    inverse = lower**-2.0 - 1.0 / (air_to_vacuum(lines.wavelength_air) * _RYDBERG_PER_ANGSTROM)
    return lower, np.sqrt(1.0 / np.clip(inverse, 1e-5, None)).round()


def _sme_line_list(lines: LineTable) -> Any:
    """Return PySME's LineList; for hydrogen SMElib wants the two levels in the damping columns."""
    pandas = import_optional("pandas", "synthesis", "computing spectra")
    line_list = import_optional("pysme.linelist.linelist", "synthesis", "computing spectra").LineList
    hydrogen = lines.species == "H 1"
    lower, upper = hydrogen_levels(lines)
    table = pandas.DataFrame(
        {
            "species": lines.species.astype(object),
            "wlcent": lines.wavelength_air,
            "excit": lines.excitation_ev,
            "gflog": lines.log_gf,
            "gamrad": lines.gamma_rad,
            "gamqst": np.where(hydrogen, lower, lines.gamma_stark),
            "gamvw": np.where(hydrogen, upper, lines.gamma_waals),
            "atom_number": 1.0,
            "ionization": [float(name.split()[-1]) for name in lines.species],
            "lande": 0.0,
            "depth": 0.5,
            "reference": "",
        }
    )
    return line_list(table, lineformat="short", medium="air")


def with_pressure(model: ModelAtmosphere, gas_pressure: np.ndarray) -> ModelAtmosphere:
    """Return the model with another gas pressure; its electron pressure is left to the equation of state."""
    return replace(model, gas_pressure=gas_pressure, electron_pressure=None)
