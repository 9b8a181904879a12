"""Where a SpecViT looks: attention per block, and its rollout through all blocks, on the pixels.

Attention says which tokens are mixed into which, not what the estimate depends on; for that see `gradients`.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor

from specvit.errors import ConfigError
from specvit.models.network import SpectrumNetwork
from specvit.models.vit import SpecViT
from specvit.models.vit.tokens import Tokeniser


class AttentionProfiles(NamedTuple):
    """Shares of attention per pixel; every row sums to 1.

    blocks: shape (B, blocks, L): what the pooled token attends to in each block, mean over heads.
    rollout: shape (B, L): which pixels are mixed into it over all blocks.
    """

    blocks: Tensor
    rollout: Tensor


def has_attention(network: SpectrumNetwork) -> bool:
    """Return whether each token of the network attends to the whole spectrum (Swin's see a window only)."""
    return isinstance(network.body.backbone, SpecViT)


@torch.no_grad()
def attention_profiles(network: SpectrumNetwork, flux: Tensor, sigma: Tensor) -> AttentionProfiles:
    """Return the attention of spectra (B, L) on their pixels; needs B · blocks · heads · tokens² numbers.

    The row read is that of the CLS token, its attention to itself left out; for mean pooling, the mean over
    all tokens.

    Raises:
        ConfigError: if the network has no attention over the whole spectrum.
    """
    vit = network.body.backbone
    if not isinstance(vit, SpecViT):
        raise ConfigError(f"attention: a '{network.config.model}' has no attention over the whole spectrum")
    maps = [heads.mean(dim=1) for heads in vit.attention_maps(network.front(flux, sigma))]
    pixels = token_pixels(vit)
    blocks = torch.stack([_pooled(attention, vit) for attention in maps], dim=1)
    return AttentionProfiles(blocks @ pixels, _pooled(rollout(maps), vit) @ pixels)


def rollout(maps: list[Tensor]) -> Tensor:
    """Return how much of each token (column) is in each token (row) after all blocks, shape (B, T, T).

    R = Π_k ½ (A_k + 1), the last block on the left: half of what leaves a block is what came by the residual
    connection. Rows sum to 1.

    Args:
        maps: attention per block, mean over heads, first block first; shape (B, T, T), rows sum to 1.

    Source: Abnar & Zuidema 2020, ACL, eq. 1 (arXiv:2005.00928).
    """
    mixed = torch.eye(maps[0].shape[-1], dtype=maps[0].dtype, device=maps[0].device)
    for attention in maps:
        mixed = 0.5 * (attention @ mixed + mixed)
    return mixed


def token_pixels(vit: SpecViT) -> Tensor:
    """Return how a token's share is spread over its pixels, evenly, shape (T, L), without CLS; rows sum to 1.

    Where tokens overlap, or fine and coarse ones lie over each other, a pixel gets a part of each.
    """
    parts = []
    for tokeniser in cast(list[Tokeniser], list(vit.tokenisers)):
        first = torch.arange(tokeniser.count)[:, None] * tokeniser.stride
        pixel = torch.arange(tokeniser.pixels)
        parts.append(((pixel >= first) & (pixel < first + tokeniser.patch)).float())
    inside = torch.cat(parts)
    return (inside / inside.sum(dim=1, keepdim=True)).to(next(vit.parameters()).device)


def _pooled(attention: Tensor, vit: SpecViT) -> Tensor:
    """Return the row (B, T) of what is pooled: of the CLS token, or the mean of all; rows sum to 1."""
    if vit.cls is None:
        return attention.mean(dim=1)
    # Without the CLS token itself the rest no longer sums to 1.
    row = attention[:, 0, 1:]
    return row / row.sum(dim=1, keepdim=True)
