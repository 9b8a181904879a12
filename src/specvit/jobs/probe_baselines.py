"""What layers are compared with: pixels, their components, sufficient statistics, hand-made features, noise alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from specvit.models.experts.linear_experts import LinearExperts
from specvit.models.inputs import fill_dead, relative_spectra
from specvit.models.readouts import LINEAR, Rows, fit_readout
from specvit.models.subspace import SubspaceProjection
from specvit.spectra import SpectraBatch

Vectors = tuple[Tensor, Tensor, Tensor]
Kind = TypeVar("Kind")

#: Numbers of principal components; of coefficients and noise patterns of the statistics.
COMPONENTS = (10, 48, 200)
STATISTICS, PATTERNS = 48, 12
#: Of the hand-made features of the reference work: components, segments of the pixels Ridge weighs most, quantiles of
#: sigma; and of the windows about these pixels.
GLOBAL_COMPONENTS, GLOBAL_SEGMENTS, STRONGEST, QUANTILES = 96, 24, 512, 5
WINDOWS, WINDOW = 64, 17


def baselines(parts: Sequence[SpectraBatch], labels: Vectors) -> dict[str, Vectors]:
    """Return name -> vectors of training, validation and test spectra, fitted on the first two alone.

    The towers are hand-made features that were proposed for this task: components, an estimate by Ridge, means of
    stretches of the pixels it weighs most and the noise (global), and windows about these pixels (local).
    """
    pixels = pixels_of(parts)
    found = {"pixels": pixels}
    mean, directions = _components(pixels[0], max(*COMPONENTS, GLOBAL_COMPONENTS))
    scores = _triple(pixels, lambda part: (part - mean) @ directions)
    for count in COMPONENTS:
        if count <= directions.shape[1]:
            found[f"pca:{count}"] = _triple(scores, partial(_leading, count))
    found["statistics"] = statistics_of(parts)
    weights, linear = _ridge(pixels, labels)
    strongest = weights.argsort(descending=True)[:STRONGEST].sort().values
    noise = noise_alone(parts)
    segments = _triple(pixels, lambda part: _segment_means(part[:, strongest]))
    wide = _triple(scores, lambda part: part[:, :GLOBAL_COMPONENTS])
    towers = _joined([wide, linear, segments, noise])
    found["global tower"] = towers
    found["local tower"] = _joined([_windows(pixels, weights), linear])
    found["both towers"] = _joined([towers, found["local tower"]])
    return found


def pixels_of(parts: Sequence[SpectraBatch]) -> Vectors:
    """Return relative flux, dead pixels at the mean of the training spectra."""
    spectra = [relative_spectra(part.flux, part.sigma, part.flux.shape[1], "baselines") for part in parts]
    live = torch.isfinite(spectra[0].sigma)
    mean = torch.where(live, spectra[0].flux, 0.0).sum(dim=0) / live.sum(dim=0).clamp(min=1)
    return _triple(spectra, lambda one: fill_dead(one, mean).float())


def statistics_of(parts: Sequence[SpectraBatch]) -> Vectors:
    """Return the coefficients of noise-free spectra, weighted by sigma, and the noise levels: nearly sufficient."""
    train = parts[0]
    projection = SubspaceProjection(train.flux.shape[1], min(STATISTICS, len(train) // 2), PATTERNS)
    projection.fit(train.known_truth().flux, train.flux, train.sigma)

    def of(part: SpectraBatch) -> Tensor:
        inputs = projection(part.flux, part.sigma)
        return torch.cat([inputs.values.flatten(1), inputs.level], dim=1)

    return _triple(parts, of)


def noise_alone(parts: Sequence[SpectraBatch]) -> Vectors:
    """Return quantiles of ln sigma over the level of each spectrum: what a pipeline's noise says without the flux."""

    def of(part: SpectraBatch) -> Tensor:
        spectra = relative_spectra(part.flux, part.sigma, part.flux.shape[1], "baselines")
        known = torch.where(torch.isfinite(spectra.sigma), spectra.sigma, torch.nan)
        at = torch.linspace(0.05, 0.95, QUANTILES, dtype=known.dtype)
        return known.nanquantile(at, dim=1).T.log().float()

    return _triple(parts, of)


def _components(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the mean and the leading principal directions, (L, K)."""
    mean = values.mean(dim=0)
    centred = (values - mean).double()
    count = min(count, len(values) - 1)
    # N x N or L x L, whichever is smaller.
    if len(centred) <= centred.shape[1]:
        vectors = torch.linalg.eigh(centred @ centred.T).eigenvectors[:, -count:].flip(1)
        directions = centred.T @ vectors
    else:
        directions = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -count:].flip(1)
    return mean, (directions / directions.norm(dim=0).clamp(min=1e-30)).float()


def _ridge(pixels: Vectors, labels: Vectors) -> tuple[Tensor, Vectors]:
    """Return how far each pixel moves the estimates of Ridge on all of them, shape (L,), and what it says."""
    readout = fit_readout(LINEAR, Rows(pixels[0], labels[0]), Rows(pixels[1], labels[1]))
    assert isinstance(readout.expert, LinearExperts)
    moved = readout.expert.weights[0] * pixels[0].double().std(dim=0)[:, None] / labels[0].std(dim=0)
    return moved.norm(dim=1), _triple(pixels, lambda part: readout(part).float())


def _leading(count: int, values: Tensor) -> Tensor:
    return values[:, :count]


def _segment_means(values: Tensor) -> Tensor:
    return torch.nn.functional.adaptive_avg_pool1d(values[:, None], GLOBAL_SEGMENTS)[:, 0]


def _windows(pixels: Vectors, weights: Tensor) -> Vectors:
    """Return the pixels in windows about those that Ridge weighs most, no two of which touch."""
    order, taken = weights.argsort(descending=True).tolist(), torch.zeros(len(weights), dtype=torch.bool)
    centres = 0
    for at in order:
        start, stop = max(0, at - WINDOW // 2), min(len(weights), at + WINDOW // 2 + 1)
        if not bool(taken[start:stop].any()):
            taken[start:stop] = True
            centres += 1
        if centres == WINDOWS:
            break
    return _triple(pixels, lambda part: part[:, taken])


def _joined(parts: list[Vectors]) -> Vectors:
    first, second, third = (torch.cat([vectors[at] for vectors in parts], dim=1) for at in range(3))
    return first, second, third


def _triple(parts: Sequence[Kind], make: Callable[[Kind], Tensor]) -> Vectors:
    first, second, third = (make(part) for part in parts)
    return first, second, third
