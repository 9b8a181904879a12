"""What can be told of a spectrum from its sigma alone: strategies, from the raw vector to a single number.

A gate may know the S/N of a spectrum; it may not read the star off its noise, because the true noise is made of the
star's own light. The strategies are those of the reference work (S0 to S4); `specvit audit leak` says which of them leak.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from specvit.models.inputs import RelativeSpectra

#: Pixels, evenly spaced, that tell the scale of a noise vector: more would tell it no better.
PIXELS = 512

#: From sigma (B, L) of live pixels and the mean sigma of the training (L,) to features (B, F).
Strategy = Callable[[Tensor, Tensor], Tensor]


def scale_features(sigma: Tensor, mean: Tensor) -> Tensor:
    """Return ln scale against a mean noise, and the scatter and slope of what is left, shape (B, 3), float64.

    Args:
        sigma: shape (B, L); `inf` on dead pixels, which are left out.
        mean: shape (L,), > 0.
    """
    step = max(1, sigma.shape[1] // PIXELS)
    sigma, mean = sigma[:, ::step], mean[::step]
    known = torch.isfinite(sigma)
    ratio = torch.where(known, sigma / mean, 1.0).clamp(min=1e-30).log()
    count = known.sum(dim=1).clamp(min=1)
    scale = torch.where(known, ratio, 0.0).sum(dim=1) / count
    left = torch.where(known, ratio - scale[:, None], 0.0)
    scatter = (left.square().sum(dim=1) / count).sqrt()
    position = torch.linspace(-1, 1, sigma.shape[1], dtype=sigma.dtype, device=sigma.device)
    slope = (left * position).sum(dim=1) / torch.where(known, position.square(), 0.0).sum(dim=1).clamp(
        min=1e-9
    )
    return torch.stack([scale, scatter, slope], dim=1)


def _shape(sigma: Tensor, mean: Tensor) -> Tensor:
    return sigma / sigma.square().mean(dim=1, keepdim=True).sqrt()


def _flat_shape(sigma: Tensor, mean: Tensor) -> Tensor:
    return _shape(sigma / mean, mean)


def _quantiles(count: int) -> Strategy:
    def of(sigma: Tensor, mean: Tensor) -> Tensor:
        ordered = sigma.sort(dim=1).values
        at = torch.linspace(0, sigma.shape[1] - 1, count).round().long()
        return ordered[:, at]

    return of


def _aggregates(sigma: Tensor, mean: Tensor) -> Tensor:
    """Return mean, std, min, max, median, sum, quartiles, skewness and kurtosis, shape (B, 10)."""
    centre, std = sigma.mean(dim=1), sigma.std(dim=1).clamp(min=1e-30)
    left = (sigma - centre[:, None]) / std[:, None]
    lower, median, upper = _quantiles(5)(sigma, mean)[:, 1:4].unbind(dim=1)
    return torch.stack(
        [
            *(centre, std, sigma.amin(dim=1), sigma.amax(dim=1), median, sigma.sum(dim=1), lower, upper),
            *(left.pow(3).mean(dim=1), left.pow(4).mean(dim=1)),
        ],
        dim=1,
    )


#: Name -> strategy, from what shows most of the noise vector to what shows least.
STRATEGIES: dict[str, Strategy] = {
    "S0-raw": lambda sigma, mean: sigma,
    "S1a-shape": _shape,
    "S1b-flat-shape": _flat_shape,
    "S2-scale": lambda sigma, mean: scale_features(sigma, mean)[:, :2],
    "S2b-scale-slope": scale_features,
    "S3-quantiles-11": _quantiles(11),
    "S3-quantiles-21": _quantiles(21),
    "S3b-aggregates": _aggregates,
    "S4-norm": lambda sigma, mean: sigma.square().sum(dim=1, keepdim=True).sqrt(),
}


def noise_features(strategy: str, spectra: RelativeSpectra, mean: Tensor) -> Tensor:
    """Return the features of a strategy, shape (B, F), float64; a dead pixel has the mean noise of the training."""
    sigma = torch.where(torch.isfinite(spectra.sigma), spectra.sigma, mean)
    return STRATEGIES[strategy](sigma, mean)
