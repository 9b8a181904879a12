"""What the posterior of the labels says of the noise-free spectrum: its mean, its variance per pixel, draws of it.

A spectrum is amplitude · multipliers(labels) @ rows, so all moments are taken in the few multipliers and carried to
the pixels at the end. The amplitude is integrated over in closed form: for given labels it is Gaussian under the
working weights, to within a share of 1e-4 of the variances (its own error is a third of a per cent at S/N 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specvit.instrument import ObservedEmulator
from specvit.limits.bayes.ceiling import BayesCeiling, Progress
from specvit.limits.bayes.estimates import estimate
from specvit.limits.bayes.observation import Observation
from specvit.limits.bayes.pareto import k_limit, pareto_k
from specvit.limits.bayes.sampler import FreshSamples
from specvit.limits.bayes.weights import effective_sample_size, normalise, resample


@dataclass(frozen=True)
class SpectrumPosterior:
    """Posteriors of the noise-free flux of B stars, float32 on the device of the observation.

    Args:
        mean: E[flux | spectrum], shape (B, L), in the unit of the observation: the smallest mean square error.
        variance: per pixel, (B, L).
        draws: equally weighted, shape (B, D, L), or None.
        labels: those of `draws`, shape (B, D, P), float64, or None.
        label_mean, label_variance: of the labels, shape (B, P), float64.
        ess: effective sample size, shape (B,).
        converged: as `Posterior.converged`, shape (B,).
        samples: likelihoods computed, shape (B,).
    """

    mean: Tensor
    variance: Tensor
    draws: Tensor | None
    labels: Tensor | None
    label_mean: Tensor
    label_variance: Tensor
    ess: Tensor
    converged: Tensor
    samples: Tensor

    def __len__(self) -> int:
        return self.mean.shape[0]


@torch.no_grad()
def posterior_spectra(
    ceiling: BayesCeiling,
    observation: Observation,
    draws: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
) -> SpectrumPosterior:
    """Return the posteriors of the noise-free flux of all stars.

    Args:
        ceiling: sampler, prior and spectra.
        observation: B stars, on the device of the emulator.
        draws: spectra to draw from each posterior.
        seed: of these.
        progress: called with the number of stars finished by each step.
    """
    generator = torch.Generator(observation.flux.device).manual_seed(seed)
    parts: list[tuple[Tensor, SpectrumPosterior]] = []
    for first, samples in ceiling.weighted_labels(observation):
        stars = first + samples.stars
        part = _of_samples(ceiling, observation[stars], samples, draws, generator)
        parts.append((stars, part))
        if progress is not None:
            progress(len(stars))
    return _in_order(parts)


def _of_samples(
    ceiling: BayesCeiling, stars: Observation, samples: FreshSamples, draws: int, generator: torch.Generator
) -> SpectrumPosterior:
    """Return what weighted labels (A, S, P) say of the spectra of A stars."""
    rows = ceiling.observed.get_buffer("rows")
    weight = normalise(samples.log_weight)
    ess, tail = effective_sample_size(weight), pareto_k(samples.log_weight)
    mean, variance, drawn = [], [], []
    known = ceiling.amplitude == "known"
    picked = resample(weight, draws, generator) if draws else None
    for i in range(len(stars)):
        star = stars[slice(i, i + 1)]
        multipliers = _multipliers(ceiling.observed, samples.points[i], star.flux.dtype)
        amplitude, error = _amplitude(multipliers, rows, star, known)
        average, covariance = _moments(multipliers, amplitude, error, weight[i])
        mean.append(average.to(rows) @ rows)
        variance.append(_diagonal(covariance, rows))
        if picked is not None:
            chosen = picked[i]
            normal = torch.randn(draws, generator=generator, device=rows.device, dtype=torch.float64)
            scale = amplitude[chosen] + error[chosen] * normal
            drawn.append((scale[:, None] * multipliers[chosen]).to(rows) @ rows)
    labels = None
    if picked is not None:
        labels = samples.points.gather(1, picked[..., None].expand(-1, -1, samples.points.shape[-1]))
    moments = estimate(samples.points, weight, (0.5,))
    converged = (ess >= ceiling.settings.minimum_ess) & (tail < k_limit(samples.points.shape[1]))
    return SpectrumPosterior(
        torch.stack(mean),
        torch.stack(variance),
        torch.stack(drawn) if drawn else None,
        labels,
        moments.mean,
        moments.covariance.diagonal(dim1=1, dim2=2),
        ess,
        converged,
        torch.full_like(ess, samples.spent, dtype=torch.int64),
    )


def _multipliers(observed: ObservedEmulator, labels: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what multiplies the rows for labels (S, P), shape (S, K + 1), float64."""
    return observed.multipliers(observed.coefficients(labels.to(dtype))).double()


def _amplitude(multipliers: Tensor, rows: Tensor, star: Observation, known: bool) -> tuple[Tensor, Tensor]:
    """Return mean and error of the amplitude for each of the labels, each (S,), float64, as the likelihood draws it."""
    if known:
        return star.scale.double().expand(len(multipliers)), multipliers.new_zeros(len(multipliers))
    weighted = rows * star.weight
    cross = multipliers @ (weighted @ star.flux[0]).double()
    square = ((multipliers @ (weighted @ rows.T).double()) * multipliers).sum(1)
    return cross / square, square.rsqrt()


def _moments(multipliers: Tensor, amplitude: Tensor, error: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean (K + 1,) and covariance of amplitude · multipliers, the bias of order 1/S removed.

    See `estimates.estimate`; what an unknown amplitude adds is a mean over the labels.
    """
    values, squared = amplitude[:, None] * multipliers, weight.square()
    m = weight @ values
    centred = values - m
    plain, scatter = ((centred * w[:, None]).T @ centred for w in (weight, squared))
    scaled = error[:, None] * multipliers
    inner = (scaled * weight[:, None]).T @ scaled
    return m + squared @ centred, (1 - squared.sum()) * plain + 2 * scatter + inner


def _diagonal(covariance: Tensor, rows: Tensor) -> Tensor:
    """Return the diagonal of rowsᵀ C rows, shape (L,), in the type of the rows."""
    value, vector = torch.linalg.eigh(covariance)
    # Rounding may put an eigenvalue below zero.
    root = (vector * value.clamp(min=0).sqrt()).T.to(rows)
    diagonal: Tensor = (root @ rows).square().sum(0)
    return diagonal


def _in_order(parts: list[tuple[Tensor, SpectrumPosterior]]) -> SpectrumPosterior:
    order = torch.cat([stars for stars, _ in parts]).argsort()
    joined: dict[str, Tensor | None] = {}
    for name in SpectrumPosterior.__dataclass_fields__:
        values = [getattr(part, name) for _, part in parts]
        joined[name] = None if values[0] is None else torch.cat(values)[order]
    return SpectrumPosterior(**joined)  # type: ignore[arg-type]
