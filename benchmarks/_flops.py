"""Floating-point operations of a SpecViT, counted by hand: products only, two operations per multiply-add.

A training step costs three forward passes: one forward, and one each for the gradients of inputs and weights (Kaplan et
al. 2020, arXiv:2001.08361, section 2.1). Model FLOP utilisation is the operations that the architecture asks for, over
time and peak, whatever the program did to save or repeat some (Chowdhery et al. 2022, arXiv:2204.02311, appendix B).
"""

from __future__ import annotations

from specvit.models.vit import ViTConfig

#: Forward passes that a training step costs.
PASSES = 3


def forward_flops(config: ViTConfig, pixels: int, outputs: int, shortcut: bool) -> int:
    """Return the operations of one spectrum's forward pass through tokeniser, blocks and head.

    Args:
        config: adjacent patches of one size that divide the pixels.
        pixels: of a spectrum, one channel.
        outputs: of the head.
        shortcut: count what is computed: with a CLS token the last block makes that token only, for which all tokens
            need keys and values. False counts what the architecture says: all tokens in all blocks.
    """
    width, hidden = config.width, round(config.ratio * config.width)
    patches, prefix = pixels // config.patch, int(config.pooling == "cls")
    tokens, last = patches + prefix, int(shortcut and prefix)
    block = 2 * tokens * (4 * width**2 + 2 * width * hidden) + 4 * width * tokens**2
    # Keys and values of all tokens; query, output, feed-forward and attention of one.
    one = 2 * tokens * 2 * width**2 + 2 * (2 * width**2 + 2 * width * hidden) + 4 * width * tokens
    return 2 * pixels * width + (config.depth - last) * block + last * one + 2 * width * outputs


def training_flops(config: ViTConfig, pixels: int, outputs: int, shortcut: bool) -> int:
    """Return the operations of one spectrum in a training step; arguments as for `forward_flops`."""
    return PASSES * forward_flops(config, pixels, outputs, shortcut)
