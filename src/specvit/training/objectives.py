"""What a network is trained for: inputs, targets, loss, and the scores that select its weights.

The engine knows steps, schedules and checkpoints; an `Objective` knows what the outputs mean. Labels are
regressed by `LabelRegression`; docs/training.md shows how to write another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from specvit.errors import ConfigError, DataError
from specvit.models.conditioning import Inputs
from specvit.models.network import SpectrumNetwork
from specvit.spectra import LabelSpace, SpectraBatch
from specvit.training.feeds import masked
from specvit.training.losses import training_loss
from specvit.training.recipe import LOSS, Recipe

#: Name of the score that the loss gives.
NEGATIVE_LOSS = "negative_loss"


class Objective(Protocol):
    """What the engine asks about a training; `Trainer` runs the body, this says with what and for what."""

    @property
    def front(self) -> nn.Module:
        """What prepares spectra and is not trained: moved to the device, and part of every checkpoint."""

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must belong to, in plain values: everything that outputs and loss depend on."""

    @property
    def score(self) -> str:
        """What the scores are, in one word, as records name them: "r2"."""

    @property
    def monitor(self) -> tuple[str, ...]:
        """The names of those scores whose mean decides which weights are kept."""

    def check(self, validation: SpectraBatch) -> None:
        """Raise DataError unless these held-out spectra can be scored; called before the first step."""

    def prepare(self, batch: SpectraBatch, seed: int | None) -> tuple[Any, Tensor]:
        """Return the inputs of the body and the targets of a batch, on the device of the batch.

        Called in a thread of its own while the device trains, so what is random here draws from `seed`, never
        from PyTorch's global generator. None marks held-out spectra, which are prepared alike every time.
        """

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of one step, a scalar."""

    def scores(self, held_out: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Return scores by name, higher is better, of (outputs, targets) of all held-out spectra in parts."""


def pooled_r2(estimate: Tensor, truth: Tensor) -> Tensor:
    """Return R² per label over all spectra at once, shape (P,), for estimates and truth of shape (N, P)."""
    # Pooled: the mean of R² over batches would divide by the variance of few labels.
    total = (truth - truth.mean(dim=0)).square().sum(dim=0)
    return 1 - (estimate - truth).square().sum(dim=0) / total


@dataclass(frozen=True)
class LabelRegression:
    """Estimate the labels of a network's head; the validation R², or the loss, selects.

    Args:
        network: its front end must be fitted before the first step.
        space: the labels of the spectra, of which the network's are a part.
        loss_name: one of `recipe.LOSSES` for the network's head.
        watched: the label whose R² decides; the mean over labels if the network does not estimate it; `LOSS` for
            the loss. R² counts errors alike in all spectra, so of noisy and bright ones it sees the noisy.
        masked_share: share of training spectra in which random stretches of pixels are marked dead.
        before: what the body learnt before, in plain values; {} if nothing.
    """

    network: SpectrumNetwork
    space: LabelSpace
    loss_name: str
    watched: str = ""
    masked_share: float = 0.0
    before: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, network: SpectrumNetwork, space: LabelSpace, recipe: Recipe) -> LabelRegression:
        """Return the objective of a recipe.

        Raises:
            ConfigError: if its loss does not train the network's head, or it monitors what is no label.
        """
        # The label monitored by default is passed over in libraries that lack it.
        if recipe.monitor not in (*space.names, LOSS, Recipe.monitor):
            raise ConfigError(
                f"monitor: '{recipe.monitor}' is no label; choose {', '.join((*space.names, LOSS))}"
            )
        loss = recipe.loss_for(network.config.head)
        before: dict[str, Any] = {}
        if recipe.pretrain != "none":
            before = {name: value for name, value in recipe.to_dict().items() if name.startswith("pretrain")}
        return cls(network, space, loss, recipe.monitor, recipe.masked, before)

    @property
    def score(self) -> str:
        """R², or the loss with its sign changed, of which more is better."""
        return NEGATIVE_LOSS if self.watched == LOSS else "r2"

    @property
    def front(self) -> nn.Module:
        """The front end of the network."""
        return self.network.front

    @property
    def names(self) -> tuple[str, ...]:
        """The labels estimated."""
        return self.network.label_space.names

    @property
    def identity(self) -> dict[str, Any]:
        """Network, labels and loss."""
        return {
            "objective": "label regression",
            "network": self.network.config.to_dict(),
            "labels": list(self.names),
            "loss": self.loss_name,
            "watched": self.watched,
            "masked": self.masked_share,
            **({"before": dict(self.before)} if self.before else {}),
        }

    @property
    def monitor(self) -> tuple[str, ...]:
        """The loss, the watched label, or all."""
        if self.watched == LOSS:
            return (NEGATIVE_LOSS,)
        return (self.watched,) if self.watched in self.names else self.names

    def check(self, validation: SpectraBatch) -> None:
        """Raise DataError if a validation label is unknown or constant."""
        truth = self._targets(validation).double()
        # R² of a constant is NaN, which no weights would ever beat.
        if not bool(torch.isfinite(truth).all()) or not bool((truth.std(dim=0) > 0).all()):
            raise DataError(
                "validation set: expected spectra with known, differing values of all estimated labels"
            )

    def prepare(self, batch: SpectraBatch, seed: int | None) -> tuple[Inputs, Tensor]:
        """Return conditioned spectra and the labels that are estimated, shape (B, P), in their units."""
        if seed is not None and self.masked_share:
            batch = masked(batch, self.masked_share, seed)
        return self.network.front(batch.flux, batch.sigma), self._targets(batch)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss over spectra and known labels."""
        return training_loss(self.loss_name, self.network.head, outputs, targets)

    def scores(self, held_out: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Return the pooled R² of every label, and the loss with its sign changed."""
        means, truths, losses = [], [], []
        for raw, labels in held_out:
            means.append(self.network.mean(raw))
            truths.append(labels)
            losses.append(self.loss(raw, labels).double() * len(labels))
        truth = torch.cat(truths)
        r2 = dict(zip(self.names, pooled_r2(torch.cat(means), truth.double()).tolist(), strict=True))
        return {**r2, NEGATIVE_LOSS: -float(torch.stack(losses).sum()) / len(truth)}

    def _targets(self, batch: SpectraBatch) -> Tensor:
        return batch.known_labels()[:, [self.space.index(name) for name in self.names]]
