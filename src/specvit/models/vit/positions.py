"""Where a token lies: learned, sinusoidal and rotary encodings. The last two are functions of ln wavelength.

In ln wavelength a radial velocity is one shift of all lines, and the encoding means the same on another grid.
"""

from __future__ import annotations

import torch
from torch import Tensor

from specvit.errors import ConfigError

#: Ratio of the longest to the shortest wave of both encodings, as in Vaswani et al. 2017 and Su et al. 2021.
BASE = 10_000.0


def frequencies(pairs: int) -> Tensor:
    """Return angular frequencies per token spacing, shape (pairs,), float64, geometric from 1 to 1 / BASE."""
    return BASE ** (-torch.arange(pairs, dtype=torch.float64) / pairs)


def token_coordinates(centres: Tensor, count: int) -> Tensor:
    """Return ln-wavelength centres (T,) from [-1, 1] in units of the mean spacing of `count` equal tokens."""
    return (centres.double() + 1) * (count / 2)


def sinusoidal(coordinates: Tensor, width: int) -> Tensor:
    """Return sines and cosines of the coordinates (T,), shape (T, width); width must be even."""
    if width % 2:
        raise ConfigError(f"sinusoidal positions need an even width, got {width}")
    angle = coordinates.double()[:, None] * frequencies(width // 2)
    return torch.cat([angle.sin(), angle.cos()], dim=1).float()


def rotary_angles(coordinates: Tensor, head_width: int) -> Tensor:
    """Return the rotation angle of each token and feature pair, shape (T, head_width / 2), float64."""
    if head_width % 2:
        raise ConfigError(f"rotary positions need an even width per head, got {head_width}")
    return coordinates.double()[:, None] * frequencies(head_width // 2)


def rotate(features: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Return features (..., T, D) with each pair (i, i + D/2) turned by its angle; cosine and sine (T, D/2).

    The product of a query and a key turned this way depends on the difference of their angles only.
    """
    first, second = features.chunk(2, dim=-1)
    cosine, sine = cosine.to(features.dtype), sine.to(features.dtype)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)
