"""Forecasts over magnitudes: for which stars, and the numbers of their table. Computes no bound itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import torch
from torch import Tensor

from specvit.errors import ConfigError
from specvit.library import CoveredCells
from specvit.limits.forecast import Forecast, Forecaster
from specvit.simulate.priors import LatticePrior, make_prior
from specvit.spectra import LabelSpace

#: Axes of the reference work's three-label grid; the chemistry is solar-scaled.
NODE_AXES = ("teff", "log_g", "m_h")


def grid_nodes(label_space: LabelSpace, chemistry: bool = False) -> Tensor:
    """Return the reference work's grid nodes in the box, shape (N, P), float64.

    In the low-temperature box these are 10 x 9 x 14 = 1260 nodes of solar-scaled chemistry, the stars of the
    published 3-label table; with `chemistry`, the 4 x 6 nodes of each in [α/M] and [C/M] too, 30240 in all,
    those of the 5-label table (of which the reference library lacks 58).

    Raises:
        ConfigError: if the box is not a whole number of the reference's steps, or excludes zero chemistry.
    """
    lattice = LatticePrior.reference(label_space)
    varied = label_space.names if chemistry else NODE_AXES
    axes = [lattice.nodes(name) if name in varied else np.zeros(1) for name in label_space.names]
    for name, low, high in zip(label_space.names, label_space.low, label_space.high, strict=True):
        if name not in varied and not low <= 0.0 <= high:
            raise ConfigError(f"grid nodes have {name} = 0, outside {low:g} to {high:g}; use prior draws")
    # "ij" keeps the order of the labels; NumPy's default would exchange the first two.
    mesh = np.meshgrid(*axes, indexing="ij")
    return torch.from_numpy(np.stack([axis.ravel() for axis in mesh], axis=1))


def prior_draws(
    label_space: LabelSpace, count: int, seed: int, coverage: CoveredCells | None = None
) -> Tensor:
    """Return `count` uniform draws from the box, or from its covered part, shape (count, P), float64."""
    prior = make_prior("uniform", label_space, coverage)
    return prior.sample(count, np.random.default_rng(seed)).to(torch.float64)


@dataclass(frozen=True)
class SweepRow:
    """One magnitude of a sweep; "p10" and "p90" are percentiles over the stars.

    Args:
        mag: magnitude in the instrument's band.
        snr: median over stars of the median S/N per pixel.
        r2_median, r2_mean, r2_p10, r2_p90: of R²_max = clip(1 - CRLB / variance, 0, 1).
        r2_shrunk_mean: mean of V / (V + CRLB), to be compared with pooled R².
        zero_fraction: share of stars with R²_max = 0.
        sigma_p10, sigma_median, sigma_p90: of sqrt(CRLB), label units.
        schur_median, schur_p10: of the Schur decay.
        condition_median, condition_max: of the unscaled Fisher matrix.
        singular: stars whose labels are degenerate in float64; their R²_max is 0.
    """

    mag: float
    snr: float
    r2_median: float
    r2_mean: float
    r2_p10: float
    r2_p90: float
    r2_shrunk_mean: float
    zero_fraction: float
    sigma_p10: float
    sigma_median: float
    sigma_p90: float
    schur_median: float
    schur_p10: float
    condition_median: float
    condition_max: float
    singular: int

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the column names, in order."""
        return tuple(field.name for field in fields(cls))

    def to_dict(self) -> dict[str, float]:
        """Return a JSON-ready row."""
        return asdict(self)


def sweep(
    forecaster: Forecaster,
    labels: Tensor,
    magnitudes: Sequence[float],
    progress: Callable[[int, int], None] | None = None,
    **overrides: float,
) -> list[Forecast]:
    """Return one forecast per magnitude, all else at the instrument's defaults or as overridden.

    Args:
        forecaster: emulator, instrument and free parameters.
        labels: the stars, shape (N, P).
        magnitudes: in the instrument's band.
        progress: called with (stars done, stars in all).
        overrides: conditions by name, e.g. `seeing=0.6`.
    """
    fixed = forecaster.instrument.fixed_conditions
    scenarios = [fixed(len(labels), mag=float(mag), **overrides) for mag in magnitudes]
    return forecaster.forecast(labels, scenarios, progress)


def summarise(mag: float, forecast: Forecast, variance: float) -> SweepRow:
    """Return the row of one magnitude, with R² relative to the prior `variance` of the label."""
    crlb = forecast.crlb
    r2, sigma, schur = forecast.r2_max(variance), crlb.sqrt(), forecast.schur_decay
    condition = forecast.condition_unscaled

    def percentile(values: Tensor, percent: float) -> float:
        # `inf` is a value here: nearest ranks, because inf - inf is no interpolation.
        return float(np.percentile(values.numpy(), percent, method="nearest"))

    return SweepRow(
        mag=float(mag),
        snr=percentile(forecast.snr, 50),
        r2_median=percentile(r2, 50),
        r2_mean=float(r2.mean()),
        r2_p10=percentile(r2, 10),
        r2_p90=percentile(r2, 90),
        r2_shrunk_mean=float(forecast.r2_shrunk(variance).mean()),
        zero_fraction=float((r2 == 0).double().mean()),
        sigma_p10=percentile(sigma, 10),
        sigma_median=percentile(sigma, 50),
        sigma_p90=percentile(sigma, 90),
        schur_median=percentile(schur, 50),
        schur_p10=percentile(schur, 10),
        condition_median=percentile(condition, 50),
        condition_max=float(condition.max()),
        singular=int(torch.isinf(crlb).sum()),
    )
