"""How many spectra a network should take at once. Owns that number; it changes speed, not estimates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from specvit.models.network import SpectrumNetwork

#: Numbers in the widest layer of a batch on a CPU. Beyond it activations leave the cache, and their memory
#: comes from the kernel page by page. Measured on one Xeon core with batches of 512 as 1: SpecViT-reference
#: gains a factor 1.2 (8 spectra), SpecViT-nano 1.3 (128), the subspace network nothing (512).
CPU_NUMBERS = 2**21

#: On an accelerator a batch has to be large; this one fits any.
DEVICE_ROWS = 2048


def rows_for(device: torch.device, widest: int) -> int:
    """Return the spectra to take at once, given the numbers per spectrum in the widest layer."""
    return max(1, CPU_NUMBERS // widest) if device.type == "cpu" else DEVICE_ROWS


@torch.inference_mode()
def widest_layer(network: SpectrumNetwork, pixels: int) -> int:
    """Return the most numbers any layer of the network (on the CPU) makes of one spectrum, or takes."""
    sizes = [pixels]

    def note(layer: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            sizes.append(output.numel())

    hooks = [layer.register_forward_hook(note) for layer in network.modules()]
    network(torch.ones(1, pixels), torch.ones(1, pixels))
    for hook in hooks:
        hook.remove()
    return max(sizes)
