"""`TemplateFit`: maximum likelihood on the emulator, as observers fit templates, for many spectra at once.

Ties the parts together; the formulas and what the errors mean are in docs/limits.md.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor

from specvit.documents import Section
from specvit.errors import ConfigError, DataError, RunError
from specvit.inference.descent import minimise
from specvit.inference.errors import label_std
from specvit.inference.products import TemplateRows
from specvit.inference.profile import AmplitudeProfile
from specvit.inference.region import Region
from specvit.inference.starts import DRAWS, StartBank
from specvit.inference.storage import check_origin, load_with_emulator, save_with_emulator
from specvit.instrument import ObservedEmulator
from specvit.library import Emulator
from specvit.library.derivative import batched_jacobian
from specvit.models.inputs import Progress, Values, finished, no_spectra, relative_spectra
from specvit.models.origin import Origin, judged
from specvit.models.prediction import Diagnostics, Prediction
from specvit.spectra import SpectraSource

#: Spectra fitted together. Each holds 130 kB per power of the continuum, and as much again per start.
CPU_SPECTRA, DEVICE_SPECTRA = 64, 1024

#: Two starts found the same minimum if they agree to this share of the box in every label.
SAME = 0.01

#: Highest order of the continuum: powers of u beyond it resemble each other too much.
HIGHEST_ORDER = 4


class TemplateOptions(Section):
    """The options of `TemplateFit`, as a saved one states them."""

    order: int
    starts: int = Field(ge=1, le=DRAWS)
    seed: int = Field(ge=0)


class TemplateFit:
    """Labels, amplitude and low-order continuum of the template with the smallest chi².

    Levenberg-Marquardt with exact derivatives from several starts; amplitude and continuum are solved exactly
    for every template. Weights are 1/sigma² of the sigma that the observer has. Labels stay in the box of the
    training set, and out of the holes of the library; an estimate on a face is legitimate and flagged. There is nothing to learn from spectra:
    `fit` takes over pixels and box.

    `diagnostics` of a prediction, of the best start: `chi2`, `degrees_of_freedom`, `iterations`, `converged`,
    `minima`, `on_face` and `continuum`, that of one arm after the other.

    Args:
        observed: noise-free spectra; predictions run on its device, in float64.
        order: of the multiplicative continuum of each arm; 0 is the amplitude alone, that of all arms.
        starts: per spectrum.
        seed: of the bank of templates from which the starts are chosen.

    Raises:
        ConfigError: for an order or a number of starts that cannot be meant.
    """

    name: ClassVar[str] = "template"

    def __init__(
        self, observed: ObservedEmulator | Emulator, order: int = 0, starts: int = 4, seed: int = 0
    ) -> None:
        if not 0 <= order <= HIGHEST_ORDER:
            raise ConfigError(f"template: order must be 0 to {HIGHEST_ORDER}, got {order}")
        if starts < 1:
            raise ConfigError(f"template: needs at least one start, got {starts}")
        self.order, self.starts, self.seed = int(order), int(starts), int(seed)
        # The amplitude is free, so the band that normalises observed spectra does not matter.
        self.emulator = observed.emulator if isinstance(observed, ObservedEmulator) else observed
        self.choice: dict[str, dict[str, Any]] = {}

    def fit(self, train: SpectraSource, validation: SpectraSource, progress: Progress | None = None) -> Self:
        """Take over pixels and box of `train`; no spectrum is read.

        Raises:
            WavelengthRangeError, LabelError: if they are not the emulator's (see `check_origin`).
        """
        return self._begin(Origin.of(train, validation))

    def _begin(self, origin: Origin) -> Self:
        check_origin(origin, self.emulator, self.name)
        self.origin, self.names = origin, origin.label_space.names
        # float64: chi² is what is left of sums over all pixels that nearly cancel.
        self._exact = copy.deepcopy(self.emulator).double()
        device = self.emulator.basis.device
        self._low = torch.tensor(origin.label_space.low, dtype=torch.float64, device=device)
        self._width = torch.tensor(origin.label_space.high, dtype=torch.float64, device=device) - self._low
        self._rows = TemplateRows(self._exact, self.order)
        self._region = Region(origin.label_space, self.emulator.coverage)
        self._bank = StartBank(self._coefficients, len(self.names), device, self.seed, self._region)
        return self

    def _coefficients(self, position: Tensor) -> Tensor:
        """Return the coefficients (N, K) of positions (N, P) in the unit box."""
        return self._exact.coefficients(self._low + self._width * position)

    @torch.no_grad()
    def predict(self, flux: Values, sigma: Values, progress: Progress | None = None) -> Prediction:
        """Return the best labels and their errors (see `label_std`) for flux and sigma of shape (B, L).

        Raises:
            DataError: if a spectrum has fewer live pixels than the fit has unknowns; names it.
        """
        if not hasattr(self, "origin"):
            raise RunError(f"{self.name}: predict needs pixels and a box; call fit or load first")
        pixels = self.origin.grid.size
        spectra = relative_spectra(flux, sigma, pixels, self.name)
        if not len(spectra):
            return no_spectra(self.predict, pixels)
        flux, sigma, freedom = spectra.flux, spectra.sigma, self._degrees_of_freedom(spectra.sigma)
        device = self.emulator.basis.device
        together = CPU_SPECTRA if device.type == "cpu" else DEVICE_SPECTRA
        parts = []
        for start in range(0, len(flux), together):
            rows = slice(start, start + together)
            parts.append(self._fit_group(flux[rows].to(device), sigma[rows].to(device)))
            if progress is not None:
                done = min(start + together, len(flux))
                progress(done, len(flux), f"{done} spectra fitted")
        found = {key: torch.cat([part[key] for part in parts]).cpu() for key in parts[0]}
        mean, std = found.pop("mean"), found.pop("std")
        found["continuum"] *= spectra.level.cpu()[:, None]
        diagnostics = Diagnostics(degrees_of_freedom=freedom, **found)
        prediction = Prediction(mean, std, self.names, None, diagnostics)
        verdict = judged(self.origin, spectra.flux, spectra.sigma)
        return finished(prediction, spectra.usable_share, self.name, verdict)

    def _degrees_of_freedom(self, sigma: Tensor) -> Tensor:
        terms, arms = self.order + 1, self._rows.arms
        counts = torch.stack([torch.isfinite(sigma[:, arm]).sum(1) for arm in arms], dim=1).cpu()
        # An arm with fewer pixels than its continuum has terms is left out.
        used = counts >= terms
        live, unknowns = (counts * used).sum(1), len(self.names) + terms * used.sum(1)
        if bool((live < unknowns).any()):
            row = int((live < unknowns).nonzero()[0])
            raise DataError(
                f"{self.name}: spectrum {row} has {int(counts[row].sum())} live pixels, the fit has "
                f"{len(self.names) + terms * len(arms)} unknowns; leave it out"
            )
        return live - unknowns

    def _fit_group(self, flux: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        products = self._rows.products(flux, sigma)
        starts = self._bank.choose(products, self.starts)
        minima = minimise(products, self._coefficients, starts, self._region)
        spectrum = torch.arange(len(products), device=flux.device)
        best = minima.chi2.argmin(dim=1)
        position = minima.position[spectrum, best]
        profile = AmplitudeProfile.of(products, self._coefficients(position)[:, None])
        derivative = batched_jacobian(self._coefficients, position)[:, None]
        fisher = profile.slope(products, derivative)[1][:, 0]
        low, high = bounds = self._region.bounds(position)
        return {
            "mean": self._low + self._width * position,
            "std": self._width * label_std(position, fisher, bounds),
            "chi2": minima.chi2[spectrum, best],
            "iterations": minima.iterations[spectrum, best],
            "converged": minima.converged[spectrum, best],
            "minima": minima.distinct(SAME),
            "on_face": (position <= low) | (position >= high),
            "continuum": profile.continuum[:, 0].flatten(1),
        }

    def save(self, folder: Path) -> None:
        """Write emulator, options and manifest into `folder`, all or nothing; the folder works alone."""
        if not hasattr(self, "origin"):
            raise RunError(f"{self.name}: nothing to save; call fit first")
        options = {"order": self.order, "starts": self.starts, "seed": self.seed}
        save_with_emulator(self.name, self.origin, options, self.emulator, folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read an estimator back; DataError if the folder was changed or is incomplete."""
        bundle, options, emulator = load_with_emulator(folder, cls.name, TemplateOptions)
        with bundle.naming_settings():
            return cls(emulator, **dict(options))._begin(bundle.origin)
