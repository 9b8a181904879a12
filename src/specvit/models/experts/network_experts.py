"""Small networks as experts: each bin its own, or a shared trunk with a head for each bin.

The training is Adam on shuffled rows, stopped by held-out spectra. What is large, or trains on spectra drawn as it
goes, is a network of `specvit.estimators` with `experts` heads.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from specvit.documents.tensors import Tensors
from specvit.errors import DataError
from specvit.models.experts.linear_experts import LEAST_HELD, HeldOut
from specvit.models.experts.row_experts import FitRows

BATCH, RATE, DECAY, EPOCHS, PATIENCE = 256, 2e-3, 1e-3, 120, 10
#: Updates per epoch at most, so that a million spectra do not make an epoch of hours.
MOST_BATCHES = 400


class Heads(nn.Module):
    """A residual network of a few hidden layers with one or several heads of P labels.

    Args:
        inputs, width, heads, labels: D, hidden units, H and P.
        depth: hidden layers.
    """

    def __init__(self, inputs: int, width: int, heads: int, labels: int, depth: int = 2) -> None:
        super().__init__()
        self.shape = (heads, labels)
        self.first = nn.Linear(inputs, width)
        self.second = nn.Linear(width, width) if depth > 1 else None
        self.further = nn.ModuleList([nn.Linear(width, width) for _ in range(depth - 2)])
        self.last = nn.Linear(width, heads * labels)

    def forward(self, scaled: Tensor) -> Tensor:
        """Return outputs (B, H, P) for inputs (B, D)."""
        hidden = nn.functional.gelu(self.first(scaled))
        if self.second is not None:
            hidden = hidden + nn.functional.gelu(self.second(hidden))
        for layer in self.further:
            hidden = hidden + nn.functional.gelu(layer(hidden))
        found: Tensor = self.last(hidden).unflatten(1, self.shape)
        return found


class NetworkExperts:
    """Networks of M components.

    Args:
        networks: one with M heads (a shared trunk), or one per component.
        scale: centre and spread of inputs (2, D) and of labels (2, P).
    """

    def __init__(self, networks: nn.ModuleList, scale: tuple[Tensor, Tensor]) -> None:
        self.networks, self.scale = networks.eval().requires_grad_(False), scale
        self.facts: dict[str, Any] = {}
        self.missing: dict[int, str] = {}

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(weights.numel() for weights in self.networks.parameters())

    @torch.no_grad()
    def __call__(self, values: Tensor) -> Tensor:
        """Return the estimates of all components, shape (B, M, P), float64, for values (B, D)."""
        (centre, spread), (label_centre, label_spread) = self.scale
        scaled = (values.float() - centre) / spread
        raw = torch.cat([network(scaled) for network in self.networks], dim=1)
        found: Tensor = raw.double() * label_spread + label_centre
        return found

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the arrays by the names they are stored under."""
        return {"inputs": self.scale[0], "labels": self.scale[1], **self.networks.state_dict()}

    def texts(self) -> dict[str, str]:
        """Return no files: arrays are all there is."""
        return {}

    @classmethod
    def read(
        cls, tensors: Tensors, shape: tuple[int, int, int], width: int, shared: bool, depth: int = 2
    ) -> NetworkExperts:
        """Return stored experts of M components, P labels and D inputs; DataError for what does not fit."""
        _, labels, inputs = shape
        scale = (
            tensors.take("inputs", (2, inputs), torch.float32),
            tensors.take("labels", (2, labels), torch.float64),
        )
        if not all(bool((part[1] > 0).all()) for part in scale):
            raise tensors.problem("a spread of inputs or labels is not positive")
        networks = make_networks(shape, width, shared, depth)
        networks.load_state_dict(tensors.state_of(networks))
        return cls(networks, scale)


def make_networks(shape: tuple[int, int, int], width: int, shared: bool, depth: int = 2) -> nn.ModuleList:
    """Return untrained networks of M components, P labels and D inputs."""
    components, labels, inputs = shape
    heads = [components] if shared else [1] * components
    return nn.ModuleList([Heads(inputs, width, count, labels, depth) for count in heads])


def fit_networks(bins: int, width: int, shared: bool, seed: int, depth: int = 2) -> FitRows:
    """Return what fits networks of `bins` components and, as the last, of all spectra; see `Heads` for the depth."""

    def fit(values: Tensor, labels: Tensor, at: Tensor, wanted: list[int], held: HeldOut) -> NetworkExperts:
        scale = _scales(values, labels)
        rows = _scaled(values, labels, scale)
        held_rows = _scaled(held.values, held.labels, scale)
        shape = (bins + 1, labels.shape[1], values.shape[1])
        networks = make_networks(shape, width, shared, depth)
        generator = torch.Generator().manual_seed(seed)
        if shared:
            _train(
                networks[0],
                rows,
                _heads_of(at, wanted, bins),
                held_rows,
                _heads_of(held.bins, wanted, bins),
                generator,
            )
        else:
            # All first: a bin without spectra of its own is answered by it.
            _train(networks[bins], rows, None, held_rows, None, generator)
            for k in range(bins):
                if k not in wanted:
                    networks[k].load_state_dict(networks[bins].state_dict())
                    continue
                inside, check = at == k, held.bins == k
                check = check if int(check.sum()) >= LEAST_HELD else torch.ones_like(check)
                part, held_part = (tuple(x[m] for x in r) for r, m in ((rows, inside), (held_rows, check)))
                _train(networks[k], part, None, held_part, None, generator)
        return NetworkExperts(networks, scale)

    return fit


def _heads_of(at: Tensor, wanted: list[int], bins: int) -> Tensor:
    """Return the head of each row, (B,); rows of a bin without an expert train that of all spectra alone."""
    own = torch.isin(at, torch.tensor(wanted))
    return torch.where(own, at, bins)


def _scales(values: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    spread, label_spread = values.std(dim=0), labels.std(dim=0)
    if bool((label_spread == 0).any()):
        raise DataError("moe: a label is constant over the training spectra; estimate others")
    # An input that never changes says nothing.
    inputs = torch.stack([values.mean(dim=0), torch.where(spread > 0, spread, 1.0)])
    return inputs.float(), torch.stack([labels.mean(dim=0), label_spread])


def _scaled(values: Tensor, labels: Tensor, scale: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    (centre, spread), (label_centre, label_spread) = scale
    return (values.float() - centre) / spread, ((labels - label_centre) / label_spread).float()


def _train(
    network: nn.Module,
    rows: tuple[Tensor, ...],
    heads: Tensor | None,
    held: tuple[Tensor, ...],
    held_heads: Tensor | None,
    generator: torch.Generator,
) -> None:
    """Train one network; with `heads` each row trains its own head and the last, that of all spectra."""
    _start(network, generator)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)

    def loss(values: Tensor, labels: Tensor, at: Tensor | None) -> Tensor:
        outputs: Tensor = network(values)
        if at is None:
            return (outputs[:, 0] - labels).square().mean()
        own = outputs[torch.arange(len(at)), at]
        return (own - labels).square().mean() + (outputs[:, -1] - labels).square().mean()

    best, kept, worse = torch.inf, network.state_dict(), 0
    for _ in range(EPOCHS):
        order = torch.randperm(len(rows[0]), generator=generator)
        for some in order.split(BATCH)[:MOST_BATCHES]:
            optimiser.zero_grad()
            loss(rows[0][some], rows[1][some], None if heads is None else heads[some]).backward()
            optimiser.step()
        with torch.no_grad():
            found = float(loss(held[0], held[1], held_heads))
        if found < best:
            best, worse = found, 0
            kept = {name: values.clone() for name, values in network.state_dict().items()}
        elif (worse := worse + 1) >= PATIENCE:
            break
    network.load_state_dict(kept)


def _start(network: nn.Module, generator: torch.Generator) -> None:
    # Not PyTorch's own start, which draws from the generator of the whole process.
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.normal_(0, parameter.shape[1] ** -0.5, generator=generator)
