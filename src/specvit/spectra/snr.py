"""The one signal-to-noise definition of specvit: median over pixels of flux / sigma."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def row_median(values: Tensor) -> Tensor:
    """Return the lower median over the last axis, shape (...,), the same element `torch.median` picks.

    On the CPU and without gradient NumPy's vectorised selection is used: measured 14 times faster than
    `torch.median` on rows of 4096 (3.2 against 45 µs on one core), and medians are what the simulator would
    otherwise spend most of its time on.
    """
    if values.device.type == "cpu" and not values.requires_grad and not torch.compiler.is_compiling():
        middle = (values.shape[-1] - 1) // 2
        return torch.from_numpy(np.partition(values.numpy(), middle, axis=-1)[..., middle].copy())
    return values.median(dim=-1).values


def median_snr(flux: Tensor, sigma: Tensor) -> Tensor:
    """Return the median over pixels of flux / sigma, shape (...,), for inputs of shape (..., L).

    A dead pixel (`sigma = inf`) counts as zero. This is definition (b) of the reference work; its stored
    column (definition a) is the 95th percentile over pixels and about 1.16-1.2 times larger.
    """
    return row_median(flux / sigma)
