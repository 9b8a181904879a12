"""A network for spectra: fixed front end, trainable body. Owns the assembly from a description.

`front` (normalisation or subspace projection, float32, no trainable parameters) and `body` (backbone,
optional linear shortcut, head) are apart so that the engine may run the body in bf16 and never the flux.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from specvit.errors import ConfigError
from specvit.models.cnn import CNN, CNNConfig
from specvit.models.conditioning import Conditioning, Inputs, normalise, wavelength_phase
from specvit.models.heads import Estimate, Head, HeadKind, Scaling
from specvit.models.mlp import MLP, MLPConfig
from specvit.models.options import as_type_of, check_bounds, unknown_option
from specvit.models.refinement import Refinement, stated_by
from specvit.models.states import INPUT, LEVEL, OUTPUT, State
from specvit.models.subspace import SubspaceProjection
from specvit.models.swin import Swin, SwinConfig
from specvit.models.usable import usable_median, usable_pixels
from specvit.models.view import View
from specvit.models.vit import SpecViT, ViTConfig
from specvit.spectra import LabelSpace, WavelengthGrid

BackboneConfig = MLPConfig | CNNConfig | ViTConfig | SwinConfig

#: Options of a `View`.
VIEW = ("view", "seen", "noisiest")

#: Spectra refined at once: each has a matrix of components by components.
REFINED_ROWS = 256

#: What lies between a spectrum and the network: its pixels, or the sufficient statistics of noise-free spectra.
FrontKind = Literal["pixels", "subspace"]


@dataclass(frozen=True)
class FrontConfig:
    """What happens to a spectrum before the network.

    Args:
        channels, chunk: see `Conditioning`; for "pixels".
        view, seen, noisiest: `form`, `seen` and `noisiest` of a `View`; for "pixels".
        components, patterns: see `SubspaceProjection`; for "subspace".
        kind: which of the two; given with the network, no option.
    """

    channels: tuple[str, ...] = ("flux",)
    chunk: int = 0
    components: int = 48
    patterns: int = 12
    kind: FrontKind = "pixels"
    view: str = ""
    seen: str = ""
    noisiest: float = 0.0

    def __post_init__(self) -> None:
        """Check the options."""
        check_bounds(self)
        if self.kind == "subspace" and not self.viewing.is_plain:
            raise ConfigError("view, seen, noisiest: a subspace network sees whole spectra as they are")

    @property
    def viewing(self) -> View:
        """What is done to a spectrum before anything is learnt from it."""
        return View(self.view, self.seen, self.noisiest)


@dataclass(frozen=True)
class NetworkConfig:
    """The full description of a network; with a grid and a label space it determines all shapes.

    Args:
        model: name of the kind of network.
        backbone: its configuration, whose class says which network it is.
        front: see `FrontConfig`.
        head, scaling, bins, experts, peak: see `Head`.
        shortcut: add a linear map of the flux channel to the value of each label ("on Ridge"); starts at zero
            unless it is given the weights of a Ridge fit.
    """

    model: str
    backbone: BackboneConfig
    front: FrontConfig = field(default_factory=FrontConfig)
    head: HeadKind = "ordinal"
    scaling: Scaling = "zscore"
    bins: int = 64
    shortcut: bool = False
    experts: int = 1
    peak: bool = False

    def __post_init__(self) -> None:
        """Check the options."""
        check_bounds(self)
        if self.shortcut and self.head == "ordinal":
            raise ConfigError(
                "shortcut: an ordinal head has no single value per label to add a linear map to"
            )

    def with_options(self, options: dict[str, Any]) -> NetworkConfig:
        """Return the description with fields (`patch`, `head`, `chunk`, ...) replaced, wherever they live.

        Raises:
            ConfigError: for an unknown name, with the nearest known one, or a value of the wrong type.
        """
        parts = {"backbone": self.backbone, "front": self.front, "": self}
        changes: dict[str, dict[str, Any]] = {part: {} for part in parts}
        for name, value in options.items():
            part = next((p for p, owner in parts.items() if name in _option_names(owner)), None)
            if part is None:
                raise unknown_option(self.model, name, self.option_names)
            changes[part][name] = as_type_of(getattr(parts[part], name), name, value)
        return replace(
            self,
            backbone=replace(self.backbone, **changes["backbone"]),
            front=replace(self.front, **changes["front"]),
            **changes[""],
        )

    @property
    def option_names(self) -> list[str]:
        """The names `with_options` knows."""
        return [name for owner in (self.backbone, self.front, self) for name in _option_names(owner)]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description; `network_settings.read_config` reads it back."""
        found = asdict(self)
        if self.front.viewing.is_plain:
            # As descriptions were before there were views.
            found["front"] = {name: value for name, value in found["front"].items() if name not in VIEW}
        return found


class Body(nn.Module):
    """The trainable part: `Inputs` -> raw outputs of the head."""

    def __init__(self, backbone: nn.Module, head: Head, shortcut: nn.Linear | None) -> None:
        super().__init__()
        self.backbone, self.head, self.shortcut = backbone, head, shortcut

    def forward(self, inputs: Inputs) -> Tensor:
        """Return raw outputs, shape (B, P, outputs), float32."""
        return self.outputs(self.backbone(inputs), inputs)

    def outputs(self, features: Tensor, inputs: Inputs) -> Tensor:
        """Return raw outputs for the features (B, width) that the backbone made of inputs."""
        raw: Tensor = self.head(features, inputs.level)
        if self.shortcut is None:
            return raw
        # Channel 0 is the flux: `Conditioning` refuses any other order.
        linear = self.shortcut(inputs.values[:, 0]).float()
        return torch.cat([(raw[..., 0] + linear)[..., None], raw[..., 1:]], dim=-1)


class SpectrumNetwork(nn.Module):
    """front -> body; build one with `build_network`."""

    def __init__(
        self, config: NetworkConfig, front: Conditioning | SubspaceProjection, body: Body, space: LabelSpace
    ) -> None:
        super().__init__()
        self.config, self.front, self.body, self.label_space = config, front, body, space
        #: What makes the estimates of bright stars better, if anything does.
        self.refinement: Refinement | None = None

    @property
    def head(self) -> Head:
        """The output layer, which also owns the label scaling."""
        return self.body.head

    @property
    def parameter_count(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.body.parameters())

    def forward(self, flux: Tensor, sigma: Tensor) -> Tensor:
        """Return raw outputs, shape (B, P, outputs), for flux and sigma (B, L)."""
        return self.refined(self.body(self.front(flux, sigma)), flux, sigma)

    def refined(self, raw: Tensor, flux: Tensor, sigma: Tensor) -> Tensor:
        """Return the outputs of the body with those of bright stars refined, for flux and sigma (B, L) in any unit."""
        if self.refinement is None:
            return raw
        bright = self.is_bright(flux, sigma)
        rows = torch.nonzero(bright).squeeze(1)
        if not len(rows):
            return raw
        steps = []
        for some in rows.split(REFINED_ROWS):
            usable, spectrum, noise, _ = normalise(flux[some], sigma[some])
            steps.append(self.step_of(raw[some], usable, spectrum, noise))
        return raw.index_copy(0, rows, torch.cat(steps))

    def is_bright(self, flux: Tensor, sigma: Tensor) -> Tensor:
        """Return whose estimates are refined, shape (B,), for flux and sigma (B, L) in any unit."""
        if self.refinement is None:
            return torch.zeros(len(flux), dtype=torch.bool, device=flux.device)
        usable = usable_pixels(flux, sigma)
        # A spectrum without a usable pixel has a median of 1.
        return usable_median((flux / sigma).float(), usable) >= self.refinement.config.snr

    def step_of(self, raw: Tensor, usable: Tensor, flux: Tensor, sigma: Tensor) -> Tensor:
        """Return the refined outputs for those of the body and what `normalise` gives; differentiable in the flux."""
        assert self.refinement is not None
        seen = self.refinement.seen(usable, flux, sigma)
        return self.refinement.outputs(stated_by(self.head, raw), seen, self.head).to(raw.dtype)

    def states(self, flux: Tensor, sigma: Tensor) -> Iterator[State]:
        """Yield what every layer makes of flux and sigma (B, L): the front end's values and level first, outputs last.

        Outputs are those of the body; a refinement, which is no layer, comes after them.
        """
        yield from self.states_of(self.front(flux, sigma))

    def states_of(self, inputs: Inputs) -> Iterator[State]:
        """Yield what every layer makes of what the front end gave; differentiable."""
        yield State(INPUT, inputs.values.flatten(1))
        yield State(LEVEL, inputs.level)
        yield from cast(Any, self.body.backbone).states(inputs)
        yield State(OUTPUT, self.body(inputs).flatten(1))

    def mean(self, raw: Tensor) -> Tensor:
        """Return the estimates alone, shape (B, P), in label units, from raw outputs."""
        return self.head.mean(raw)

    def decode(self, raw: Tensor, level: Tensor) -> Estimate:
        """Return estimates, errors and quantiles in label units from raw outputs and the level of the inputs."""
        return self.head.decode(raw, level)

    def estimate(self, flux: Tensor, sigma: Tensor) -> Estimate:
        """Return estimates, errors and quantiles in label units for flux and sigma (B, L)."""
        inputs = self.front(flux, sigma)
        return self.decode(self.refined(self.body(inputs), flux, sigma), inputs.level)


def build_network(config: NetworkConfig, grid: WavelengthGrid, space: LabelSpace) -> SpectrumNetwork:
    """Return a freshly initialised network; draws from PyTorch's global generator.

    Args:
        config: what to build.
        grid: the pixels.
        space: the labels to estimate, with the bounds of training.
    """
    pixels = grid.size
    front: Conditioning | SubspaceProjection
    if config.front.kind == "subspace":
        front = SubspaceProjection(pixels, config.front.components, config.front.patterns)
    else:
        front = Conditioning(pixels, config.front.channels, config.front.chunk, config.front.viewing)
    backbone = _build_backbone(config.backbone, front.shape, grid)
    head = Head(
        backbone.width,
        front.shape[2],
        space,
        config.head,
        config.scaling,
        config.bins,
        config.experts,
        config.peak,
    )
    shortcut = nn.Linear(front.shape[1], len(space)) if config.shortcut else None
    if shortcut is not None:
        nn.init.zeros_(shortcut.weight)
        nn.init.zeros_(shortcut.bias)
    return SpectrumNetwork(config, front, Body(backbone, head, shortcut), space)


def _build_backbone(config: BackboneConfig, shape: tuple[int, int, int], grid: WavelengthGrid) -> Any:
    match config:
        case MLPConfig():
            return MLP(config, shape)
        case CNNConfig():
            return CNN(config, shape, wavelength_phase(grid.wavelength))
        case SwinConfig():
            return Swin(config, shape)
        case ViTConfig():
            # PyTorch warns of read-only memory, and a grid's is.
            wavelength = torch.from_numpy(grid.wavelength.copy())
            return SpecViT(config, shape, wavelength_phase(grid.wavelength), wavelength)


def _option_names(owner: Any) -> list[str]:
    return [f.name for f in fields(owner) if f.name not in ("model", "backbone", "front", "kind")]
