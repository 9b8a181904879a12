"""What the fit of a real spectrum assumes: windows, priors, orders. One place for all numbers a user may change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from specvit.errors import ConfigError

#: Å (vacuum, telescope's frame) where O2 and H2O of the air absorb more than some per cent:
#: H2O 7160-7420, O2 A 7590-7720, H2O 8105-8370. Source: the atlas of Hinkle, Wallace & Livingston 2003, BAAS 35, 1260.
TELLURIC = ((7160.0, 7420.0), (7590.0, 7720.0), (8105.0, 8370.0))

#: Å per coefficient of the continuum: order 12 over PFS's red arm.
CONTINUUM_SCALE = 1750.0 / 12
#: Of a short spectrum: one order of an echelle has the blaze in it.
LEAST_ORDER = 4
#: Relative error of a pixel of a library of which nothing is known.
FLAT_ERROR = 0.02
#: Å per coefficient of the waves about it: half a wave, the shortest that is not a broad line's.
WAVE_SCALE = 50.0


@dataclass(frozen=True)
class StarFitSettings:
    """How the template posterior of an observed spectrum is made.

    Args:
        masks: further windows that are left out, Å in vacuum in the telescope's frame.
        telluric: whether the windows of `TELLURIC` are left out of spectra from the ground.
        model_error: 1 σ of what the library gets wrong in a pixel, relative to the local flux, the same everywhere;
            None takes what was found of the library, see `ModelError`, or `FLAT_ERROR`.
        core_error: the same within `core_width` of the Ca II triplet's cores, where LTE is known to fail.
        core_width: Å from the core.
        priors: label -> (mean, sigma): external knowledge, Gaussian.
        alpha_sigma: dex, 1 σ about the mean [α/M] of stars in the Galaxy, see `galactic_alpha`.
        carbon_sigma: dex, 1 σ of [C/M] about 0.
        width_sigma: 1 σ of ln(line width / stated), for a stated and an assumed resolution.
        velocity: km/s, the largest |v| that is looked for.
        continuum_order: of the free continuum, or None: one per 146 Å, at least 4.
        wave_error: 1 σ of each wave that the continuum may have beyond its order, down to 50 Å per coefficient,
            relative to the flux.
        starts: descents per star.

    Raises:
        ConfigError: for a number that cannot be meant.
    """

    masks: tuple[tuple[float, float], ...] = ()
    telluric: bool = True
    model_error: float | None = None
    core_error: float = 0.3
    core_width: float = 2.5
    priors: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    alpha_sigma: float = 0.12
    carbon_sigma: float = 0.15
    width_sigma: tuple[float, float] = (0.05, 0.2)
    velocity: float = 1000.0
    continuum_order: int | None = None
    wave_error: float = 0.01
    starts: int = 6

    def __post_init__(self) -> None:
        for low, high in self.masks:
            if not low < high:
                raise ConfigError(f"masks: a window goes from low to high wavelengths, got {low:g}-{high:g}")
        for name, (_, sigma) in self.priors.items():
            if not sigma > 0:
                raise ConfigError(f"priors: {name} needs a positive sigma, got {sigma:g}")
        if self.model_error is not None and not 0 < self.model_error < 1:
            raise ConfigError(
                f"model_error: expected a share of the flux between 0 and 1, got {self.model_error:g}"
            )
        if not 0 <= self.wave_error < 1:
            raise ConfigError(
                f"wave_error: expected a share of the flux from 0 to 1, got {self.wave_error:g}"
            )
        if not 0 <= self.core_error < 10:
            raise ConfigError(f"core_error: expected 0 to 10, got {self.core_error:g}")
        if not 1 <= self.starts <= 12:
            raise ConfigError(f"starts: expected 1 to 12, got {self.starts}")
        if not 10 <= self.velocity <= 1000:
            raise ConfigError(f"velocity: expected 10 to 1000 km/s, got {self.velocity:g}")
        if self.continuum_order is not None and not 0 <= self.continuum_order <= 60:
            raise ConfigError(f"continuum_order: expected 0 to 60, got {self.continuum_order}")

    @property
    def flat_error(self) -> float:
        """The model error of pixels of which nothing else is known."""
        return FLAT_ERROR if self.model_error is None else self.model_error

    def order_for(self, span: float) -> int:
        """Return the order of the continuum for a spectrum that spans `span` Å."""
        if self.continuum_order is not None:
            return self.continuum_order
        return max(LEAST_ORDER, round(span / CONTINUUM_SCALE))

    def waves_for(self, span: float) -> int:
        """Return how many coefficients continuum and waves of a spectrum that spans `span` Å have together."""
        return round(span / WAVE_SCALE) if self.wave_error > 0 else 0
