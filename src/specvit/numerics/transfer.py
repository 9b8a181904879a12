"""Copies from the host to an accelerator that neither of the two waits for."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(values: Tensor, device: torch.device | str) -> Tensor:
    """Return `values` on `device`; to a CUDA device the copy is queued like a kernel, and nobody waits for it."""
    if values.device.type == "cpu" and torch.device(device).type == "cuda":
        # From memory that is not pinned, PyTorch waits until the device has done all that is queued: a step of the
        # training, if that is what is queued. It keeps the pinned block until the copy is done.
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)
