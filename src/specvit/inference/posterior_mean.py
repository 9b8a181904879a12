"""`PosteriorMean`: the mean of the exact posterior as an estimator that sees flux and sigma, nothing else.

A wrapper: the sampler is that of `specvit.limits.bayes`.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse
import torch
from pydantic import Field, field_validator

from specvit.documents import Section
from specvit.errors import RunError
from specvit.inference.storage import check_origin, load_with_emulator, save_with_emulator
from specvit.instrument import ObservedEmulator
from specvit.library import Emulator
from specvit.limits.bayes import LEVELS, BayesCeiling, Observation, SamplerSettings
from specvit.models.inputs import Progress, Values, finished, no_spectra, relative_spectra
from specvit.models.origin import Origin, judged
from specvit.models.prediction import Diagnostics, Prediction, Quantiles
from specvit.models.usable import usable_median
from specvit.simulate import Prior, make_prior
from specvit.spectra import SpectraSource

#: Most points of a bank, and samples of a star, that a saved estimator may ask for: 256 times the usual.
LARGEST_BANK = 1 << 24


class PosteriorOptions(Section):
    """The options of `PosteriorMean`, as a saved one states them."""

    prior: str
    seed: int = Field(ge=0)
    bank_size: int = Field(ge=1, le=LARGEST_BANK)
    settings: SamplerSettings

    @field_validator("settings")
    @classmethod
    def _samples(cls, settings: SamplerSettings) -> SamplerSettings:
        for name, value in asdict(settings).items():
            if not 0 < value <= LARGEST_BANK:
                raise ValueError(f"{name} is {value}, expected 1 to {LARGEST_BANK}")
        return settings


class PosteriorMean:
    """E[label | flux, sigma] and its standard deviation: the estimator with the smallest mean square error.

    Assumes Gaussian noise of the stated sigma whatever the star, and a free flux scale. The Bayes ceiling
    knows the noise of the star itself; what separates the two is what an observer cannot know. There is
    nothing to learn from spectra: `fit` takes over pixels and box.

    A prediction holds quantiles, and of `diagnostics` `effective_sample_size`, `samples` and `converged`.
    Posteriors are sampled: the estimates depend on `seed` and on the order of the spectra by a share of about
    `effective_sample_size`^(-1/2) of their errors.

    Args:
        observed: noise-free spectra; predictions run on its device.
        prior: "uniform" in the box of the training set, the reference work's "lattice" in it, or a prior of
            one's own with a density or nodes, whose box then replaces that of the training set. In holes of the
            library its density is zero.
        seed: of the sampler.
        bank_size: label points shared by all spectra from which the sampler starts (only for a prior with a density).
        settings: effective sample size wanted and limits.
    """

    name: ClassVar[str] = "posterior"

    def __init__(
        self,
        observed: ObservedEmulator | Emulator,
        prior: str | Prior = "uniform",
        seed: int = 0,
        bank_size: int = 1 << 16,
        settings: SamplerSettings | None = None,
    ) -> None:
        self.emulator = observed.emulator if isinstance(observed, ObservedEmulator) else observed
        self.prior, self.seed, self.bank_size = prior, int(seed), int(bank_size)
        self.settings = settings or SamplerSettings()
        self.choice: dict[str, dict[str, Any]] = {}

    def fit(self, train: SpectraSource, validation: SpectraSource, progress: Progress | None = None) -> Self:
        """Take over pixels and box of `train`; no spectrum is read.

        Raises:
            WavelengthRangeError, LabelError, DomainError: if they are not the emulator's, or the prior's are not
                (see `check_origin`).
            ConfigError: if there is no such prior, the box does not fit its lattice, or no posterior can be
                made with it (see `BayesCeiling`).
        """
        return self._begin(Origin.of(train, validation))

    def _begin(self, origin: Origin) -> Self:
        if not isinstance(self.prior, str):
            origin = replace(origin, label_space=self.prior.label_space)
        check_origin(origin, self.emulator, self.name)
        prior = self.prior
        if isinstance(prior, str):
            prior = make_prior(prior, origin.label_space, self.emulator.coverage)
        self._sampler = BayesCeiling(
            relative_to_own_mean(self.emulator), prior, self.bank_size, self.seed, settings=self.settings
        )
        self.origin, self.names = origin, origin.label_space.names
        return self

    def predict(self, flux: Values, sigma: Values, progress: Progress | None = None) -> Prediction:
        """Return posterior means and standard deviations for flux and sigma of shape (B, L)."""
        if not hasattr(self, "origin"):
            raise RunError(f"{self.name}: predict needs pixels and a box; call fit or load first")
        pixels = self.origin.grid.size
        spectra, done = relative_spectra(flux, sigma, pixels, self.name), 0
        if not len(spectra):
            return no_spectra(self.predict, pixels)

        def advance(count: int) -> None:
            nonlocal done
            done += count
            if progress is not None:
                progress(done, len(spectra), f"{done} posteriors sampled")

        device = self.emulator.basis.device
        usable = torch.isfinite(spectra.sigma)
        noise = usable_median(spectra.sigma, usable)[:, None]
        observation = Observation.from_pipeline(
            *((values / noise).to(device, torch.float32) for values in (spectra.flux, spectra.sigma))
        )
        posterior = self._sampler.posterior(observation, advance)
        std = posterior.covariance.diagonal(dim1=1, dim2=2).sqrt()
        diagnostics = Diagnostics(
            effective_sample_size=posterior.ess, samples=posterior.samples, converged=posterior.converged
        )
        quantiles = Quantiles(LEVELS, posterior.quantiles)
        found = Prediction(posterior.mean, std, self.names, quantiles, diagnostics)
        verdict = judged(self.origin, spectra.flux, spectra.sigma)
        return finished(found, spectra.usable_share, self.name, verdict)

    def save(self, folder: Path) -> None:
        """Write emulator, options and manifest into `folder`, all or nothing; the folder works alone.

        Raises:
            RunError: before `fit`, or with a prior of one's own: a folder holds no code.
        """
        if not hasattr(self, "origin"):
            raise RunError(f"{self.name}: nothing to save; call fit first")
        if not isinstance(self.prior, str):
            raise RunError(
                f"{self.name}: only a prior with a name can be saved, got a {type(self.prior).__name__}; "
                "make the estimator anew where it is needed, its fit reads no spectrum"
            )
        options = {
            "prior": self.prior,
            "seed": self.seed,
            "bank_size": self.bank_size,
            "settings": asdict(self.settings),
        }
        save_with_emulator(self.name, self.origin, options, self.emulator, folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read an estimator back; DataError if the folder was changed or is incomplete."""
        bundle, options, emulator = load_with_emulator(folder, cls.name, PosteriorOptions)
        with bundle.naming_settings():
            return cls(emulator, **dict(options))._begin(bundle.origin)


def relative_to_own_mean(emulator: Emulator) -> ObservedEmulator:
    """Return the same spectra relative to their own mean over the pixels: no band outside them is needed."""
    size = emulator.grid.size
    same = scipy.sparse.eye_array(size, format="csr")
    return ObservedEmulator(emulator, same, emulator.grid, emulator.resolution, np.full(size, 1 / size))
