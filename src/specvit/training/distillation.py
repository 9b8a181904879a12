"""A student that learns what a teacher states instead of the labels: of another network, or of the exact posterior.

A label drawn is one of many that could have made the spectrum; what a good teacher states is the mean of all of them
and how far they spread, without that luck. Held-out spectra are scored against their labels all the same.
Source: Hinton, Vinyals & Dean 2015 (arXiv:1503.02531); hints from inner layers: Romero et al. 2015, ICLR
(arXiv:1412.6550).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from specvit.errors import ConfigError, DataError
from specvit.models.conditioning import Inputs
from specvit.models.heads import LOG_VARIANCE_RANGE, Head
from specvit.models.network import Body, SpectrumNetwork
from specvit.models.usable import spectrum_level
from specvit.spectra import LabelSpace, SpectraBatch
from specvit.training.feeds import masked
from specvit.training.objectives import LabelRegression
from specvit.training.recipe import STATED, Recipe

#: Condition of a batch that holds the error of a stated label, followed by the name of the label.
ERROR = "stated_error."

#: Smallest error of a teacher, of the spread of a label: below, a bin would hold all of it.
SMALLEST = 1e-3


class WithLatents(nn.Module):
    """A body and a linear map of its features to the latents of a teacher, side by side.

    Args:
        body: of the student, trained in place.
        latents: numbers of the teacher's latents.
    """

    def __init__(self, body: Body, latents: int) -> None:
        super().__init__()
        self.body = body
        self.map = nn.Linear(body.head.linear.in_features, latents)

    def forward(self, inputs: Inputs) -> Tensor:
        """Return outputs, flattened, and mapped features in one vector, shape (B, P · outputs + F)."""
        features = self.body.backbone(inputs)
        raw = self.body.outputs(features, inputs)
        return torch.cat([raw.flatten(1), self.map(features).float()], dim=1)


@dataclass(frozen=True)
class Teacher:
    """A trained network as a teacher of another.

    Args:
        network: on the device of the training, in evaluation mode.
        described: which it is.
        constant_sigma: what it is shown in the place of every sigma, relative to the level, shape (L,); None shows it the
            spectrum's own.
        noise: factor on the noise of what it is shown: of the same star with other noise, unless it is 1.
    """

    network: SpectrumNetwork
    described: str
    constant_sigma: Tensor | None = None
    noise: float = 1.0

    def shown(self, batch: SpectraBatch, seed: int) -> tuple[Tensor, Tensor]:
        """Return flux and sigma (B, L) as the teacher sees them."""
        flux, sigma = batch.flux, batch.sigma
        if self.noise != 1:
            truth = batch.known_truth()
            generator = torch.Generator().manual_seed(seed)
            drawn = torch.randn(flux.shape, generator=generator).to(flux)
            flux, sigma = truth.flux + self.noise * truth.sigma * drawn, self.noise * sigma
        if self.constant_sigma is not None:
            level, _ = spectrum_level(flux, sigma, None)
            # Dead pixels stay dead: what is hidden is the noise, not where there is none.
            sigma = torch.where(torch.isfinite(sigma), self.constant_sigma.to(flux) * level, sigma)
        return flux, sigma


@dataclass(frozen=True)
class Distillation(LabelRegression):
    """Learn the mean and error that a teacher states, and its features if asked.

    Args:
        teacher: a network; None reads what the labels of the training set state, whose errors are among its
            conditions (`ERROR`).
        latents: whether the features of the teacher are learnt besides.
        extra: maps the student's features to the teacher's; thrown away afterwards.
    """

    teacher: Teacher | None = None
    latents: bool = False
    extra: list[WithLatents] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def taught(
        cls, network: SpectrumNetwork, space: LabelSpace, recipe: Recipe, teacher: Teacher | None
    ) -> Distillation:
        """Return the objective of a recipe.

        Raises:
            ConfigError: as `LabelRegression.of`; or if the teacher lacks a label, or the weights are chosen by a loss.
        """
        plain = LabelRegression.of(network, space, recipe)
        if plain.score != "r2":
            raise ConfigError("monitor: a student is chosen by R² of held-out labels; name a label, not loss")
        missing = (
            [] if teacher is None else [n for n in plain.names if n not in teacher.network.label_space.names]
        )
        if missing:
            raise ConfigError(f"teacher: does not estimate {missing[0]}; give --labels that it does")
        latents = recipe.teach == "latents"
        if latents and teacher is None:
            raise ConfigError("teach: stated labels have no latents; take teach = predictions")
        return cls(
            network, space, plain.loss_name, plain.watched, plain.masked_share, plain.before, teacher, latents
        )

    @property
    def body(self) -> nn.Module:
        """What is trained: the student's body, with the map to the teacher's features if there is one."""
        if not self.latents:
            return self.network.body
        if not self.extra:
            assert self.teacher is not None
            features = self.teacher.network.body.head.linear.in_features
            self.extra.append(WithLatents(self.network.body, features))
        return self.extra[0]

    @property
    def identity(self) -> dict[str, Any]:
        """That of the regression, and the teacher."""
        teacher = self.teacher
        own = {
            "teacher": STATED if teacher is None else teacher.described,
            "sees": "" if teacher is None else [teacher.constant_sigma is None, teacher.noise],
            "latents": self.latents,
        }
        return {**super().identity, "objective": "distillation", **own}

    def prepare(self, batch: SpectraBatch, seed: int | None) -> tuple[Inputs, Tensor]:
        """Return conditioned spectra and what is to be learnt, of training spectra; labels of held-out ones.

        Of P labels that is the scaled mean and error, then the latents of the teacher: (B, 2 P + F).
        """
        if seed is None:
            return super().prepare(batch, None)
        targets = self._stated(batch, seed)
        if self.masked_share:
            batch = masked(batch, self.masked_share, seed)
        return self.network.front(batch.flux, batch.sigma), targets

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the divergence of what the student states from the teacher, plus the error of the features."""
        labels = len(self.names)
        if targets.shape[1] == labels:
            # Held-out spectra: the score beside R² is the plain loss.
            return super().loss(self._raw(outputs), targets)
        mean, error = targets[:, :labels], targets[:, labels : 2 * labels]
        loss = taught_loss(self.network.head, self._raw(outputs), mean, error)
        if self.latents:
            wanted = targets[:, 2 * labels :]
            loss = loss + (outputs[:, -wanted.shape[1] :] - wanted).square().mean()
        return loss

    def scores(self, held_out: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Return the pooled R² of every label."""
        return super().scores((self._raw(outputs), labels) for outputs, labels in held_out)

    def _raw(self, outputs: Tensor) -> Tensor:
        """Return the outputs of the head, (B, P, outputs), of what the trained module gives."""
        if outputs.ndim == 3:
            return outputs
        head = self.network.head
        raw: Tensor = outputs[:, : head.labels * head.outputs].unflatten(1, (head.labels, head.outputs))
        return raw

    @torch.no_grad()
    def _stated(self, batch: SpectraBatch, seed: int) -> Tensor:
        scaling = self.network.head.labels_scaling
        if self.teacher is None:
            try:
                error = torch.stack([batch.conditions[ERROR + name] for name in self.names], dim=1)
            except KeyError as missing:
                raise DataError(f"teacher: the training set does not say the error {missing}") from None
            return torch.cat([scaling.to_scaled(self._targets(batch)), error / scaling.width], dim=1).float()
        network = self.teacher.network
        shown = self.teacher.shown(batch, seed)
        inputs = network.front(*shown)
        features = network.body.backbone(inputs)
        raw = network.refined(network.body.outputs(features, inputs), *shown)
        said = network.decode(raw, inputs.level)
        columns = [network.label_space.index(name) for name in self.names]
        mean = scaling.to_scaled(said.mean[:, columns])
        # A teacher without errors is certain.
        error = torch.zeros_like(mean) if said.std is None else said.std[:, columns] / scaling.width
        parts = [mean, error]
        if self.latents:
            # Of unit size, however the teacher scales them.
            parts.append(F.layer_norm(features.float(), features.shape[1:]))
        return torch.cat(parts, dim=1).float()


def taught_loss(head: Head, raw: Tensor, mean: Tensor, error: Tensor) -> Tensor:
    """Return the mean over spectra and labels of what the student is to learn of a teacher's Gaussian statement.

    A point head learns the mean; a gaussian one takes the likelihood expected under the teacher,
    ln s + (e² + (m - μ)²) / 2s², least where μ = m and s = e; an ordinal one the cross-entropy of the shares of its
    bins in the teacher's Gaussian, cut at the ends of the range.

    Args:
        head: of the student.
        raw: its outputs, shape (B, P, outputs).
        mean, error: of the teacher, scaled labels, shape (B, P).
    """
    if head.kind == "point":
        return (raw[..., 0] - mean).square().mean()
    if head.kind == "gaussian":
        log_variance = raw[..., 1].clamp(*LOG_VARIANCE_RANGE)
        second = error.square() + (raw[..., 0] - mean).square()
        return 0.5 * (log_variance + second * (-log_variance).exp()).mean()
    shares = bin_shares(head.edges, mean, error)
    crossed: Tensor = -(shares * raw.log_softmax(dim=-1)).sum(dim=-1).mean()
    return crossed


def bin_shares(edges: Tensor, mean: Tensor, error: Tensor) -> Tensor:
    """Return the shares of bins in Gaussians cut at the outer edges, shape (B, P, K).

    Args:
        edges: shape (P, K + 1).
        mean, error: shape (B, P); errors below `SMALLEST` of the range count as that.
    """
    smallest = SMALLEST * (edges[:, -1] - edges[:, 0])
    scale = torch.maximum(error, smallest).double()[..., None]
    # A mean beyond the range would leave nothing of the Gaussian inside.
    inside = mean.clamp(edges[:, 0], edges[:, -1]).double()[..., None]
    cumulative = torch.special.ndtr((edges.double() - inside) / scale)
    shares: Tensor = cumulative.diff(dim=-1)
    return (shares / shares.sum(dim=-1, keepdim=True)).float()


def teacher_for(
    network: SpectrumNetwork, described: str, recipe: Recipe, sample: SpectraBatch, device: torch.device
) -> Teacher:
    """Return a trained network as the teacher that a recipe asks for.

    Args:
        network: the trained one; it is moved.
        described: which it is.
        recipe: says what it is shown.
        sample: training spectra, whose mean sigma may take the place of each spectrum's own.
        device: of the training.
    """
    constant = None
    if recipe.teacher_sigma == "constant":
        level, _ = spectrum_level(sample.flux, sample.sigma, None)
        relative = sample.sigma / level
        known = torch.isfinite(relative)
        constant = torch.where(known, relative, 0.0).sum(dim=0) / known.sum(dim=0).clamp(min=1)
        constant = torch.where(constant > 0, constant, constant[constant > 0].mean())
    return Teacher(network.to(device).eval().requires_grad_(False), described, constant, recipe.teacher_noise)


def stating(
    batch: SpectraBatch, columns: dict[str, tuple[Tensor, Tensor]], space: LabelSpace
) -> SpectraBatch:
    """Return a batch whose labels are what someone states of them, with the errors among its conditions.

    Args:
        batch: B spectra.
        columns: label -> mean and error, each (B,).
        space: the labels of the batch.
    """
    labels = batch.known_labels().clone()
    for name, (mean, _) in columns.items():
        labels[:, space.index(name)] = mean.to(labels)
    errors = {ERROR + name: error.to(labels) for name, (_, error) in columns.items()}
    return replace(batch, labels=labels, conditions={**batch.conditions, **errors})
