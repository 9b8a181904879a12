"""From minima to answers: errors of labels, distinct minima, flags. What is said of a star is put together here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from specvit.inference.errors import BOX_VARIANCE, label_std
from specvit.stellar.descent import StarBox, StarMinima
from specvit.stellar.flags import FittedStar, flags_of
from specvit.stellar.objective import StarArrays, StarObjective
from specvit.stellar.parameters import FittedSpectrum, Minimum, StellarParameters
from specvit.stellar.pixels import FitPixels
from specvit.stellar.systematic import within_priors


@dataclass(frozen=True)
class _Posterior:
    """One star: labels, velocity, ln(width) at its minima (M, P + 2), their deviations, and the labels' covariance.

    `room` is how far each label of the best minimum is from the nearest face, in shares of the box, `found` are the
    minima that differ.
    """

    values: Tensor
    spread: Tensor
    covariance: np.ndarray
    room: Tensor
    found: tuple[Minimum, ...]


class Answers:
    """What is said of the stars of a batch.

    Args:
        objective: χ² of the batch.
        box: of labels, velocities and widths.
        minima: that were found.
        largest: km/s, the largest velocity that was looked for.
        systematic: label -> 1 σ that statistical errors lack.
        notes: what was taken for granted of all stars.
    """

    def __init__(
        self,
        objective: StarObjective,
        box: StarBox,
        minima: StarMinima,
        largest: float,
        systematic: Mapping[str, float],
        notes: tuple[str, ...] = (),
    ) -> None:
        self.objective, self.box, self.minima, self.largest = objective, box, minima, largest
        self.systematic, self.notes = systematic, notes
        self.names = objective.templates.emulator.label_space.names

    def of(
        self, k: int, star: FitPixels, weight: np.ndarray, model: np.ndarray, continuum: np.ndarray
    ) -> tuple[StellarParameters, FittedSpectrum]:
        """Return the answer for star `k`: weights of its pixels, best model and continuum on padded pixels."""
        arrays, here = self.objective.arrays, slice(0, star.wavelength.size)
        smooth_chi2, coefficients = _smooth(arrays, k)
        freedom = max(round(int((weight > 0).sum()) - coefficients) - len(self.names) - 1, 1)
        posterior = self._posterior(k, freedom)
        best, count = posterior.found[0], len(self.names)
        errors = dict(zip(self.names, posterior.spread.tolist(), strict=False))
        judged = FittedStar(
            star,
            model[here],
            weight,
            best.values,
            errors,
            dict(zip(self.names, posterior.room.tolist(), strict=False)),
            best.velocity,
            self.largest,
            best.chi2,
            freedom,
            smooth_chi2,
            posterior.found,
            *self._width(k, float(posterior.values[0, -1])),
            self.objective.priors.pulls(k, best.values),
        )
        spectrum, used = star.spectrum, star.usable
        width = float(posterior.values[0, -1].exp())
        answer = StellarParameters(
            name=spectrum.name,
            source=spectrum.source,
            labels=best.values,
            errors=errors,
            velocity=best.velocity,
            velocity_error=float(posterior.spread[count]),
            width=width,
            width_error=float(posterior.spread[-1]) * width,
            chi2=best.chi2 / freedom,
            snr=float(np.median(star.flux[used] / star.sigma[used])),
            pixels=int(used.sum()),
            covariance=posterior.covariance,
            minima=posterior.found,
            flags=flags_of(judged),
            resolution=star.resolution,
            medium=spectrum.medium,
            frame=spectrum.frame,
            form=spectrum.form,
            assumptions=(*spectrum.assumptions, *star.notes, *self.notes),
            facts=dict(spectrum.facts),
            systematic=within_priors(self.systematic, errors, self.objective.priors.known(k)),
        )
        shown = FittedSpectrum(spectrum, star.wavelength, star.flux, star.sigma, model[here], continuum[here])
        return answer, shown

    def _width(self, k: int, width: float) -> tuple[float, float, float]:
        """Return ln(width), 1 σ of its prior, and how far it may go on the side where it is."""
        low, size = float(self.box.low[k, -1]), float(self.box.size[k, -1])
        return width, float(self.objective.priors.width_sigma[k]), low + size if width > 0 else -low

    def _posterior(self, k: int, freedom: int) -> _Posterior:
        minima, box, count = self.minima, self.box, len(self.names)
        reduced = max(1.0, float(minima.chi2[k, 0]) / freedom)
        rows = torch.full((minima.position.shape[1],), k)
        values = box.values(rows, minima.position[k])
        fisher = _scaled_fisher(self.objective, box, rows, values, minima.curvature[k], reduced)
        low, high = bounds = box.region.bounds(minima.position[k])
        std = label_std(minima.position[k], fisher, bounds) * box.size[k]
        room = torch.minimum(minima.position[k] - low, high - minima.position[k])
        excess = (minima.total[k] - minima.total[k, 0]) / reduced
        kept = _distinct(minima.position[k])
        # As the errors have it, every label lies in the box: a label without information leaves the others theirs.
        confined = fisher + torch.eye(fisher.shape[-1]).to(fisher) / BOX_VARIANCE
        size = box.size[k, :count]
        covariance = torch.linalg.inv(confined[0])[:count, :count] * size[:, None] * size
        found = tuple(
            Minimum(
                dict(zip(self.names, values[m].tolist(), strict=False)),
                float(values[m, count]),
                float(minima.chi2[k, m]),
                float(excess[m]),
            )
            for m in kept
        )
        spread = _mixture(values, std, confined, excess, kept)
        return _Posterior(values, spread, covariance.numpy(), room[0], found)


def _scaled_fisher(
    objective: StarObjective, box: StarBox, rows: Tensor, values: Tensor, curvature: Tensor, reduced: float
) -> Tensor:
    """Return the curvature with that of the pixels divided by χ² per degree of freedom; priors stay."""
    _, tilt = objective.priors.residuals(rows, values)
    tilt = tilt * box.size[rows][:, None]
    prior = tilt.mT @ tilt
    return (curvature - prior) / reduced + prior


def _distinct(position: Tensor) -> list[int]:
    """Return the minima that differ from all better ones by more than 1 % of the box in some label."""
    kept: list[int] = []
    for m in range(len(position)):
        if all(float((position[m, :-2] - position[other, :-2]).abs().max()) > 0.01 for other in kept):
            kept.append(m)
    return kept


def _mixture(values: Tensor, std: Tensor, fisher: Tensor, excess: Tensor, kept: list[int]) -> Tensor:
    """Return the deviation from the best minimum of a mixture of normal distributions, one at each minimum."""
    chosen = torch.tensor(kept)
    weight = torch.softmax(-0.5 * excess[chosen] - 0.5 * torch.logdet(fisher[chosen]), 0)
    away = (values[chosen] - values[0]).square() + std[chosen].square()
    return (weight[:, None] * away).sum(0).sqrt()


def _smooth(arrays: StarArrays, k: int) -> tuple[float, float]:
    """Return χ² of continuum and waves alone, and how many coefficients they have in effect: what the prior leaves."""
    has = ~arrays.precision[k].isinf()
    root = arrays.weight[k].double().sqrt()
    flux = arrays.flux[k] * root
    design = arrays.columns[k, :, : len(has)][:, has].double() * root[:, None]
    plain = design.T @ design
    solution = torch.linalg.lstsq(
        plain + arrays.precision[k][has].diag(), torch.cat([(design.T @ flux)[:, None], plain], 1)
    ).solution
    chi2 = (flux[:, None] - design @ solution[:, :1]).square().sum()
    return float(chi2), float(solution[:, 1:].trace())
