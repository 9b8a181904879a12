"""`StarFitter`: stellar parameters of observed spectra, from the posterior of templates with what real spectra have.

Ties the parts together: pixels, templates of the star's resolution, scan of velocities, descents, errors, flags.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch

from specvit.errors import ConfigError, DataError
from specvit.inference.region import Region
from specvit.library import Emulator
from specvit.observed import ObservedSpectrum
from specvit.spectra import SPEED_OF_LIGHT_KM_S
from specvit.stellar.answers import Answers
from specvit.stellar.descent import StarBox, descend
from specvit.stellar.model_error import ModelError, builtin_model_error, library_digest
from specvit.stellar.objective import StarArrays, StarObjective
from specvit.stellar.parameters import FittedSpectrum, Refusal, StellarParameters
from specvit.stellar.pixels import CALCIUM, FitPixels, fit_pixels
from specvit.stellar.scan import TemplateBank
from specvit.stellar.settings import StarFitSettings
from specvit.stellar.systematic import SYSTEMATIC, UNMEASURED
from specvit.stellar.templates import HIGHEST_WIDTH, LOWEST_WIDTH, WidthTemplates

#: Templates are made for resolutions of this ratio; between them the line width is interpolated.
CLASS_RATIO = 1.1
#: Stars fitted together, and read before they are sorted by resolution.
BATCH, POOL = 64, 256
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
        model_error: what the library gets wrong; None takes that of the built-in library, if it is the one, and
            none if the settings state an error.
        banks: templates by class of resolution, of another fitter with the same library.

    Raises:
        ConfigError: if the model error is that of another library.
    """

    def __init__(
        self,
        emulator: Emulator | None = None,
        settings: StarFitSettings | None = None,
        model_error: ModelError | None = None,
        banks: dict[int, TemplateBank] | None = None,
    ) -> None:
        self.emulator = emulator or Emulator.builtin()
        self.settings = settings or StarFitSettings()
        self.model_error = model_error_of(self.emulator, self.settings, model_error)
        self.systematic, self._notes = systematic_of(self.emulator, self.model_error)
        self.banks: dict[int, TemplateBank] = {} if banks is None else banks
        self._corrected: dict[int, TemplateBank] = {}

    def templates(self, resolution: float) -> WidthTemplates:
        """Return the templates with which stars of this λ/FWHM are fitted."""
        return self._bank(round(np.log(resolution) / np.log(CLASS_RATIO))).templates

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
        if key not in self.banks:
            _make_room(self.banks)
            self.banks[key] = TemplateBank(WidthTemplates(self.emulator, CLASS_RATIO**key))
        if self.model_error is None:
            return self.banks[key]
        if key not in self._corrected:
            _make_room(self._corrected)
            bank = self.banks[key]
            templates = bank.templates
            correction = self.model_error.correction_at(templates.log_wavelength, templates.resolution)
            self._corrected[key] = bank.corrected(correction)
        return self._corrected[key]

    @torch.no_grad()
    def _batch(self, stars: list[FitPixels], bank: TemplateBank) -> list[Outcome]:
        settings, templates = self.settings, bank.templates
        plain = [_weight(star, settings.flat_error) for star in stars]
        labels, velocity = bank.starts(StarArrays.of(stars, plain, templates, settings), settings)
        # Lines and cores are where the best template of the scan has them.
        first = [
            dict(zip(self.emulator.label_space.names, row.tolist(), strict=True)) for row in labels[:, 0]
        ]
        weights = [
            self.weight(star, float(v), about)
            for star, v, about in zip(stars, velocity[:, 0], first, strict=True)
        ]
        arrays = StarArrays.of(stars, weights, templates, settings)
        objective, box = StarObjective(arrays, templates, settings), self._box(arrays)
        values = torch.cat([labels, velocity[..., None], torch.zeros_like(velocity[..., None])], -1)
        rows = torch.arange(len(stars)).repeat_interleave(values.shape[1])
        start = box.position(rows, values.flatten(0, 1)).view_as(values)
        minima = descend(objective, box, start)
        each = torch.arange(len(stars))
        best = box.values(each, minima.position[:, 0])
        shown = StarObjective(StarArrays.of(stars, weights, templates, settings, True), templates, settings)
        model, continuum = shown.best(each, best)
        said = Answers(objective, box, minima, settings.velocity, self.systematic, self._notes)
        parts = zip(stars, weights, model.double().numpy(), continuum.double().numpy(), strict=True)
        return [said.of(k, *part) for k, part in enumerate(parts)]

    def weight(
        self, star: FitPixels, velocity: float, labels: dict[str, float], cores: bool = True
    ) -> np.ndarray:
        """Return 1/(σ² + model error²) of the pixels (L,), 0 where one is left out.

        Args:
            star: its pixels.
            velocity: about, km/s: where its lines are.
            labels: about; the model error depends on Teff and log g.
            cores: whether those of the Ca II triplet have their further error.
        """
        rest = star.wavelength / (1 + velocity / SPEED_OF_LIGHT_KM_S)
        error = np.full(rest.size, self.settings.flat_error)
        if self.model_error is not None:
            error = self.model_error.error_at(np.log(rest), labels)
        if cores:
            core = np.min([np.abs(rest - line) for line in CALCIUM], axis=0) < self.settings.core_width
            error = np.where(core, np.hypot(error, self.settings.core_error), error)
        return _weight(star, error)

    def _box(self, arrays: StarArrays) -> StarBox:
        space, count = self.emulator.label_space, len(arrays.flux)
        # Not beyond what templates are interpolated in, for a star whose own width is off the nominal one.
        middle = torch.where(arrays.weight > 0, arrays.own, torch.nan).nanmedian(1).values
        low = torch.tensor([*space.low, -self.settings.velocity, 0.0], dtype=torch.float64).repeat(count, 1)
        high = torch.tensor([*space.high, self.settings.velocity, 0.0], dtype=torch.float64).repeat(count, 1)
        low[:, -1] = (LOWEST_WIDTH - middle).clamp(min=-WIDTH_RANGE)
        high[:, -1] = (HIGHEST_WIDTH - middle).clamp(max=WIDTH_RANGE)
        return StarBox(low, high, Region(space, self.emulator.coverage, further=2))


def model_error_of(
    emulator: Emulator, settings: StarFitSettings, given: ModelError | None = None
) -> ModelError | None:
    """Return the model error that a fit takes: the given one, else the built-in library's for itself alone.

    Raises:
        ConfigError: if the given one is that of another library.
    """
    if given is not None and given.library != library_digest(emulator):
        raise ConfigError(
            "the model error was found with another library; make one for this with `specvit calibrate-stars`"
        )
    if given is not None or settings.model_error is not None:
        return given
    builtin = builtin_model_error()
    return builtin if builtin.library == library_digest(emulator) else None


def systematic_of(
    emulator: Emulator, model_error: ModelError | None
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return systematic errors by label, and what has to be said of them: those of the stars of the model error, if it has them."""
    if model_error is not None and model_error.systematic:
        return dict(model_error.systematic), ()
    measured = builtin_model_error().library == library_digest(emulator)
    return dict(SYSTEMATIC), () if measured else (UNMEASURED,)


def _weight(star: FitPixels, error: np.ndarray | float) -> np.ndarray:
    weight: np.ndarray = 1 / (star.sigma**2 + (error * star.level) ** 2)
    return weight


def _make_room(banks: dict[int, TemplateBank]) -> None:
    if len(banks) >= MOST_CLASSES:
        del banks[next(iter(banks))]
