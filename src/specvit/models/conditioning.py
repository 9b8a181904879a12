"""From (flux, sigma) in any unit to what a network sees. Owns normalisation, dead pixels and extra channels.

The normalisation is part of the saved network, so that training, testing and a user's own spectra pass
through the same lines. Everything here is float32 and has no trainable parameters: flux is never in half
precision.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from specvit.errors import ConfigError
from specvit.models.usable import all_usable, spectrum_level, usable_median, usable_pixels
from specvit.models.view import View, Viewed

CHANNELS = ("flux", "sigma", "derivative")

#: Pixels over which the sigma channel is smoothed: wider than a sky line, narrower than the response.
SMOOTHING = 101


#: Level features, in standard deviations of the training spectra, are taken as no further from their mean.
STRANGEST = 5.0


class Inputs(NamedTuple):
    """What the trainable part of a network receives.

    values: shape (B, C, N), order one, 0 where nothing is known.
    usable: shape (B, N), False on dead pixels; None if there are none.
    level: shape (B, M), order one: how noisy the spectrum is, as a pipeline knows it.
    """

    values: Tensor
    usable: Tensor | None
    level: Tensor


class Conditioning(nn.Module):
    """Median normalisation, standardisation per pixel, and optional extra channels.

    A pixel is dead if sigma is not finite and positive or its flux is not finite; its value does not matter.

    Args:
        pixels: L.
        channels: of `CHANNELS`. "sigma" is the logarithm of the visible sigma, smoothed; "derivative" the
            central difference of the flux channel.
        chunk: pixels over which the flux channel is brought to zero mean and unit variance; 0 leaves it.
        view: what is done to a spectrum before all this.
    """

    seen: Tensor | None
    centre: Tensor
    scale: Tensor
    level_centre: Tensor
    level_scale: Tensor

    def __init__(
        self,
        pixels: int,
        channels: tuple[str, ...] = ("flux",),
        chunk: int = 0,
        view: View | None = None,
    ) -> None:
        super().__init__()
        unknown = [name for name in channels if name not in CHANNELS]
        if unknown or not channels or channels[0] != "flux" or len(set(channels)) < len(channels):
            raise ConfigError(
                f"channels: expected 'flux' first, then any of {', '.join(CHANNELS[1:])}; "
                f"got {', '.join(channels)}"
            )
        if not 0 <= chunk <= pixels:
            raise ConfigError(f"chunk: expected 0 to {pixels} pixels, got {chunk}")
        self.pixels, self.channels, self.chunk = pixels, tuple(channels), chunk
        self.view = view or View()
        # Which pixels are seen is known with the spectra, see `see`; a view of all of them has no such tensor.
        self.register_buffer("seen", torch.ones(pixels, dtype=torch.bool) if self.view.seen else None)
        self.register_buffer("centre", torch.ones(pixels))
        self.register_buffer("scale", torch.ones(pixels))
        self.register_buffer("level_centre", torch.zeros(1))
        self.register_buffer("level_scale", torch.ones(1))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, pixels and level features of the `Inputs`."""
        return len(self.channels), self.pixels, 1

    def see(self, mask: Tensor | None) -> Self:
        """Set which pixels are seen, from `View.mask`, shape (L,), before anything is fitted."""
        if self.seen is not None and mask is not None:
            self.seen.copy_(mask)
        return self

    @torch.no_grad()
    def fit(self, flux: Tensor, sigma: Tensor) -> Self:
        """Set the mean and standard deviation per pixel from a sample of training spectra (N, L)."""
        usable, flux, sigma, *_ = self.viewed(flux, sigma)
        # A pixel that is dead in every spectrum gets a number, not NaN.
        count = usable.sum(dim=0).clamp(min=1)
        self.centre.copy_(flux.sum(dim=0) / count)
        deviation = torch.where(usable, flux - self.centre, 0.0)
        variance = deviation.square().sum(dim=0) / count
        # A pixel that hardly varies would be blown up to unit variance, and its rounding with it.
        floor = variance[variance > 0].median() * 1e-6 if bool((variance > 0).any()) else 1.0
        self.scale.copy_(variance.clamp(min=floor).sqrt())
        self._set_level(_log_level(sigma, usable))
        return self

    @torch.no_grad()
    def fit_level(self, flux: Tensor, sigma: Tensor) -> Self:
        """Set the scale of the noise level alone, from a sample of training spectra (N, L)."""
        usable, _, sigma, *_ = self.viewed(flux, sigma)
        self._set_level(_log_level(sigma, usable))
        return self

    def viewed(self, flux: Tensor, sigma: Tensor) -> Viewed:
        """Return what `from_normalised` takes of flux and sigma (B, L), and how that came from the flux given."""
        usable, flux, sigma, level = normalise(flux, sigma)
        if self.view.is_plain:
            return Viewed(usable, flux, sigma, torch.zeros_like(level), level)
        found = self.view(usable, flux, sigma, self.seen)
        return found._replace(offset=found.offset * level, divisor=found.divisor * level)

    def _set_level(self, level: Tensor) -> None:
        self.level_centre.copy_(level.mean(dim=0))
        # Spectra of one noise level have no spread to divide by.
        self.level_scale.copy_(level.std(dim=0).clamp(min=1e-3) if len(level) > 1 else torch.ones(1))

    @property
    def baseline(self) -> Tensor:
        """The mean training spectrum, relative to its level, shape (L,): what says nothing of a star."""
        return self.centre

    @torch.no_grad()
    def forward(self, flux: Tensor, sigma: Tensor, whole: bool = False) -> Inputs:
        """Return the inputs of flux and sigma, both (B, L); `whole` says that no pixel is dead."""
        if whole and self.view.is_plain:
            flux, sigma, noise, _ = scaled(flux.float(), sigma.float(), None)
            return self.from_normalised(None, flux, sigma, noise)
        usable, flux, sigma, *_ = self.viewed(flux, sigma)
        return self.from_normalised(usable, flux, sigma)

    def from_normalised(
        self, usable: Tensor | None, flux: Tensor, sigma: Tensor, noise: Tensor | None = None
    ) -> Inputs:
        """Return the inputs of what `viewed` gives, each (B, L); differentiable in the flux.

        `noise` is the median of sigma, shape (B, 1), if it is known.
        """
        values = (flux - self.centre) / self.scale
        if usable is not None:
            # Zero is the mean of the training spectra here: nothing known.
            values = torch.where(usable, values, 0.0)
        if self.chunk:
            values = _chunk_normalise(values, usable, self.chunk)
        planes = [values]
        for name in self.channels[1:]:
            planes.append(_derivative(values) if name == "derivative" else _smooth_log(sigma, usable))
        log_level = _log_level(sigma, usable) if noise is None else noise.log()
        level = bounded((log_level - self.level_centre) / self.level_scale)
        return Inputs(values[:, None] if len(planes) == 1 else torch.stack(planes, dim=1), usable, level)


def normalise(flux: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return usable (B, L), flux / level (0 if dead), sigma / level (1 if dead), and the level (B, 1).

    See `models.usable.spectrum_level`.
    """
    flux, sigma = flux.float(), sigma.float()
    usable = usable_pixels(flux, sigma)
    flux, sigma, _, level = scaled(flux, sigma, None if all_usable(usable) else usable)
    return usable, flux, sigma, level


def scaled(flux: Tensor, sigma: Tensor, usable: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return flux, sigma and its median (B, 1) over the level, and the level, as `normalise` does.

    `usable` None says that no pixel is dead.
    """
    level, noise = spectrum_level(flux, sigma, usable)
    flux, sigma = flux / level, sigma / level
    if usable is not None:
        flux, sigma = torch.where(usable, flux, 0.0), torch.where(usable, sigma, 1.0)
    return flux, sigma, noise / level, level


def bounded(level: Tensor) -> Tensor:
    """Return level features no stranger than `STRANGEST`: heads multiply by their exponential."""
    return level.clamp(-STRANGEST, STRANGEST)


def _log_level(sigma: Tensor, usable: Tensor | None) -> Tensor:
    return usable_median(sigma, usable).log()[:, None]


def _smooth_log(sigma: Tensor, usable: Tensor | None) -> Tensor:
    """Return ln sigma relative to its median, averaged over usable pixels in a running window, (B, L)."""
    relative = (sigma / usable_median(sigma, usable)[:, None]).log()
    weight = torch.ones_like(relative) if usable is None else usable.to(relative)
    if usable is not None:
        relative = torch.where(usable, relative, 0.0)
    # Zeros beyond the ends count in both averages and cancel in their ratio.
    total = F.avg_pool1d(torch.stack([relative, weight], dim=1), SMOOTHING, 1, SMOOTHING // 2)
    # The weight of one usable pixel; a window without any gives 0.
    return total[:, 0] / total[:, 1].clamp(min=1.0 / SMOOTHING)


def _derivative(values: Tensor) -> Tensor:
    """Return half the central difference per pixel, (B, L), 0 at both ends."""
    return F.pad(0.5 * (values[:, 2:] - values[:, :-2]), (1, 1))


def _chunk_normalise(values: Tensor, usable: Tensor | None, chunk: int) -> Tensor:
    """Return values with zero mean and unit variance over the usable pixels of each run of `chunk` pixels."""
    pixels = values.shape[1]
    padding = (0, -pixels % chunk)
    weight = torch.ones_like(values) if usable is None else usable.to(values)
    blocks, weight = (F.pad(each, padding).unflatten(1, (-1, chunk)) for each in (values, weight))
    count = weight.sum(dim=-1, keepdim=True).clamp(min=1)
    centred = (blocks - blocks.sum(dim=-1, keepdim=True) / count) * weight
    variance = centred.square().sum(dim=-1, keepdim=True) / count
    # Bounded before the root, whose slope at 0 is infinite: the derivative stays finite on dead chunks.
    normalised: Tensor = centred / variance.clamp(min=1e-6).sqrt()
    return normalised.flatten(1)[:, :pixels]


def wavelength_phase(wavelength: np.ndarray) -> Tensor:
    """Return ln wavelength scaled to [-1, 1] over the grid, shape (L,), float64: the absolute position."""
    log = torch.tensor(np.log(wavelength))
    return 2 * (log - log[0]) / (log[-1] - log[0]) - 1
