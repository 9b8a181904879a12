"""What a network costs: floating-point operations, counted by PyTorch on one spectrum."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from specvit.models.network import SpectrumNetwork


def forward_flops(network: SpectrumNetwork) -> int:
    """Return the floating-point operations of products and convolutions for one spectrum, front end included.

    A training step costs about three times that per spectrum (forward, and backward for inputs and weights).
    """
    device = next(network.body.parameters()).device
    flux = torch.ones(1, network.front.pixels, device=device)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(flux, torch.full_like(flux, 0.1))
    return counter.get_total_flops()
