"""A learned denoiser on sufficient statistics: coefficients in, a few weighted stars out, the emulator makes the spectrum.

`SubspaceProjection` turns a spectrum into some fifty numbers that keep nearly all it says of the star. A few steps of a
fit to these find the likeliest star; a network sees what is left and how certain the labels are, and mixes M stars about
it. The answer is A Σ w_m f(θ_m), f the emulator's
spectrum and A the flux scale that fits best: whatever the network says is a mixture of stars, so that the noise of
four thousand pixels is left in a handful of directions, as it is by the exact posterior mean, which is a sum of that
form. Trained on spectra drawn as it goes by the squared error in units of the noise, whose least value is the exact one.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from specvit.denoise.denoised import DenoisedSpectra
from specvit.denoise.reduced import LocalFit, ReducedTemplates, Statistics
from specvit.denoise.restoring import NoisySpectra, Restored, restore_spectra
from specvit.denoise.stored import check_fingerprint, content_of, save_denoiser
from specvit.documents import Section
from specvit.errors import DataError, RunError
from specvit.inference.posterior_mean import relative_to_own_mean
from specvit.inference.storage import DomainRecord, check_origin, emulator_entries, read_emulator
from specvit.instrument import ObservedEmulator
from specvit.library import Emulator
from specvit.models.bundle import load_bundle
from specvit.models.conditioning import normalise
from specvit.models.inputs import Progress, Values
from specvit.models.mlp import MLP, MLPConfig
from specvit.models.origin import Origin
from specvit.models.subspace import SubspaceProjection
from specvit.spectra import Generated, SpectraBatch, SpectraSource, WavelengthGrid, collect, take
from specvit.training import Listener, Recipe, Share, Trainer, join_processes, make_feed

#: Training stars from which the subspace and the first weights are taken.
SAMPLE = 2048

#: Scatter of the first points about the fit, in posterior errors.
FIRST_SCATTER = 0.5

#: Times that all labels are brought inside the cube, one after the other.
SWEEPS = 2

#: Posterior errors beyond which a step says no more.
FAR = 3.0

#: What is trained, unless asked otherwise.
RECIPE = Recipe(minutes=8.0, batch=128, lr=1e-3, monitor="flux", ema=0.99, validations=16)


class SubspaceOptions(Section):
    """The options of a `SubspaceDenoiser`."""

    components: int = Field(default=48, ge=1, le=1024, description="coefficients of a spectrum")
    patterns: int = Field(default=12, ge=1, le=256, description="of which the weights of pixels are composed")
    width: int = Field(default=256, ge=1, le=8192, description="units per layer of the network")
    depth: int = Field(default=3, ge=1, le=64, description="residual blocks of the network")
    points: int = Field(default=6, ge=1, le=256, description="M, stars of which an answer is mixed")


class SubspaceSettings(Section):
    """What a saved `SubspaceDenoiser` states."""

    options: SubspaceOptions
    emulator: DomainRecord
    metrics: dict[str, float]


class LocallyFitted(NamedTuple):
    """What a `StarMixer` is given of B spectra; all of it is fixed, and made while others train."""

    statistics: Statistics
    local: LocalFit


class StarMixer(nn.Module):
    """From a fit to M stars about it, in the unit cube, and their weights.

    It sees the coefficients, where the fit ended, the next step and the posterior covariance of a Gaussian world there,
    and answers in units of that covariance: what it has to learn is how far the world is not Gaussian.

    Args:
        options: sizes.
        labels: P.
    """

    def __init__(self, options: SubspaceOptions, labels: int) -> None:
        super().__init__()
        self.points, self.labels = options.points, labels
        seen = 2 * labels + labels * (labels + 1) // 2
        shape = (1, options.components, options.patterns + seen)
        self.body = MLP(MLPConfig(options.width, options.depth, "residual"), shape)
        self.head = nn.Linear(options.width, options.points * (labels + 1))
        nn.init.zeros_(self.head.weight)

    def forward(self, fitted: LocallyFitted) -> tuple[Tensor, Tensor]:
        """Return stars, shape (B, M, P), and weights (B, M)."""
        inputs, local = fitted.statistics.inputs, fitted.local
        step = local.in_errors().clamp(-FAR, FAR)
        seen = torch.cat([inputs.level, 4 * (local.point - 0.5), step, _shape(local.factor)], dim=1)
        raw = self.head(self.body(inputs._replace(level=seen)))
        raw = raw.unflatten(1, (self.points, self.labels + 1))
        moved = (FAR * torch.tanh(raw[..., :-1] / FAR) + step[:, None]) @ local.factor.mT
        return inside_cube(local.point[:, None] + moved, local.factor), torch.softmax(raw[..., -1], dim=1)


def inside_cube(points: Tensor, factor: Tensor) -> Tensor:
    """Return points (B, M, P) in the unit cube, beyond which the emulator does not know.

    Where a label is stopped at a face the others follow as their covariance with it says: cutting one alone would leave
    the valley of spectra that fit.
    """
    covariance = factor @ factor.mT
    for _ in range(SWEEPS):
        for label in range(points.shape[2]):
            stopped = points[..., label].clamp(0, 1) - points[..., label]
            along = covariance[:, label] / covariance[:, label, label, None]
            points = points + stopped[..., None] * along[:, None]
    return points.clamp(0, 1)


def _shape(factor: Tensor) -> Tensor:
    """Return the logarithms of the diagonal of Cholesky factors (B, P, P), and the rest of each row over it."""
    size = factor.diagonal(dim1=1, dim2=2)
    row, column = torch.tril_indices(factor.shape[1], factor.shape[1], -1)
    rest = (factor / size[..., None])[:, row, column].clamp(-FAR, FAR)
    # An unknown label has an error of 0.29 of its range.
    return torch.cat([0.5 * size.log() + 1.5, rest], dim=1)


class MixedStars(nn.Module):
    """What the engine trains: the mixer and, fixed, the templates.

    Args:
        mixer: trained.
        templates: fitted before the first step.
    """

    def __init__(self, mixer: StarMixer, templates: ReducedTemplates) -> None:
        super().__init__()
        self.mixer = mixer
        # Behind a tuple, so that its tensors are no part of what is averaged, kept and saved at every validation.
        self._fixed = (templates,)

    def forward(self, fitted: LocallyFitted) -> Tensor:
        """Return the spectra on the basis, shape (B, K + 1)."""
        (templates,) = self._fixed
        points, share = self.mixer(fitted)
        each = templates.templates(points.flatten(0, 1)).unflatten(0, points.shape[:2])
        mixed = (share[..., None] * each).sum(dim=1)
        spectra: Tensor = templates.scale(mixed, fitted.statistics) * mixed
        return spectra


@dataclass(frozen=True)
class StarMixing:
    """What the engine asks: the squared error of a spectrum over its noise.

    Args:
        front: fitted before the first step: the templates, with the front end in them.
        options: of the denoiser, for checkpoints.
    """

    front: ReducedTemplates
    options: SubspaceOptions

    score = "negative_loss"
    monitor = ("flux",)

    @property
    def identity(self) -> dict[str, Any]:
        """Kind of network and its options."""
        return {"objective": "star-mixing", "options": self.options.model_dump()}

    def check(self, validation: SpectraBatch) -> None:
        """Raise DataError unless the noise-free flux is known."""
        if validation.truth is None:
            raise DataError("subspace-denoiser: needs spectra whose noise-free flux is known; simulate them")

    def prepare(self, batch: SpectraBatch, seed: int | None) -> tuple[LocallyFitted, Tensor]:
        """Return fits; and what is wanted: the spectrum on the basis and the metric of the noise."""
        usable, flux, sigma, level = normalise(batch.flux, batch.sigma)
        with torch.no_grad():
            statistics = self.front.statistics(usable, flux, sigma)
            clean = batch.known_truth().flux / level @ self.front.dual
            fitted = LocallyFitted(statistics, self.front.fitted(statistics))
        return fitted, torch.cat([clean, statistics.normal.flatten(1)], dim=1)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over spectra of Σ (error / sigma)²."""
        size = outputs.shape[1]
        error = outputs.float() - targets[:, :size]
        normal = targets[:, size:].unflatten(1, (size, size))
        loss: Tensor = torch.einsum("bk,bkl,bl->b", error, normal, error).mean()
        return loss

    def scores(self, held_out: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Return minus the loss of all held-out spectra."""
        parts = [(len(targets), float(self.loss(outputs, targets))) for outputs, targets in held_out]
        count = sum(rows for rows, _ in parts)
        return {"flux": -sum(rows * loss for rows, loss in parts) / count}


class SubspaceDenoiser:
    """A network on sufficient statistics whose answer is a mixture of the emulator's stars.

    Args:
        observed: noise-free spectra on the pixels of the training.
        options: sizes.
        recipe: of the training; fields that speak of labels say nothing here.
        folder: where checkpoints go; None keeps none.
        device: of the training.
        listen: see `Trainer`.
    """

    name: ClassVar[str] = "subspace-denoiser"
    about: ClassVar[str] = (
        "A network that reads a spectrum's few coefficients and answers with a weighted sum of noise-free spectra of "
        "the library, at the flux scale that fits best."
    )

    def __init__(
        self,
        observed: ObservedEmulator | Emulator,
        options: SubspaceOptions | None = None,
        recipe: Recipe = RECIPE,
        folder: Path | None = None,
        device: str | None = None,
        listen: Listener | None = None,
    ) -> None:
        self.emulator = observed.emulator if isinstance(observed, ObservedEmulator) else observed
        self.options, self.recipe = options or SubspaceOptions(), recipe
        self.folder, self.device, self.listen = folder, device, listen
        self.metrics: dict[str, float] = {}

    def fit(self, train: SpectraSource, validation: SpectraSource, progress: Progress | None = None) -> Self:
        """Train on spectra of `train` as they come; the weights that do best on `validation` are kept."""
        origin = Origin.of(train, validation)
        sample, held_out = take(train, SAMPLE), _with_truth(validation)
        self._build(origin)
        self.mixing.check(sample)
        self.mixing.check(held_out)
        self._start(sample)
        world = join_processes(self.device)
        body = MixedStars(self.network, self.templates)
        share = Share(self.recipe.batch, world.rank, world.size)
        feed = make_feed(train, share, world.device, self.recipe.seed, self.recipe.compile, truth=True)

        def hear(record: dict[str, Any]) -> None:
            if self.listen is not None:
                self.listen(record)
            if progress is not None:
                told = f"loss {record['loss']:.2f}" if "loss" in record else f"best {-record['best']:.3f}"
                progress(round(1000 * record["progress"]), 1000, told)

        trainer = Trainer(body, self.mixing, feed, held_out, self.recipe, world, self.folder, hear)
        record = trainer.run() | {
            "threads": torch.get_num_threads(),
            "date": datetime.date.today().isoformat(),
        }
        for module in (self.network, self.templates):
            module.to("cpu")
        self.origin = replace(origin, training=origin.training.with_entries(record))
        self._freeze()
        return self

    def _build(self, origin: Origin) -> None:
        """Lay out front end, network and emulator for the pixels and labels of a training."""
        check_origin(origin, self.emulator, self.name)
        observed = relative_to_own_mean(self.emulator).requires_grad_(False)
        front = SubspaceProjection(origin.grid.size, self.options.components, self.options.patterns)
        self.templates = ReducedTemplates(front, observed, origin.label_space)
        self.mixing = StarMixing(self.templates, self.options)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.seed)
            self.network = StarMixer(self.options, len(origin.label_space))

    @torch.no_grad()
    def _start(self, sample: SpectraBatch) -> None:
        """Fit front end and templates; start with the stars scattered about the fit."""
        self.templates.front.fit(sample.known_truth().flux, sample.flux, sample.sigma)
        self.templates.fit()
        generator = torch.Generator().manual_seed(self.recipe.seed)
        scatter = torch.randn(self.options.points, self.network.labels + 1, generator=generator)
        self.network.head.bias.copy_(FIRST_SCATTER * (scatter - scatter.mean(dim=0)).flatten())

    def _freeze(self) -> None:
        self.network.eval().requires_grad_(False)

    @property
    def grid(self) -> WavelengthGrid:
        """The pixels it expects."""
        return self._ready().origin.grid

    @property
    def digest(self) -> str:
        """See `Denoiser.digest`."""
        return content_of(self._ready().name, self.options.model_dump(), self._tensors())

    def denoise(
        self, flux: Values, sigma: Values, strength: float = 1.0, draws: int = 0, seed: int = 0
    ) -> DenoisedSpectra:
        """See `Denoiser.denoise`; it states no errors and gives no samples."""
        return restore_spectra(self._restore, self.name, self.grid.size, flux, sigma, strength, draws, seed)

    def _restore(self, noisy: NoisySpectra) -> Restored:
        usable = torch.isfinite(noisy.sigma)
        sigma = torch.where(usable, noisy.sigma, 1.0)
        flux, sigma, usable = (values.cpu() for values in (noisy.flux, sigma, usable))
        statistics = self.templates.statistics(usable, flux, sigma)
        points, share = self.network(LocallyFitted(statistics, self.templates.fitted(statistics)))
        each = self.templates.multipliers(points.flatten(0, 1)).unflatten(0, points.shape[:2])
        spectra = (share[..., None] * each).sum(dim=1) @ self.templates.observed.get_buffer("rows")
        weighted = torch.where(usable, sigma.square().reciprocal(), 0.0) * spectra
        scale = (weighted * flux).sum(dim=1) / (weighted * spectra).sum(dim=1).clamp(min=1e-30)
        return Restored((scale[:, None] * spectra).to(noisy.flux))

    def save(self, folder: Path) -> None:
        """See `Denoiser.save`."""
        description, tensors = emulator_entries(self._ready().emulator)
        settings = {"options": self.options.model_dump(), "emulator": description}
        save_denoiser(self, settings, tensors | self._tensors(), self.about, folder, self.metrics)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See `Denoiser.load`."""
        bundle = load_bundle(folder, cls.name)
        settings = bundle.settings_as(SubspaceSettings)
        emulator = read_emulator(bundle, settings.emulator, cls.name)
        denoiser = cls(emulator, settings.options)
        denoiser._build(bundle.origin)
        for prefix, module in denoiser._modules().items():
            module.load_state_dict(bundle.tensors.part(prefix).state_of(module))
        denoiser.origin, denoiser.metrics = bundle.origin, settings.metrics
        denoiser._freeze()
        check_fingerprint(denoiser, bundle)
        bundle.tensors.finish()
        return denoiser

    def _modules(self) -> dict[str, nn.Module]:
        return {"templates.": self.templates, "network.": self.network}

    def _tensors(self) -> dict[str, Tensor]:
        return {
            prefix + name: value
            for prefix, module in self._modules().items()
            for name, value in module.state_dict().items()
        }

    def _ready(self) -> Self:
        if not hasattr(self, "origin"):
            raise RunError(f"{self.name}: needs to be trained; call fit or load first")
        return self


def _with_truth(source: SpectraSource) -> SpectraBatch:
    """Return all spectra of a source, with the noise-free flux where it can give it."""
    return collect(source.on("cpu", truth=True) if isinstance(source, Generated) else source)
