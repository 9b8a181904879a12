"""The exact likelihood of the simulated world, pixel by pixel, for many labels of many stars.

Owns the Gaussian likelihood with a variance that depends on the labels (the star's own photon noise, hence
the log-determinant) and the treatment of the unknown amplitude. Draws nothing from priors.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from specvit.instrument import ObservedEmulator
from specvit.limits.bayes.observation import Observation

#: Elements of one working array. On a CPU a handful of them stays in a core's cache.
CPU_ELEMENTS, DEVICE_ELEMENTS = 1 << 20, 1 << 27


def log_likelihood(
    observed: ObservedEmulator,
    observation: Observation,
    labels: Tensor,
    amplitude_normal: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return ln p(y | labels) per sample and the amplitude used, each of shape (B, S), float64.

    y = A f + noise of variance base + gain A f, so

        ln p = -1/2 Σ [(y - A f)² / (base + gain A f) + ln(base + gain A f)].

    Args:
        observed: noise-free spectra f.
        observation: B stars.
        labels: shape (B, S, P), inside the emulator's domain.
        amplitude_normal: standard normal, shape (B, S), or None. None: A = scale is known. Otherwise A is a
            nuisance with a flat prior in ln A: it is drawn from the Gaussian q(A | labels) of generalised
            least squares with the working weights, and ln[p(y | labels, A) / (A q(A | labels))] is returned,
            an unbiased estimate of the marginal likelihood: importance sampling in (labels, A) stays exact.
    """
    stars, samples = labels.shape[:2]
    result = torch.empty(stars, samples, dtype=torch.float64, device=labels.device)
    amplitude = observation.scale.double()[:, None].expand(stars, samples).clone()
    pixels = observation.flux.shape[1]
    elements = CPU_ELEMENTS if labels.device.type == "cpu" else DEVICE_ELEMENTS
    rows = max(1, elements // pixels)
    per_star = min(samples, rows)
    together = max(1, rows // per_star)
    for first in range(0, stars, together):
        part = slice(first, first + together)
        star = observation[part]
        for start in range(0, samples, per_star):
            block = slice(start, start + per_star)
            normal = None if amplitude_normal is None else amplitude_normal[part, block]
            value, used = _block(observed, star, labels[part, block], normal)
            result[part, block], amplitude[part, block] = value, used
    return result, amplitude


def _block(
    observed: ObservedEmulator, star: Observation, labels: Tensor, normal: Tensor | None
) -> tuple[Tensor, Tensor]:
    shape = labels.shape[:2]
    dtype = star.flux.dtype
    flux = observed(labels.flatten(0, 1).to(dtype), check=False).view(*shape, -1)
    if normal is None:
        amplitude = star.scale[:, None].expand(shape).double()
        log_proposal = torch.zeros((), dtype=torch.float64, device=flux.device)
    else:
        weight = star.weight
        cross = (flux @ (weight * star.flux)[..., None])[..., 0].double()
        square = (flux.square() @ weight[..., None])[..., 0].double()
        # Generalised least squares: A is cross / square with variance 1 / square under the working weights.
        error = square.rsqrt()
        amplitude = (cross / square + error * normal).clamp(min=1e-6)
        log_proposal = -0.5 * normal.square() - 0.5 * math.log(2 * math.pi) - error.log() + amplitude.log()
    # In place from here on: the arrays of a block stay in the cache, and nothing needs a gradient.
    model = flux.mul_(amplitude.to(dtype)[..., None])
    variance = torch.addcmul(star.base[:, None], star.gain[:, None], model)
    residual = model.sub_(star.flux[:, None]).square_().div_(variance)
    # ln(var / working var): sums of small numbers keep their float32 digits.
    relative = variance.mul_(star.weight[:, None]).log_()
    value = -0.5 * (residual.sum(-1).double() + relative.sum(-1).double())
    return value - log_proposal, amplitude
