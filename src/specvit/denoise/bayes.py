"""The optimum: E[flux | y] and its variance under the exact posterior of the labels, integrated over all stars.

No denoiser that sees flux and the pipeline's sigma has a smaller mean square error over stars of the prior. The sampler
is that of `specvit.limits.bayes`, with its effective sample sizes; nothing is learned from spectra.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from specvit.denoise.denoised import DenoisedSpectra
from specvit.denoise.restoring import NoisySpectra, Restored, restore_spectra
from specvit.denoise.stored import check_fingerprint, content_of, save_denoiser
from specvit.documents import Section
from specvit.errors import RunError
from specvit.estimators.network_estimator import FINGERPRINT_SPECTRA
from specvit.inference.posterior_mean import PosteriorOptions, relative_to_own_mean
from specvit.inference.storage import DomainRecord, check_origin, emulator_entries, read_emulator
from specvit.instrument import ObservedEmulator
from specvit.library import Emulator
from specvit.limits.bayes import BayesCeiling, Observation, SamplerSettings, posterior_spectra
from specvit.models.bundle import load_bundle
from specvit.models.inputs import Progress, Values
from specvit.models.origin import Origin
from specvit.models.prediction import Diagnostics
from specvit.models.usable import usable_median
from specvit.simulate import Prior, make_prior
from specvit.spectra import SpectraSource, WavelengthGrid

#: All at once: the bank of the sampler is made for each call, whatever their number.
ROWS = 1 << 30


class BayesSettings(Section):
    """What a saved `BayesDenoiser` states."""

    options: PosteriorOptions
    emulator: DomainRecord
    metrics: dict[str, float]


class BayesDenoiser:
    """The posterior mean of the noise-free flux, its errors and draws from its posterior.

    Assumes Gaussian noise of the stated sigma whatever the star, and a free flux scale, as `PosteriorMean` does. The
    floor by which denoisers are scored (`denoise.scores`) knows each star's own photon noise besides.

    `diagnostics` say of every spectrum the effective sample size, and whether it was enough.

    Args:
        observed: noise-free spectra; it runs on its device.
        prior: "uniform" in the box of the training set, the reference work's "lattice" in it, or a prior of one's own
            with a density or nodes.
        seed: of the sampler.
        bank_size: label points shared by all spectra from which the sampler starts (only for a prior with a density).
        settings: effective sample size wanted and limits.
    """

    name: ClassVar[str] = "bayes-denoiser"
    about: ClassVar[str] = (
        "The optimum: the mean of all noise-free spectra of the library, each weighted by how well it explains what "
        "was observed."
    )

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
        self.metrics: dict[str, float] = {}

    def fit(self, train: SpectraSource, validation: SpectraSource, progress: Progress | None = None) -> Self:
        """Take over pixels and box of `train`; no spectrum is read.

        Raises:
            WavelengthRangeError, LabelError, DomainError, ConfigError: see `PosteriorMean.fit`.
        """
        origin = Origin.of(train, validation)
        return self._begin(replace(origin, training=origin.training.with_entries({"train_spectra": 0})))

    def _begin(self, origin: Origin) -> Self:
        if not isinstance(self.prior, str):
            origin = replace(origin, label_space=self.prior.label_space)
        check_origin(origin, self.emulator, self.name)
        prior = self.prior if not isinstance(self.prior, str) else make_prior(self.prior, origin.label_space)
        observed = relative_to_own_mean(self.emulator)
        self._ceiling = BayesCeiling(observed, prior, self.bank_size, self.seed, settings=self.settings)
        self.origin = origin
        return self

    @property
    def grid(self) -> WavelengthGrid:
        """The pixels it expects."""
        return self._ready().origin.grid

    @property
    def digest(self) -> str:
        """See `Denoiser.digest`."""
        _, tensors = emulator_entries(self._ready().emulator)
        options = self._options() if isinstance(self.prior, str) else {"prior": type(self.prior).__name__}
        space = self.origin.label_space
        box = [[float(end) for end in ends] for ends in (space.low, space.high)]
        return content_of(self.name, {"options": options, "box": box}, tensors)

    def denoise(
        self, flux: Values, sigma: Values, strength: float = 1.0, draws: int = 0, seed: int = 0
    ) -> DenoisedSpectra:
        """See `Denoiser.denoise`; a star whose posterior did not converge has `diagnostics.converged` False."""
        return restore_spectra(
            self._restore, self.name, self.grid.size, flux, sigma, strength, draws, seed, ROWS
        )

    def _restore(self, noisy: NoisySpectra) -> Restored:
        device = self.emulator.basis.device
        usable = torch.isfinite(noisy.sigma)
        # In units of the noise, so that a dead pixel's variance is large whatever the unit.
        noise = usable_median(noisy.sigma, usable)[:, None]
        observation = Observation.from_pipeline(
            *((values / noise).to(device, torch.float32) for values in (noisy.flux, noisy.sigma))
        )
        seed = int(torch.randint(2**31, (1,), generator=noisy.generator, device=noisy.flux.device))
        found = posterior_spectra(self._ceiling, observation, noisy.draws, seed)
        unit = noise.to(device)
        told = Diagnostics(
            effective_sample_size=found.ess.cpu(),
            samples=found.samples.cpu(),
            converged=found.converged.cpu(),
        )
        samples = None if found.draws is None else (unit[:, None] * found.draws).to(noisy.flux)
        mean, std = (unit * part for part in (found.mean, found.variance.sqrt()))
        return Restored(mean.to(noisy.flux), std.to(noisy.flux), samples, told)

    def save(self, folder: Path) -> None:
        """See `Denoiser.save`; RunError also with a prior of one's own: a folder holds no code."""
        if not isinstance(self._ready().prior, str):
            raise RunError(
                f"{self.name}: only a prior with a name can be saved, got a {type(self.prior).__name__}; "
                "make the denoiser anew where it is needed, its fit reads no spectrum"
            )
        description, tensors = emulator_entries(self.emulator)
        settings = {"options": self._options(), "emulator": description}
        save_denoiser(self, settings, tensors, self.about, folder, self.metrics, answers=self._answers())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See `Denoiser.load`."""
        bundle = load_bundle(folder, cls.name)
        settings = bundle.settings_as(BayesSettings)
        emulator = read_emulator(bundle, settings.emulator, cls.name)
        with bundle.naming_settings():
            denoiser = cls(emulator, **dict(settings.options))._begin(bundle.origin)
        denoiser.metrics = settings.metrics
        check_fingerprint(denoiser, bundle, denoiser._answers())
        bundle.tensors.finish()
        return denoiser

    def _answers(self) -> Tensor:
        """Return noise-free spectra across the box, (FINGERPRINT_SPECTRA, L): all that could change of the answers."""
        space = self.origin.label_space
        low, high = torch.tensor(space.low), torch.tensor(space.high)
        share = (torch.arange(FINGERPRINT_SPECTRA) + 0.5)[:, None] / FINGERPRINT_SPECTRA
        labels = (low + share * (high - low)).to(self.emulator.basis)
        with torch.no_grad():
            # Also in holes of the library: the numbers are compared, not believed.
            spectra: Tensor = self.emulator(labels, check=False).float().cpu()
        return spectra

    def _options(self) -> dict[str, Any]:
        # As they are read back: a whole number that stands for a float is one.
        options = PosteriorOptions(
            prior=str(self.prior), seed=self.seed, bank_size=self.bank_size, settings=self.settings
        )
        return options.model_dump(mode="json")

    def _ready(self) -> Self:
        if not hasattr(self, "origin"):
            raise RunError(f"{self.name}: needs pixels and a box; call fit or load first")
        return self
