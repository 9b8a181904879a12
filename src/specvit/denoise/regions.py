"""Parts of a spectrum that denoisers are scored on apart: under sky lines, in the star's lines, and the rest."""

from __future__ import annotations

import torch
from torch import Tensor

from specvit.models.continuum import running_median

#: Pixels of the running medians that stand for noise without sky lines, and for a star without lines: 130 Å.
WIDTH = 301

#: Noise over its running median from which a pixel lies under a sky line.
SKY = 1.2

#: Mean flux over its running median below which a pixel lies in a line.
LINE = 0.97


def regions(clean: Tensor, sigma: Tensor) -> dict[str, Tensor]:
    """Return masks over pixels by name, each (L,); every live pixel is in exactly one.

    Args:
        clean: noise-free flux of N stars, (N, L).
        sigma: theirs, (N, L), `inf` on dead pixels.
    """
    live = torch.isfinite(sigma).all(dim=0)
    # Of the median star: one odd pixel of one star makes no sky line.
    noise = torch.where(live, sigma, 1.0).median(dim=0).values[None]
    flux = torch.where(live, clean, 1.0).mean(dim=0)[None]
    sky = (noise > SKY * running_median(noise, live[None], WIDTH))[0] & live
    lines = (flux < LINE * running_median(flux, live[None], WIDTH))[0] & live & ~sky
    return {"sky lines": sky, "lines": lines, "continuum": live & ~sky & ~lines}
