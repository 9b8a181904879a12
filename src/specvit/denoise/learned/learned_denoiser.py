"""`LearnedDenoiser`: a method, a recipe and the one training engine behind the protocol of denoisers."""

from __future__ import annotations

import datetime
import time
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from specvit.denoise.denoised import DenoisedSpectra
from specvit.denoise.learned.config import BASIS, DenoiserConfig
from specvit.denoise.learned.methods import Method, make_method
from specvit.denoise.restoring import NoisySpectra, Restored, restore_spectra
from specvit.denoise.stored import check_fingerprint, content_of, save_denoiser
from specvit.documents import Section
from specvit.errors import ConfigError, DataError, RunError
from specvit.estimators.network_estimator import fingerprint_spectra
from specvit.models.bundle import load_bundle
from specvit.models.inputs import Progress, Values
from specvit.models.origin import Origin, snr_range
from specvit.spectra import Generated, SpectraSource, collect, take
from specvit.training.distributed import join_processes
from specvit.training.engine import VALIDATED, Listener, Trainer
from specvit.training.feeds import Share, make_feed
from specvit.training.recipe import Recipe

#: Training spectra by which statistics are set.
SAMPLE = 1024

#: Held-out spectra, at most, by which what is stated of errors is corrected.
CORRECTED_BY = 1024

#: What saved ones call themselves: networks of pixels, and of coefficients.
NAMES = ("unet-denoiser", "basis-denoiser")

#: What weights and statistics are called among the tensors.
WEIGHTS = "body."


class StoredOptions(Section):
    """The settings of a saved denoiser."""

    options: DenoiserConfig
    metrics: dict[str, float]


class LearnedDenoiser:
    """A `Denoiser` that was trained.

    Args:
        config: what it is.
        recipe: its training; None for one that was loaded.
        device: "cpu", "cuda", ...; None takes a GPU if there is one.
        folder: where checkpoints go and are looked for.
        listen: see `Trainer`.
    """

    def __init__(
        self,
        config: DenoiserConfig | None = None,
        recipe: Recipe | None = None,
        device: str | None = None,
        folder: Path | None = None,
        listen: Listener | None = None,
    ) -> None:
        self.config, self.recipe = config or DenoiserConfig(), recipe
        self.device, self.folder, self.listen = device, folder, listen
        #: Score -> value on held-out stars, filled in by whoever tested it; saved with it.
        self.metrics: dict[str, float] = {}

    def fit(self, train: SpectraSource, validation: SpectraSource, progress: Progress | None = None) -> Self:
        """Train; the weights kept are those of the least held-out loss, raw or averaged.

        Raises:
            RunError: if this denoiser was loaded and so has no recipe.
            DataError: if noise-free flux is needed and the sources do not know it.
        """
        if self.recipe is None:
            raise RunError(f"{self.name}: has no training recipe; make a new one to train it")
        validation.grid.check_matches(train.grid, "validation set")
        began, recipe = time.monotonic(), self.recipe
        world = join_processes(self.device)
        torch.manual_seed(recipe.seed)
        method = make_method(self.config, train.grid.size)
        sample = take(train, SAMPLE)
        if method.sees_truth and sample.truth is None:
            raise DataError(
                f"objective: '{self.config.objective}' needs training spectra whose noise-free flux is known; "
                "simulate them, or take objective = blind"
            )
        method.prepare(sample)
        held_out = validation.on("cpu", truth=True) if isinstance(validation, Generated) else validation
        share = Share(recipe.batch, world.rank, world.size)
        # A blind task is never given what it must not know.
        truth = self.config.objective != "blind"
        feed = make_feed(train, share, world.device, recipe.seed, recipe.compile, truth)
        objective = method.objective(recipe.masked)
        scores: dict[str, float] = {}
        listen = _heard(self.listen, progress, scores)
        scored = collect(held_out)
        record = Trainer(
            method.body, objective, feed, scored, recipe, world, self.folder, listen, began
        ).run()
        method.body.to("cpu").requires_grad_(False)
        method.correct(scored[:CORRECTED_BY])
        # Both are scored at every validation; the last are kept, so that averages can be judged.
        facts = {"objective": self.config.objective, "last_scores": scores}
        conditions = {"threads": torch.get_num_threads(), "date": datetime.date.today().isoformat()}
        origin = Origin.of(train, validation)
        entries = {**record, **conditions, "snr": snr_range(sample), "facts": facts}
        return self._adopt(method, replace(origin, training=origin.training.with_entries(entries)))

    def denoise(
        self, flux: Values, sigma: Values, strength: float = 1.0, draws: int = 0, seed: int = 0
    ) -> DenoisedSpectra:
        """Return spectra with less noise, see `Denoiser`; objectives that state no distribution give no samples.

        A residual denoiser is told the strength, and takes away the noise of spectra that have that share of sigma.
        """
        method = self._ready()
        told = self.config.objective == "residual"
        if told and isinstance(strength, Real) and self.strongest < strength <= 1:
            raise ConfigError(
                f"{self.name}: strength: it takes away at most {self.strongest:g} of the noise of sigma, with which it was "
                f"trained (high), not {strength:g}; ask for {self.strongest:g} of spectra with that share, or train with "
                "high=1"
            )

        def restore(noisy: NoisySpectra) -> Restored:
            method.body.to(noisy.flux.device)
            return method.restore(noisy)

        try:
            return restore_spectra(
                restore, self.name, self.origin.grid.size, flux, sigma, strength, draws, seed
            )
        finally:
            # Where saving and fingerprints expect it.
            method.body.to("cpu")

    @property
    def strongest(self) -> float:
        """Largest strength it may be asked for: of a residual denoiser the largest share of the noise it has seen."""
        return self.config.high if self.config.objective == "residual" else 1.0

    @property
    def name(self) -> str:
        """One of `NAMES`, as its objective says."""
        return NAMES[self.config.objective == BASIS]

    @property
    def digest(self) -> str:
        """Of settings and weights."""
        return content_of(self.name, self.config.to_dict(), self._ready().body.state_dict())

    @property
    def method(self) -> Method:
        """The trained method, for those who look inside."""
        return self._ready()

    def save(self, folder: Path) -> None:
        """Write weights, manifest, fingerprint and card into `folder`, all or nothing."""
        method = self._ready()
        state = {WEIGHTS + name: value for name, value in method.body.state_dict().items()}
        settings = {"options": self.config.to_dict()}
        save_denoiser(self, settings, state, method.about, folder, self.metrics, self._answers())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a denoiser back; DataError if the folder was changed, is incomplete or answers otherwise."""
        bundle = load_bundle(folder)
        if bundle.estimator not in NAMES:
            raise DataError(f"{folder}: holds a '{bundle.estimator}', expected {' or '.join(NAMES)}")
        settings = bundle.settings_as(StoredOptions)
        denoiser = cls(settings.options)
        with bundle.naming_settings(), torch.random.fork_rng(devices=[]):
            # Laid out without memory first: a damaged number must not be able to ask for all there is.
            with torch.device("meta"):
                outline = make_method(settings.options, bundle.origin.grid.size)
            state = bundle.tensors.part(WEIGHTS).state_of(outline.body)
            method = make_method(settings.options, bundle.origin.grid.size)
        method.body.load_state_dict(state)
        denoiser._adopt(method, bundle.origin)
        denoiser.metrics = settings.metrics
        check_fingerprint(denoiser, bundle, denoiser._answers())
        bundle.tensors.finish()
        return denoiser

    def _adopt(self, method: Method, origin: Origin) -> Self:
        method.body.eval().requires_grad_(False).to("cpu")
        self._method, self.origin = method, origin
        return self

    def _answers(self) -> Tensor:
        flux, sigma = fingerprint_spectra(self.origin.grid)
        with torch.no_grad():
            return self._ready().probe(NoisySpectra(flux, sigma, 1.0, 0, torch.Generator()))

    def _ready(self) -> Method:
        if not hasattr(self, "_method"):
            raise RunError(f"{self.name}: needs a trained denoiser; call fit or load first")
        return self._method


def _heard(listen: Listener | None, progress: Progress | None, scores: dict[str, float]) -> Listener:
    """Return who hears every record of a training, keeps the last scores and tells how far it is."""

    def hear(record: dict[str, Any]) -> None:
        if record["event"] == VALIDATED:
            scores.update(record["monitored"])
        if listen is not None:
            listen(record)
        if progress is not None:
            words = "validated" if record["event"] == VALIDATED else f"loss {record['loss']:.4g}"
            progress(round(1000 * record["progress"]), 1000, words)

    return hear
