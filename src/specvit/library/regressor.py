"""The smooth map labels -> principal-component coefficients inside the emulator.

Owns the network's shape and its standardisation; the spectra it stands for live in `emulator`, the fit in
`emulator_fit`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from specvit.documents.tensors import Tensors
from specvit.errors import LabelError
from specvit.library.chemistry import ChemicalCoordinates, PlainCoordinates
from specvit.library.emulator_record import RegressorRecord
from specvit.spectra import LabelSpace

CoordinateKind = Literal["chemical", "labels"]
COORDINATES: dict[CoordinateKind, type[ChemicalCoordinates] | type[PlainCoordinates]] = {
    "chemical": ChemicalCoordinates,
    "labels": PlainCoordinates,
}

#: Stars whose slopes, a few arrays of labels x width, stay in a core's cache between two layers.
CACHED = 512


class CoefficientNetwork(nn.Module):
    """Labels (B, P) -> coefficients (B, K): coordinates, standardised, through a SiLU network.

    SiLU is smooth to all orders, so the Fisher matrix built from its derivatives has no kinks; the network
    is float32-safe because no weight is large against the standardised inputs and outputs.

    Args:
        label_space: names and order of the labels.
        components: K, number of coefficients.
        width: units per hidden layer.
        depth: number of hidden layers.
        coordinates: "chemical" adds free oxygen and carbon to the labels; "labels" takes them as they are.
    """

    input_mean: Tensor
    input_scale: Tensor
    output_scale: Tensor

    def __init__(
        self,
        label_space: LabelSpace,
        components: int,
        width: int = 256,
        depth: int = 3,
        coordinates: CoordinateKind = "chemical",
    ) -> None:
        super().__init__()
        self.components, self.width, self.depth, self.kind = components, width, depth, coordinates
        self.coordinates = COORDINATES[coordinates](label_space)
        size = self.coordinates.size
        self.register_buffer("input_mean", torch.zeros(size))
        self.register_buffer("input_scale", torch.ones(size))
        self.register_buffer("output_scale", torch.ones(components))
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise([size] + [width] * depth):
            layers += [nn.Linear(fan_in, fan_out), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(width, components))

    @torch.no_grad()
    def standardise(self, labels: Tensor, coefficients: Tensor) -> None:
        """Set the input and output scales from training labels (N, P) and coefficients (N, K)."""
        coordinates = self.coordinates(labels)
        self.input_mean.copy_(coordinates.mean(0))
        # A label without spread would divide by zero; it then carries no information either way.
        self.input_scale.copy_(coordinates.std(0).clamp_min(1e-6))
        self.output_scale.copy_(coefficients.std(0))

    def forward(self, labels: Tensor) -> Tensor:
        """Return the coefficients, shape (..., K)."""
        standard = (self.coordinates(labels) - self.input_mean) / self.input_scale
        coefficients: Tensor = self.layers(standard) * self.output_scale
        return coefficients

    @torch.no_grad()
    def value_and_slopes(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the coefficients (B, K) and their derivatives by each label, shape (B, P, K).

        What `batched_jacobian` of this network finds, in less than half its time: the chain rule is
        carried through the layers for all labels in one product each.
        """
        value = (self.coordinates(labels) - self.input_mean) / self.input_scale
        slopes = self.coordinates.jacobian(labels).mT / self.input_scale
        blocks = zip(value.split(CACHED), slopes.split(CACHED), strict=True)
        found = [self._through_layers(*block) for block in blocks]
        value, slopes = (torch.cat(part) for part in zip(*found, strict=True))
        return value * self.output_scale, slopes * self.output_scale

    def _through_layers(self, value: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                value, slopes = layer(value), slopes @ layer.weight.mT
            else:
                # SiLU is x s(x) with s' = s (1 - s), so its slope is s + x s (1 - s).
                gate = torch.sigmoid(value)
                value = value * gate
                slopes = slopes.mul_(torch.addcmul(gate, value, 1 - gate)[:, None])
        return value, slopes

    def to_dict(self) -> dict[str, Any]:
        """Return the network's shape; `CoefficientNetwork(label_space, **shape)` rebuilds it."""
        return {
            "components": self.components,
            "width": self.width,
            "depth": self.depth,
            "coordinates": self.kind,
        }


def read_regressor(tensors: Tensors, record: RegressorRecord, label_space: LabelSpace) -> CoefficientNetwork:
    """Return the network of stored tensors.

    Raises:
        DataError: if they are not those of a network of that shape over these labels.
    """
    shape = record.model_dump()
    try:
        # Laid out without memory first: a damaged number must not be able to ask for all there is.
        with torch.device("meta"):
            outline = CoefficientNetwork(label_space, **shape)
    except LabelError as error:
        raise tensors.problem(str(error)) from error
    state = tensors.state_of(outline)
    for name in ("input_scale", "output_scale"):
        if bool((state[name] <= 0).any()):
            raise tensors.problem(f"tensor '{name}' is not positive")
    network = CoefficientNetwork(label_space, **shape)
    network.load_state_dict(state)
    return network
