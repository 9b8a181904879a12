"""Which pixels carry information, and the level of a spectrum: the rule that all estimators share.

Owns what a dead pixel is and what flux is relative to. Refuses nothing: that is `models.inputs`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from specvit.numerics import row_median

#: Largest ratio of two numbers a detector can give in one spectrum: a pixel holds some 10⁵ electrons, and its
#: noise is at least one. Cosmic rays and saturated lines stay below it, flags such as 1e18 do not.
DETECTOR_RANGE = 1e6

#: The median of a hopelessly noisy spectrum can vanish; dividing by less than this share of the median sigma
#: would only inflate noise.
MINIMUM_SIGNAL = 0.05

#: Numbers between which float32 has room for what is done before a spectrum is brought to its level.
SMALLEST, LARGEST = 1e-30, 1e30


def usable_pixels(flux: Tensor, sigma: Tensor) -> Tensor:
    """Return where flux is finite and sigma finite and positive, of their shape."""
    # Half the time of torch.isfinite on a CPU; comparisons with NaN are false.
    return (flux.abs() < torch.inf) & (sigma < torch.inf) & (sigma > 0)


def plausible_pixels(flux: Tensor, sigma: Tensor) -> Tensor:
    """Return which pixels are usable and such as a detector can give, shape (B, L).

    Not so if |flux| or sigma is above `DETECTOR_RANGE` times the larger of the medians of |flux| and sigma, or
    sigma below the median of sigma over it; medians are of the usable pixels of the spectrum.
    """
    usable = usable_pixels(flux, sigma)
    # Most often all that are usable are plausible, and no median is needed to see it.
    least = torch.where(usable, sigma, torch.inf).amin()
    if _in_range(torch.where(usable, flux, 0.0), torch.where(usable, sigma, least)):
        return usable
    # In float64 the products with the range cannot overflow.
    noise = usable_median(sigma, usable)[:, None].double()
    largest = DETECTOR_RANGE * torch.maximum(usable_median(flux.abs(), usable)[:, None].double(), noise)
    return usable & (flux.abs() <= largest) & (sigma <= largest) & (sigma >= noise / DETECTOR_RANGE)


def is_whole(flux: Tensor, sigma: Tensor) -> bool:
    """Return whether all pixels of (B, L) are certainly plausible, for a tenth of what asking each costs.

    And whether float32 can hold them. The answer may be no where it could be yes, never the other way round.
    """
    return not flux.numel() or _in_range(flux, sigma)


def _in_range(flux: Tensor, sigma: Tensor) -> bool:
    """Return whether all is finite and within `DETECTOR_RANGE` of the least sigma, so of all medians of sigma."""
    (lowest, highest), (least, most) = flux.aminmax(), sigma.aminmax()
    # Comparisons with NaN are false.
    largest = torch.maximum(torch.maximum(-lowest, highest), most)
    return bool((least >= SMALLEST) & (largest <= LARGEST) & (largest <= DETECTOR_RANGE * least))


def usable_median(values: Tensor, usable: Tensor | None) -> Tensor:
    """Return the median over usable pixels (None: all), shape (B,); 1 for a spectrum without any."""
    if usable is None or all_usable(usable):
        return row_median(values)
    if values.device.type != "cpu" or values.requires_grad or torch.compiler.is_compiling():
        median = torch.where(usable, values, torch.nan).nanmedian(dim=-1).values
        return torch.where(torch.isnan(median), 1.0, median)
    # As many dead pixels below all others as above leave the median where it is: a tenth of the time of
    # `nanmedian`. An odd one goes where the lower median wants it.
    order = (~usable).cumsum(dim=-1, dtype=torch.int32)
    dead, pixels = order[..., -1:], values.shape[-1]
    below = order <= torch.div(dead + pixels % 2, 2, rounding_mode="floor")
    filled = torch.where(usable, values, torch.where(below, -torch.inf, torch.inf).to(values))
    return torch.where(dead[..., 0] == pixels, 1.0, row_median(filled, filled))


def spectrum_level(flux: Tensor, sigma: Tensor, usable: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return what flux and sigma are divided by, and the median of sigma, each (B, 1).

    The level is the median flux of the usable pixels (None: all), kept above `MINIMUM_SIGNAL` of the median
    sigma: it is positive whatever the sky has left of the flux.
    """
    noise = usable_median(sigma, usable)[:, None]
    return torch.maximum(usable_median(flux, usable)[:, None], MINIMUM_SIGNAL * noise), noise


def all_usable(usable: Tensor) -> bool:
    """Return whether no pixel is dead, where asking is cheap: on the CPU and outside a compiled graph."""
    return usable.device.type == "cpu" and not torch.compiler.is_compiling() and bool(usable.all())
