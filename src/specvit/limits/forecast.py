"""Forecasts: how well one label can be measured, star by star, with an instrument and an exposure.

Ties emulator and instrument to the Fisher matrix. Owns which parameters are free; prints and draws nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specvit.errors import ConfigError, ShapeError
from specvit.instrument import Instrument, ObservedEmulator
from specvit.library import Emulator
from specvit.limits.bounds import marginal_crlb, r2_max, r2_shrunk, schur_decay
from specvit.limits.fisher import condition_number, correlation_matrix, fisher_information
from specvit.limits.nuisance import broadening_operator, continuum_columns, velocity_operator
from specvit.spectra import median_snr

#: Free labels of the two published ceilings: chemistry known, and chemistry free.
FREE_LABELS = {3: ("teff", "log_g", "m_h"), 5: ("teff", "log_g", "m_h", "alpha_m", "c_m")}

#: Numbers per chunk of float64 Jacobians (8 bytes each, a few arrays): 120 stars of 4096 pixels, 5 labels.
CHUNK = 2_500_000

Conditions = Mapping[str, Tensor]


@dataclass(frozen=True)
class FreeParameters:
    """What an observer does not know.

    Args:
        label: the label whose error is asked for.
        labels: all free labels, `label` among them; the others are known exactly.
        continuum_order: order of a multiplicative polynomial continuum; 0 is the flux scale alone, None says
            that the flux is known absolutely.
        velocity: radial velocity free.
        line_width: width of the line-spread function free.
    """

    label: str = "log_g"
    labels: tuple[str, ...] = FREE_LABELS[5]
    continuum_order: int | None = 0
    velocity: bool = False
    line_width: bool = False

    def __post_init__(self) -> None:
        """Check that the label is among the free ones and the order can be meant."""
        if self.label not in self.labels:
            raise ConfigError(f"'{self.label}' is not among the free labels {', '.join(self.labels)}")
        if self.continuum_order is not None and self.continuum_order < 0:
            raise ConfigError(f"continuum order must be 0 or more; got {self.continuum_order}")


@dataclass(frozen=True)
class Forecast:
    """Bounds for N stars under one set of conditions.

    Args:
        free: what was left free.
        labels: the stars' true labels, shape (N, all labels).
        snr: median over pixels of flux / sigma, shape (N,).
        fisher: Fisher matrix of the free labels, nuisances removed, shape (N, P, P), float64.
    """

    free: FreeParameters
    labels: Tensor
    snr: Tensor
    fisher: Tensor

    @property
    def index(self) -> int:
        """Row of the label asked for in the Fisher matrix."""
        return self.free.labels.index(self.free.label)

    @property
    def crlb(self) -> Tensor:
        """Smallest variance of an unbiased estimate, shape (N,); `inf` where the labels are degenerate."""
        return marginal_crlb(self.fisher, self.index)

    @property
    def sigma_min(self) -> Tensor:
        """Square root of the CRLB, in label units, shape (N,)."""
        return self.crlb.sqrt()

    @property
    def schur_decay(self) -> Tensor:
        """Share of the label's information left after marginalising the other labels, shape (N,)."""
        return schur_decay(self.fisher, self.index)

    @property
    def condition(self) -> Tensor:
        """Condition number of the Fisher matrix scaled to a unit diagonal, shape (N,)."""
        return condition_number(self.fisher)

    @property
    def condition_unscaled(self) -> Tensor:
        """Condition number with kelvin and dex mixed, as the reference work states it, shape (N,)."""
        return condition_number(self.fisher, scaled=False)

    @property
    def correlation(self) -> Tensor:
        """Correlations of the errors of the free labels, shape (N, P, P)."""
        return correlation_matrix(self.fisher)

    def r2_max(self, variance: float) -> Tensor:
        """Return clip(1 - CRLB / variance, 0, 1) per star, shape (N,)."""
        return r2_max(self.crlb, variance)

    def r2_shrunk(self, variance: float) -> Tensor:
        """Return V / (V + CRLB) per star, shape (N,)."""
        return r2_shrunk(self.crlb, variance)


class Forecaster:
    """Fisher forecasts for one emulator seen through one instrument.

    Args:
        emulator: on the library's grid.
        instrument: grid, line-spread function and noise.
        free: what is left free.
        noise_level: multiplies sigma.
        device: where the sums are done, in float64.
    """

    def __init__(
        self,
        emulator: Emulator,
        instrument: Instrument,
        free: FreeParameters | None = None,
        noise_level: float = 1.0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.free = free or FreeParameters()
        self.instrument = copy.deepcopy(instrument).to(device)
        self.noise_level, self.device = noise_level, torch.device(device)
        native = copy.deepcopy(emulator).cpu().double()
        self._columns = [native.label_space.index(name) for name in self.free.labels]
        self.label_space = native.label_space
        matrix = instrument.lsf_matrix(native.grid, native.resolution)
        weights = instrument.band.weights(native.grid)

        def seen_through(operator) -> ObservedEmulator:
            seen = ObservedEmulator(native, operator, instrument.grid, instrument.resolution, weights)
            return seen.to(device)

        self._observed = seen_through(matrix)
        self._nuisances: list[ObservedEmulator] = []
        if self.free.velocity:
            self._nuisances.append(seen_through(matrix @ velocity_operator(native.grid)))
        if self.free.line_width:
            fwhm = instrument.lsf.fwhm(native.grid.wavelength)
            self._nuisances.append(seen_through(matrix @ broadening_operator(native.grid, fwhm)))

    def forecast(
        self,
        labels: Tensor,
        scenarios: Sequence[Conditions],
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Forecast]:
        """Return one forecast per scenario; the derivatives are computed once for all of them.

        Args:
            labels: true labels of N stars, shape (N, all labels), inside the emulator's domain.
            scenarios: observing conditions, name -> shape (N,), as `Instrument.fixed_conditions` gives.
            progress: called with (stars done, stars in all).

        Raises:
            DomainError: if a label lies outside the emulator's domain; names the label.
            ShapeError: if a scenario does not hold N stars.
        """
        self.label_space.check(labels)
        stars = len(labels)
        for conditions in scenarios:
            if any(len(value) != stars for value in conditions.values()):
                raise ShapeError(f"forecast: expected conditions of {stars} stars, one value per label row")
        snr = torch.empty(len(scenarios), stars, dtype=torch.float64)
        size = len(self.free.labels)
        fisher = torch.empty(len(scenarios), stars, size, size, dtype=torch.float64)
        for rows in self._chunks(stars):
            flux, jacobian, nuisance = self._derivatives(labels[rows])
            for k, conditions in enumerate(scenarios):
                here = {name: value[rows].to(self.device) for name, value in conditions.items()}
                sigma = self.instrument.noise_sigma(flux, here) * self.noise_level
                snr[k, rows] = median_snr(flux, sigma).cpu()
                fisher[k, rows] = fisher_information(jacobian, sigma.square().reciprocal(), nuisance).cpu()
            if progress is not None:
                progress(min(rows.stop, stars), stars)
        return [Forecast(self.free, labels, s, f) for s, f in zip(snr, fisher, strict=True)]

    def _derivatives(self, labels: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return flux (B, L), ∂flux/∂label (B, L, P) and nuisance columns (B, L, M) or None, float64."""
        labels = labels.to(self.device, torch.float64)
        with torch.no_grad():
            flux = self._observed(labels, check=False)
            jacobian = self._observed.jacobian(labels, check=False)
            if len(self._columns) < jacobian.shape[-1]:
                jacobian = jacobian[:, :, self._columns]
            columns = [nuisance(labels, check=False)[:, :, None] for nuisance in self._nuisances]
        if self.free.continuum_order is not None:
            columns.append(continuum_columns(flux, self.instrument.grid, self.free.continuum_order))
        return flux, jacobian, torch.cat(columns, dim=-1) if columns else None

    def _chunks(self, stars: int) -> Iterator[slice]:
        step = max(1, CHUNK // (self.instrument.grid.size * len(self.label_space)))
        for start in range(0, stars, step):
            yield slice(start, min(start + step, stars))
