"""The layers of a learned denoiser by name, as `specvit latents` looks at them: a U-Net's levels, a blind spot's mixture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import torch
from torch import Tensor, nn

from specvit.denoise.learned.blind_spot import BlindSpotNet
from specvit.denoise.learned.config import DIFFUSIONS
from specvit.denoise.learned.learned_denoiser import LearnedDenoiser
from specvit.denoise.learned.unet import UNet
from specvit.denoise.restoring import NoisySpectra
from specvit.errors import ConfigError
from specvit.models.conditioning import normalise
from specvit.models.origin import Origin
from specvit.models.states import State
from specvit.spectra import WavelengthGrid

#: Spectra taken at once: a level of a U-Net has several numbers per pixel.
ROWS = 64


class DenoiserLayers:
    """A trained denoiser that answers in one pass; on the CPU.

    Args:
        denoiser: trained.

    Raises:
        ConfigError: for one that has no such network, or draws samples step by step.
    """

    #: It estimates no labels.
    names: tuple[str, ...] = ()
    rows_at_once = ROWS

    def __init__(self, denoiser: LearnedDenoiser) -> None:
        self.denoiser, self.device = denoiser, torch.device("cpu")
        body = denoiser.method.body
        found = [module for module in body.modules() if isinstance(module, UNet | BlindSpotNet)]
        if denoiser.config.objective in DIFFUSIONS or not found:
            raise ConfigError(
                f"{denoiser.name}: layers are those of a U-Net or blind-spot network that answers in one pass; this one "
                f"has the objective '{denoiser.config.objective}'"
            )
        self._layers = dict(_named(found[0]))

    @property
    def name(self) -> str:
        """Of the denoiser."""
        return self.denoiser.name

    @property
    def origin(self) -> Origin:
        """What it was trained for and on."""
        return self.denoiser.origin

    @property
    def grid(self) -> WavelengthGrid:
        """Its pixels."""
        return self.origin.grid

    @property
    def described(self) -> str:
        """Which it is, by a digest of its weights."""
        return f"{self.name}, weights {self.denoiser.digest}"

    @property
    def network(self) -> Self:
        """What has the layers."""
        return self

    def to(self, device: Any) -> Self:
        """Return itself: it stays where it is."""
        return self

    def states(self, flux: Tensor, sigma: Tensor) -> Iterator[State]:
        """Yield the layers in order of computation, places in order of wavelength, for flux and sigma (B, L)."""
        usable, flux, sigma, _ = normalise(flux, sigma)
        noisy = NoisySpectra(flux, sigma.masked_fill(~usable, torch.inf), 1.0, 0, torch.Generator())
        found: list[State] = []
        hooks = [
            layer.register_forward_hook(_keep(found, name, first))
            for name, (layer, first) in self._layers.items()
        ]
        try:
            self.denoiser.method.restore(noisy)
        finally:
            for hook in hooks:
                hook.remove()
        yield from found


def _named(network: UNet | BlindSpotNet) -> Iterator[tuple[str, tuple[nn.Module, bool]]]:
    """Yield name and layer, and whether features come before places in what it gives."""
    if isinstance(network, BlindSpotNet):
        # What comes before it sees half of the spectrum, from either side.
        yield "mix", (network.mix, True)
        return
    yield "entry", (network.entry, False)
    for level, blocks in enumerate(network.down, 1):
        yield f"down{level}", (blocks, True)
    yield "attention", (network.attention, True)
    for level, blocks in reversed(list(enumerate(network.up, 1))):
        yield f"up{level}", (blocks, True)


def _keep(found: list[State], name: str, features_first: bool) -> Any:
    def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
        found.append(State(name, output.transpose(1, 2) if features_first else output))

    return keep
