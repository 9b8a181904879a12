"""`StarFitter`: stellar parameters of observed spectra, from the posterior of templates with what real spectra have.

Ties the parts together: pixels, templates of the star's resolution, scan of velocities, descents, errors, flags.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from specvit.errors import DataError
from specvit.inference.errors import label_std
from specvit.library import Emulator
from specvit.observed import ObservedSpectrum
from specvit.spectra import SPEED_OF_LIGHT_KM_S
from specvit.stellar.descent import StarBox, StarMinima, descend
from specvit.stellar.flags import Judged, flags_of
from specvit.stellar.objective import StarArrays, StarObjective
from specvit.stellar.parameters import FittedSpectrum, Minimum, Refusal, StellarParameters
from specvit.stellar.pixels import CALCIUM, FitPixels, fit_pixels
from specvit.stellar.scan import TemplateBank
from specvit.stellar.settings import StarFitSettings
from specvit.stellar.templates import HIGHEST_WIDTH, LOWEST_WIDTH, WidthTemplates

#: Templates are made for resolutions of this ratio; between them the line width is interpolated.
CLASS_RATIO = 1.1
#: Stars fitted together, and read before they are sorted by resolution.
BATCH, POOL = 32, 256
#: Sets of templates that are kept.
MOST_CLASSES = 24
#: ln of the factor on the line width that is free.
WIDTH_RANGE = 0.3

Outcome = tuple[StellarParameters, FittedSpectrum] | Refusal


class StarFitter:
    """Fits templates of one library to spectra of any instrument.

    Args:
        emulator: of the library; the built-in one if None.
        settings: of the fit.
    """

    def __init__(self, emulator: Emulator | None = None, settings: StarFitSettings | None = None) -> None:
        self.emulator = emulator or Emulator.builtin()
        self.settings = settings or StarFitSettings()
        self._banks: dict[int, TemplateBank] = {}

    def fit(self, spectra: Sequence[ObservedSpectrum]) -> list[Outcome]:
        """Return what is found for each spectrum, in their order: parameters and fitted pixels, or a refusal."""
        return list(self.iter_fit(spectra))

    def iter_fit(self, spectra: Iterable[ObservedSpectrum]) -> Iterator[Outcome]:
        """Yield what is found for each spectrum, in their order; a few hundred are held at once."""
        pool: list[ObservedSpectrum] = []
        for spectrum in spectra:
            pool.append(spectrum)
            if len(pool) == POOL:
                yield from self._pool(pool)
                pool = []
        yield from self._pool(pool)

    def _pool(self, spectra: list[ObservedSpectrum]) -> list[Outcome]:
        found: dict[int, Outcome] = {}
        classes: dict[int, list[tuple[int, FitPixels]]] = {}
        for number, spectrum in enumerate(spectra):
            try:
                grid = self.emulator.grid
                pixels = fit_pixels(spectrum, self.settings, grid.start, grid.stop)
            except DataError as error:
                found[number] = Refusal(spectrum.name, spectrum.source, str(error))
                continue
            key = round(np.log(pixels.resolution) / np.log(CLASS_RATIO))
            classes.setdefault(key, []).append((number, pixels))
        for key, members in classes.items():
            # Of like lengths together: shorter ones are padded.
            members.sort(key=lambda member: member[1].wavelength.size)
            for first in range(0, len(members), BATCH):
                batch = members[first : first + BATCH]
                answers = self._batch([pixels for _, pixels in batch], self._bank(key))
                found |= {number: answer for (number, _), answer in zip(batch, answers, strict=True)}
        return [found[number] for number in range(len(spectra))]

    def _bank(self, key: int) -> TemplateBank:
        if key not in self._banks:
            if len(self._banks) >= MOST_CLASSES:
                del self._banks[next(iter(self._banks))]
            self._banks[key] = TemplateBank(WidthTemplates(self.emulator, CLASS_RATIO**key))
        return self._banks[key]

    @torch.no_grad()
    def _batch(self, stars: list[FitPixels], bank: TemplateBank) -> list[Outcome]:
        settings, templates = self.settings, bank.templates
        plain = [self._weight(star, None) for star in stars]
        labels, velocity = bank.starts(StarArrays.of(stars, plain, templates, settings), settings)
        # Cores are where the best template of the scan has them.
        weights = [self._weight(star, float(v)) for star, v in zip(stars, velocity[:, 0], strict=True)]
        arrays = StarArrays.of(stars, weights, templates, settings)
        objective, box = StarObjective(arrays, templates, settings), self._box(arrays)
        values = torch.cat([labels, velocity[..., None], torch.zeros_like(velocity[..., None])], -1)
        rows = torch.arange(len(stars)).repeat_interleave(values.shape[1])
        start = box.position(rows, values.flatten(0, 1)).view_as(values)
        minima = descend(objective, box, start)
        best = box.values(torch.arange(len(stars)), minima.position[:, 0])
        model, continuum = objective.best(torch.arange(len(stars)), best)
        return [
            self._answer(k, star, objective, box, minima, model[k].numpy(), continuum[k].numpy())
            for k, star in enumerate(stars)
        ]

    def _weight(self, star: FitPixels, velocity: float | None) -> np.ndarray:
        """Return 1/(σ² + model error²) per pixel, 0 where a pixel is left out."""
        error = np.full(star.wavelength.size, self.settings.model_error)
        if velocity is not None:
            rest = star.wavelength / (1 + velocity / SPEED_OF_LIGHT_KM_S)
            core = np.min([np.abs(rest - line) for line in CALCIUM], axis=0) < self.settings.core_width
            error = np.where(core, np.hypot(error, self.settings.core_error), error)
        weight: np.ndarray = 1 / (star.sigma**2 + (error * star.level) ** 2)
        return weight

    def _box(self, arrays: StarArrays) -> StarBox:
        space, count = self.emulator.label_space, len(arrays.flux)
        # Not beyond what templates are interpolated in, for a star whose own width is off the nominal one.
        middle = arrays.own.median(1).values
        low = torch.tensor([*space.low, -self.settings.velocity, 0.0], dtype=torch.float64).repeat(count, 1)
        high = torch.tensor([*space.high, self.settings.velocity, 0.0], dtype=torch.float64).repeat(count, 1)
        low[:, -1] = (LOWEST_WIDTH - middle).clamp(min=-WIDTH_RANGE)
        high[:, -1] = (HIGHEST_WIDTH - middle).clamp(max=WIDTH_RANGE)
        return StarBox(low, high)

    def _answer(
        self,
        k: int,
        star: FitPixels,
        objective: StarObjective,
        box: StarBox,
        minima: StarMinima,
        model: np.ndarray,
        continuum: np.ndarray,
    ) -> Outcome:
        names, count = self.emulator.label_space.names, minima.position.shape[1]
        terms, here = int(objective.arrays.terms[k]), slice(0, star.wavelength.size)
        weight = objective.arrays.weight[k, here].numpy()
        freedom = max(int((weight > 0).sum()) - terms - len(names) - 1, 1)
        reduced = max(1.0, float(minima.chi2[k, 0]) / freedom)
        rows = torch.full((count,), k)
        values = box.values(rows, minima.position[k])
        fisher = _scaled_fisher(objective, box, rows, values, minima.curvature[k], reduced)
        std = label_std(minima.position[k], fisher) * box.size[k]
        excess = (minima.total[k] - minima.total[k, 0]) / reduced
        kept = _distinct(minima.position[k], excess)
        spread = _mixture(values, std, fisher, excess, kept)
        found = tuple(
            Minimum(
                dict(zip(names, values[m].tolist(), strict=False)),
                float(values[m, len(names)]),
                float(minima.chi2[k, m]),
                float(excess[m]),
            )
            for m in kept
        )
        labels, errors = found[0].values, dict(zip(names, spread.tolist(), strict=False))
        judged = Judged(
            star,
            model[here],
            weight,
            labels,
            errors,
            dict(zip(names, minima.position[k, 0].tolist(), strict=False)),
            found[0].velocity,
            self.settings.velocity,
            found[0].chi2,
            freedom,
            _smooth_chi2(objective.arrays, k),
            found,
        )
        covariance = torch.linalg.inv(fisher[0])[: len(names), : len(names)]
        size = box.size[k, : len(names)]
        spectrum = star.spectrum
        used = star.usable
        answer = StellarParameters(
            spectrum.name,
            spectrum.source,
            labels,
            errors,
            found[0].velocity,
            float(spread[len(names)]),
            float(values[0, -1].exp()),
            float(spread[-1] * values[0, -1].exp()),
            found[0].chi2 / freedom,
            float(np.median(star.flux[used] / star.sigma[used])),
            int(used.sum()),
            (covariance * size[:, None] * size).numpy(),
            found,
            flags_of(judged),
            star.resolution,
            spectrum.medium,
            spectrum.frame,
            spectrum.form,
            (*spectrum.assumptions, *star.notes),
            dict(spectrum.facts),
        )
        return answer, FittedSpectrum(
            spectrum, star.wavelength, star.flux, star.sigma, model[here], continuum[here]
        )


def _scaled_fisher(
    objective: StarObjective, box: StarBox, rows: Tensor, values: Tensor, curvature: Tensor, reduced: float
) -> Tensor:
    """Return the curvature with that of the pixels divided by χ² per degree of freedom; priors stay."""
    _, tilt = objective.priors.residuals(rows, values)
    tilt = tilt * box.size[rows][:, None]
    prior = tilt.mT @ tilt
    return (curvature - prior) / reduced + prior


def _distinct(position: Tensor, excess: Tensor) -> list[int]:
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


def _smooth_chi2(arrays: StarArrays, k: int) -> float:
    """Return χ² of the continuum alone."""
    root = arrays.weight[k].sqrt()
    design = arrays.columns[k][:, : int(arrays.terms[k])] * root[:, None]
    solution = torch.linalg.lstsq(design, (arrays.flux[k] * root)[:, None]).solution
    return float(((arrays.flux[k] * root)[:, None] - design @ solution).square().sum())
