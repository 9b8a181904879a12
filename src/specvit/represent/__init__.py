"""What networks know, layer by layer: files of latents, likeness of layers, information that survives them."""

from specvit.represent.information import LayerInformation, layer_information
from specvit.represent.latents_file import (
    LatentsFile,
    LatentsPart,
    LatentsPlan,
    open_latents,
    write_latents_file,
)
from specvit.represent.likeness import linear_cka
from specvit.represent.pooled import Wanted, list_layers, pooled_states

__all__ = [
    "LatentsFile",
    "LatentsPart",
    "LatentsPlan",
    "LayerInformation",
    "Wanted",
    "layer_information",
    "linear_cka",
    "list_layers",
    "open_latents",
    "pooled_states",
    "write_latents_file",
]
