"""Scores of denoised spectra against the noise-free flux and the exact optimum: errors, bias, coverage, with intervals.

Everything is summed per star first; ratios are of sums over stars, with bootstrap intervals over stars.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from specvit.evaluate.resampling import Interval, bootstrap
from specvit.limits.bayes import BayesCeiling, Observation, SamplerSettings, posterior_spectra
from specvit.simulate import Simulator, splits
from specvit.spectra import SpectraBatch

#: S/N between which stars are scored together.
SNR_EDGES = (0.0, 4.0, 6.0, 9.0, 13.0, np.inf)

#: Fewest stars of which an interval is stated: resamples of a handful say next to nothing of other stars.
FEWEST_STARS = 8

#: Draws of each posterior of the floor, by which coverage is counted.
DRAWS = 39


@dataclass(frozen=True)
class Floor:
    """Held-out stars and the least error there can be: E[flux | spectrum] with each star's own noise known.

    Args:
        stars: with their truth; those whose posterior did not converge are left out.
        mean: shape (B, L).
        std: (B, L).
        inside: share of pixels whose truth is in the central 68 and 95 % of the draws, name -> (B,).
        tenths: share of pixels whose truth is in each tenth of the draws, (B, 10).
        label_mean, label_variance: of the exact posterior of the labels, (B, P), float64.
        left_out: how many stars were.
    """

    stars: SpectraBatch
    mean: Tensor
    std: Tensor
    inside: dict[str, Tensor]
    tenths: Tensor
    label_mean: Tensor
    label_variance: Tensor
    left_out: int


def make_floor(
    simulator: Simulator,
    seed: int,
    count: int,
    progress: Callable[[int], None] | None = None,
    settings: SamplerSettings | None = None,
) -> Floor:
    """Return the floor of the first `count` test stars of a world."""
    stars = simulator.draw(splits.TEST, seed, 0, count)
    ceiling = BayesCeiling(simulator.observed, simulator.prior, settings=settings)
    observation = Observation.from_batch(stars, simulator.instrument, simulator.noise_level)
    found = posterior_spectra(ceiling, observation, DRAWS, progress=progress)
    assert found.draws is not None
    inside = coverage(found.draws, stars)
    kept = found.converged
    return Floor(
        stars[kept],
        found.mean[kept],
        found.variance.sqrt()[kept],
        {name: values[kept] for name, values in inside.items()},
        tenths_of_samples(found.draws, stars)[kept],
        found.label_mean[kept],
        found.label_variance[kept],
        int((~kept).sum()),
    )


def snr_bins(snr: Tensor) -> dict[str, np.ndarray]:
    """Return masks over stars by name: "all", then bins of S/N that hold stars."""
    bins = {"all": np.ones(len(snr), dtype=bool)}
    values = snr.numpy()
    for low, high in itertools.pairwise(SNR_EDGES):
        inside = (values >= low) & (values < high)
        if inside.any():
            name = f"S/N above {low:g}" if np.isinf(high) else f"S/N {low:g} to {high:g}"
            bins[name] = inside
    return bins


def squared_error(flux: Tensor, stars: SpectraBatch, pixels: Tensor | None = None) -> np.ndarray:
    """Return Σ (flux - truth)² per star over its live pixels, or those of a mask (L,), shape (B,)."""
    return _summed((flux - stars.known_truth().flux).square(), stars, pixels)


def weighted_error(flux: Tensor, stars: SpectraBatch, power: int, pixels: Tensor | None = None) -> np.ndarray:
    """Return Σ |flux - truth|^power / σ^power per star, the noise it was drawn with, shape (B,)."""
    truth = stars.known_truth()
    return _summed(((flux - truth.flux).abs() / truth.sigma).pow(power), stars, pixels)


def interval(statistic: Callable[..., np.ndarray], *columns: np.ndarray, seed: int = 0) -> Interval:
    """Return a statistic of stars with its bootstrap interval; ends are NaN for fewer than `FEWEST_STARS`."""
    if len(columns[0]) < FEWEST_STARS:
        return Interval(float(statistic(*columns)), float("nan"), float("nan"))
    return bootstrap(statistic, *columns, seed=seed)


def ratio(over: np.ndarray, under: np.ndarray, rows: np.ndarray, seed: int = 0) -> Interval:
    """Return Σ over / Σ under over the stars of a mask, with its interval, see `interval`."""
    return interval(lambda a, b: a.sum(axis=-1) / b.sum(axis=-1), over[rows], under[rows], seed=seed)


def mean(values: np.ndarray, rows: np.ndarray, seed: int = 0) -> Interval:
    """Return the mean over the stars of a mask, with its interval, see `interval`."""
    return interval(lambda a: a.mean(axis=-1), values[rows], seed=seed)


def scatter(values: np.ndarray, rows: np.ndarray, seed: int = 0) -> Interval:
    """Return the standard deviation over the stars of a mask, with its interval, see `interval`."""
    return interval(lambda a: a.std(axis=-1), values[rows], seed=seed)


def coverage(samples: Tensor, stars: SpectraBatch) -> dict[str, Tensor]:
    """Return the share of live pixels whose truth lies in the central 68 and 95 % of S samples (B, S, L), each (B,).

    The rank of a truth among samples of its own posterior is uniform on S + 1 places; the places at both ends of the
    interval count by the part of them that lies inside it.
    """
    live = torch.isfinite(stars.sigma)
    inside = inside_of(samples, stars.known_truth().flux)
    return {
        name: torch.where(live, values, 0.0).sum(dim=1) / live.sum(dim=1) for name, values in inside.items()
    }


def inside_of(draws: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Return whether truths (B, ...) lie in the central 68 and 95 % of S draws (B, S, ...), as shares from 0 to 1."""
    places = draws.shape[1] + 1
    rank = (draws < truth[:, None]).sum(dim=1).double()
    found = {}
    for share in (68, 95):
        edge = (1 - share / 100) / 2 * places
        found[f"{share} %"] = _between(rank, edge, places - edge)
    return found


def tenths_of_samples(samples: Tensor, stars: SpectraBatch) -> Tensor:
    """Return the share of live pixels whose truth falls in each tenth of S samples (B, S, L), shape (B, 10).

    The probability integral transform by ranks: of right samples each tenth holds a tenth. A rank counts in every tenth
    by the part of its place that lies there.
    """
    places = samples.shape[1] + 1
    rank = (samples < stars.known_truth().flux[:, None]).sum(dim=1).double()
    ends = [places * tenth / 10 for tenth in range(11)]
    return _shares([_between(rank, low, high) for low, high in itertools.pairwise(ends)], stars)


def tenths_of_errors(flux: Tensor, std: Tensor, stars: SpectraBatch) -> Tensor:
    """Return the share of live pixels whose truth falls in each tenth of the normal distribution stated, (B, 10)."""
    level = torch.special.ndtr((stars.known_truth().flux - flux).double() / std)
    at = (10 * level).clamp(max=9).floor()
    return _shares([(at == tenth).double() for tenth in range(10)], stars)


def _between(rank: Tensor, low: float, high: float) -> Tensor:
    """Return which part of the places [rank, rank + 1] lies between two ends."""
    return ((rank + 1).clamp(max=high) - rank.clamp(min=low)).clamp(min=0)


def _shares(parts: list[Tensor], stars: SpectraBatch) -> Tensor:
    live = torch.isfinite(stars.sigma)
    return torch.stack([torch.where(live, part, 0.0).sum(dim=1) for part in parts], dim=1) / live.sum(
        dim=1, keepdim=True
    )


def stated_coverage(flux: Tensor, std: Tensor, stars: SpectraBatch) -> dict[str, Tensor]:
    """Return the share of live pixels whose truth lies within 1 and 1.96 stated errors, each (B,)."""
    off, live = (flux - stars.known_truth().flux).abs(), torch.isfinite(stars.sigma)
    return {
        name: ((off <= width * std) & live).sum(dim=1) / live.sum(dim=1)
        for name, width in (("68 %", 0.9945), ("95 %", 1.96))
    }


def _summed(values: Tensor, stars: SpectraBatch, pixels: Tensor | None) -> np.ndarray:
    live = torch.isfinite(stars.sigma)
    counted = live if pixels is None else live & pixels
    return torch.where(counted, values, 0.0).double().sum(dim=1).numpy()
