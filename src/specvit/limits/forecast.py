"""Forecasts: how well one label can be measured, star by star, with an instrument and an exposure.

Ties emulator and instrument to the Fisher matrix. Owns which parameters are free; prints and draws nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import scipy.sparse
import torch
from torch import Tensor

from specvit.errors import ConfigError, ShapeError
from specvit.instrument import Instrument, NoiseTerms, ObservedEmulator
from specvit.library import Emulator
from specvit.limits.bounds import marginal_crlb, r2_max, r2_shrunk, schur_decay
from specvit.limits.fisher import condition_number, correlation_matrix, whitened_information
from specvit.limits.nuisance import broadening_operator, continuum_columns, velocity_operator
from specvit.numerics import row_median

#: Free labels of the two published ceilings: chemistry known, and chemistry free.
FREE_LABELS = {3: ("teff", "log_g", "m_h"), 5: ("teff", "log_g", "m_h", "alpha_m", "c_m")}

#: Highest order of a free continuum: beyond it half a wave is as narrow as a strong line (35 Å in the red arm
#: of PFS), and every order costs another column per star.
HIGHEST_ORDER = 50

#: Numbers per chunk of columns: on a CPU 32 stars of 4096 pixels with 6 columns, whose float32 are near the size
#: of a core's cache; elsewhere what fills the device.
CPU_CHUNK, DEVICE_CHUNK = 800_000, 40_000_000

#: Stars per call of the network's derivative, whose fixed cost is that of hundreds of stars.
NETWORK_STARS = 4096

Conditions = Mapping[str, Tensor]


@dataclass(frozen=True)
class FreeParameters:
    """What an observer does not know.

    Args:
        label: the label whose error is asked for.
        labels: all free labels, `label` among them; the others are known exactly.
        continuum_order: order of a multiplicative polynomial continuum, one in each arm; 0 is the flux scale alone,
            that of all arms, None says that the flux is known absolutely.
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
        order = self.continuum_order
        if order is not None and not 0 <= order <= HIGHEST_ORDER:
            raise ConfigError(f"continuum order must be 0 to {HIGHEST_ORDER}; got {order}")


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

    Spectra, slopes and noise are computed in `dtype`, sums over pixels and all that follows in float64. What
    float32 costs is the rounding of single slopes: the CRLB of any label changes by 2e-6 (median of 2000
    stars of the prior) and by 3e-5 at most, where the labels are nearly degenerate; a forecast takes half the
    time. float64 is what it is tested against.

    Args:
        emulator: on the library's grid.
        instrument: grid, line-spread function and noise.
        free: what is left free.
        noise_level: multiplies sigma.
        device: where the sums are done.
        dtype: float32 or float64.
    """

    def __init__(
        self,
        emulator: Emulator,
        instrument: Instrument,
        free: FreeParameters | None = None,
        noise_level: float = 1.0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.free = free or FreeParameters()
        self.instrument = copy.deepcopy(instrument).to(device)
        self.noise_level, self.device, self.dtype = noise_level, torch.device(device), dtype
        # A copy: the caller keeps its emulator, device and precision.
        native = copy.deepcopy(emulator).cpu().double()
        self._columns = [native.label_space.index(name) for name in self.free.labels]
        self.label_space, self._domain = native.label_space, native
        matrix = instrument.lsf_matrix(native.grid, native.resolution)
        weights = instrument.band.weights(native.grid)

        def seen_through(operator: scipy.sparse.csr_array) -> ObservedEmulator:
            # Folded in float64, whatever the slopes are computed in.
            seen = ObservedEmulator(native, operator, instrument.grid, instrument.resolution, weights)
            return seen.to(device, dtype)

        self._observed = seen_through(matrix)
        self._nuisances: list[ObservedEmulator] = []
        if self.free.velocity:
            self._nuisances.append(seen_through(matrix @ velocity_operator(native.grid)))
        if self.free.line_width:
            broadened = [
                matrix[arm.pixels] @ broadening_operator(native.grid, arm.lsf.fwhm(native.grid.wavelength))
                for arm in instrument.arms
            ]
            self._nuisances.append(seen_through(scipy.sparse.csr_array(scipy.sparse.vstack(broadened))))

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
            DomainError: if labels lie outside the emulator's domain, or in a hole of it; names the label.
            ShapeError: if a scenario does not hold N stars.
        """
        self._domain.check(labels)
        stars = len(labels)
        for conditions in scenarios:
            if any(len(value) != stars for value in conditions.values()):
                raise ShapeError(f"forecast: expected conditions of {stars} stars, one value per label row")
        snr = torch.empty(len(scenarios), stars, dtype=torch.float64)
        size = len(self.free.labels)
        fisher = torch.empty(len(scenarios), stars, size, size, dtype=torch.float64)
        noise = [self._noise(conditions) for conditions in scenarios]
        live = self.instrument.live_pixels(self.device)
        for rows, weights in self._chunks(labels):
            flux, columns = self._columns_of(weights)
            for k, terms in enumerate(noise):
                inverse = terms(rows).inverse_sigma(flux)
                per_pixel = flux * inverse
                if live is not None:
                    # A dead pixel has no S/N; among the others it would count as 0.
                    per_pixel = per_pixel[:, live].contiguous()
                snr[k, rows] = row_median(per_pixel, work=per_pixel).double().cpu()
                whitened = columns * inverse[:, None]
                fisher[k, rows] = whitened_information(whitened, columns.shape[1] - size).cpu()
            if progress is not None:
                progress(rows.stop, stars)
        # sigma enters S/N once and the Fisher matrix squared, so the noise level needs no second pass.
        snr, fisher = snr / self.noise_level, fisher / self.noise_level**2
        return [Forecast(self.free, labels, s, f) for s, f in zip(snr, fisher, strict=True)]

    def _noise(self, conditions: Conditions) -> Callable[[slice], NoiseTerms]:
        """Return rows of stars -> their noise terms, made once if all stars have the same conditions."""

        def terms(rows: slice) -> NoiseTerms:
            here = {name: value[rows].to(self.device) for name, value in conditions.items()}
            return self.instrument.noise_terms(here, self.dtype)

        if all(bool((value == value[:1]).all()) for value in conditions.values()):
            shared = terms(slice(0, 1))
            return lambda rows: shared
        return terms

    def _columns_of(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return flux (B, L) and the slopes (B, M + P, L): those of M nuisances, then ∂flux/∂label.

        `weights` (B, 1 + P, K + 1) are those of `row_weights`.
        """
        spectra = weights @ self._observed.get_buffer("rows")
        flux, order = spectra[:, 0], self.free.continuum_order
        # Velocity and width act on the same stars: the same weights on other rows.
        nuisances = [(weights[:, 0] @ nuisance.get_buffer("rows"))[:, None] for nuisance in self._nuisances]
        if order == 0 and not nuisances:
            return flux, spectra  # the flux is the slope of its own scale
        if order is not None:
            continuum = continuum_columns(flux, self.instrument.grid, order)
            nuisances.append(continuum.mT.to(self.dtype))
        return flux, torch.cat([*nuisances, spectra[:, 1:]], dim=1)

    def _chunks(self, labels: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Yield rows of stars and their weights; the network runs on many stars, the pixels on few."""
        numbers = CPU_CHUNK if self.device.type == "cpu" else DEVICE_CHUNK
        step = max(1, numbers // (self.instrument.grid.size * (len(self.free.labels) + 1)))
        for outer in range(0, len(labels), NETWORK_STARS):
            some = labels[outer : outer + NETWORK_STARS].to(self.device, self.dtype)
            weights = row_weights(self._observed, some)[:, [0, *(1 + k for k in self._columns)]]
            for start in range(0, len(some), step):
                stop = min(start + step, len(some))
                yield slice(outer + start, outer + stop), weights[start:stop]


def row_weights(observed: ObservedEmulator, labels: Tensor) -> Tensor:
    """Return w (N, 1 + P, K + 1): w[:, 0] @ observed.rows is the flux, w[:, 1:] @ observed.rows its slopes.

    The band normalisation is a quotient of two functions that are linear in the coefficients c, so its
    derivative is again a combination of the rows: flux = (1, c) R / b with b = o + c·v.
    """
    coefficients, slope = observed.emulator.regressor.value_and_slopes(labels)
    band = (observed.band_offset + coefficients @ observed.band_weights)[:, None]
    flux = torch.cat([torch.ones_like(band), coefficients], dim=1) / band
    relative = (slope @ observed.band_weights / band)[:, :, None]
    slopes = torch.cat([torch.zeros_like(relative), slope / band[:, :, None]], dim=2)
    return torch.cat([flux[:, None], slopes - relative * flux[:, None]], dim=1)
