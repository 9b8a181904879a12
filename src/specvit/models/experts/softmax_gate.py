"""A softmax over components, linear or with one hidden layer, trained to tell bins or to weigh experts.

"Tell bins" is multinomial logistic regression; "weigh experts" minimises the squared error of the weighted estimates,
so that a gate gives no weight to an expert that is right about the bin and wrong about the label.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from specvit.documents.tensors import Tensors
from specvit.errors import RunError

#: Training of a gate: Adam on batches of shuffled spectra, stopped when held-out spectra gain no more.
BATCH, RATE, DECAY, EPOCHS, PATIENCE = 256, 1e-2, 1e-4, 100, 6
#: Batches of an epoch at most, so that a million spectra do not make an epoch of hours.
MOST_BATCHES = 400

#: From outputs (B, M) and rows to a loss.
Loss = Callable[[Tensor, Tensor], Tensor]


class SoftmaxGate(nn.Module):
    """Weights of M components from F features.

    Args:
        features: F.
        components: M.
        hidden: units of the hidden layer; 0 for a linear gate.
    """

    def __init__(self, features: int, components: int, hidden: int) -> None:
        super().__init__()
        self.features, self.components, self.hidden = features, components, hidden
        layers: list[nn.Module] = [nn.Linear(features, hidden), nn.GELU()] if hidden else []
        self.body = nn.Sequential(*layers, nn.Linear(hidden or features, components))
        #: Logits are divided by it: probabilities are then as often right as they say.
        self.register_buffer("temperature", torch.ones(()))

    temperature: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """Return logits, shape (B, M), for features (B, F), float32."""
        logits: Tensor = self.body(features) / self.temperature
        return logits

    @torch.no_grad()
    def weights(self, features: Tensor) -> Tensor:
        """Return weights that sum to one, shape (B, M), float64."""
        found: Tensor = self(features).double().softmax(dim=1)
        return found

    def fit_bins(self, features: Tensor, bins: Tensor, held: Tensor, held_bins: Tensor, seed: int) -> Self:
        """Learn which component each spectrum belongs to; its temperature is fitted on the held-out ones.

        Args:
            features, bins: of N training spectra, (N, F) and (N,).
            held, held_bins: of held-out ones.
            seed: of weights and order.

        Source: Guo et al. 2017, ICML (temperature scaling).
        """
        entropy = nn.functional.cross_entropy

        def loss(logits: Tensor, rows: Tensor) -> Tensor:
            return entropy(logits, bins[rows])

        self._train(features, loss, lambda: float(entropy(self(held), held_bins)), seed)
        self._fit_temperature(held, held_bins)
        return self

    def fit_errors(
        self,
        features: Tensor,
        estimates: Tensor,
        truth: Tensor,
        held: tuple[Tensor, Tensor, Tensor],
        seed: int,
    ) -> Self:
        """Learn the weights of least squared error.

        Args:
            features: of N spectra that no expert was fitted on, (N, F).
            estimates: of the M components, (N, M, P), in units of the labels' spreads.
            truth: shape (N, P), likewise.
            held: the same three of held-out spectra.
            seed: of weights and order.
        """

        def error(logits: Tensor, of: Tensor, labels: Tensor) -> Tensor:
            mixed = torch.einsum("bm,bmp->bp", logits.softmax(dim=1), of)
            return (mixed - labels).square().mean()

        self._train(
            features,
            lambda logits, rows: error(logits, estimates[rows], truth[rows]),
            lambda: float(error(self(held[0]), *held[1:])),
            seed,
        )
        return self

    def read(self, tensors: Tensors) -> Self:
        """Take over stored weights; DataError for those that do not fit."""
        self.load_state_dict(tensors.state_of(self))
        if not float(self.temperature) > 0:
            raise tensors.problem("'temperature' is not positive")
        return self.eval().requires_grad_(False)

    def _train(self, features: Tensor, loss: Loss, score: Callable[[], float], seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._start(generator)
        optimiser = torch.optim.AdamW(self.parameters(), lr=RATE, weight_decay=DECAY)
        best, kept, worse = torch.inf, self._state(), 0
        for _ in range(EPOCHS):
            order = torch.randperm(len(features), generator=generator)
            for rows in order.split(BATCH)[:MOST_BATCHES]:
                optimiser.zero_grad()
                loss(self(features[rows]), rows).backward()
                optimiser.step()
            with torch.no_grad():
                found = score()
            if found < best:
                best, kept, worse = found, self._state(), 0
            elif (worse := worse + 1) >= PATIENCE:
                break
        if not best < torch.inf:
            raise RunError("gate: its training did not converge: no held-out loss was finite")
        self.load_state_dict(kept)
        self.eval().requires_grad_(False)

    def _start(self, generator: torch.Generator) -> None:
        # Not PyTorch's own start, which draws from the generator of the whole process.
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name.endswith("bias"):
                    parameter.zero_()
                else:
                    parameter.normal_(0, parameter.shape[1] ** -0.5, generator=generator)

    def _state(self) -> dict[str, Tensor]:
        return {name: values.detach().clone() for name, values in self.state_dict().items()}

    @torch.no_grad()
    def _fit_temperature(self, held: Tensor, bins: Tensor) -> None:
        logits, grid = self(held), torch.logspace(-1, 1, 81)
        losses = torch.stack([nn.functional.cross_entropy(logits / one, bins) for one in grid])
        self.temperature.copy_(grid[losses.argmin()])
