"""What a network costs: floating-point operations, counted by PyTorch on one spectrum."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from specvit.models.network import SpectrumNetwork

#: A training step costs so many forward passes: forward, and backward for inputs and for weights.
TRAINING_PASSES = 3


def forward_flops(network: SpectrumNetwork) -> int:
    """Return the floating-point operations of products and convolutions for one spectrum, front end included."""
    device = next(network.body.parameters()).device
    flux = torch.ones(1, network.front.pixels, device=device)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(flux, torch.full_like(flux, 0.1))
    return counter.get_total_flops()
