"""Medians over the last axis, as fast as a processor selects."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def row_median(values: Tensor, work: Tensor | None = None) -> Tensor:
    """Return the lower median over the last axis, shape (...,), the element `torch.median` picks; no NaN.

    On the CPU and without gradient NumPy's vectorised selection is used, on the bits of the numbers: measured
    per row of 4096 on one core, 1.6 µs against 2.9 µs on floats and 45 µs of `torch.median`. Medians are what
    the simulator would otherwise spend most of its time on.

    Args:
        values: shape (..., L).
        work: contiguous, of the shape of `values` (it may be `values` itself): overwritten, spares a new one.
    """
    if values.device.type == "cpu" and not values.requires_grad and not torch.compiler.is_compiling():
        if work is None:
            work = values.clone(memory_format=torch.contiguous_format)
        elif work is not values:
            work.copy_(values)
        return torch.from_numpy(_select_middle(work.numpy()))
    return values.median(dim=-1).values


def median(values: np.ndarray) -> float:
    """Return the median of `values`, shape (N,), N > 0, without NaN, as `numpy.median` does.

    Of whose time for a spectrum of a thousand pixels four fifths are preparation: 35 µs against 7.
    """
    half = values.size // 2
    parted = np.partition(values, half)
    upper = float(parted[half])
    return upper if values.size % 2 else 0.5 * (float(parted[:half].max()) + upper)


def _select_middle(values: np.ndarray) -> np.ndarray:
    """Return the lower median over the last axis; the order of `values` is lost."""
    middle = (values.shape[-1] - 1) // 2
    # As integers, positive floats keep their order and negative ones come before them, in reverse.
    values.view(f"i{values.itemsize}").partition(middle, axis=-1)
    medians = values[..., middle].copy()
    # A negative integer in the middle: negative floats stood in reverse, so select again as floats. Rare:
    # spectra have positive medians.
    if (medians < 0).any():
        return np.partition(values, middle, axis=-1)[..., middle]
    return medians
