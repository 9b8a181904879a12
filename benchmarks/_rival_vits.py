"""The architecture of SpecViT-reference built from the encoder layers of transformers and of timm.

p16-h256-L6-a8: a strided convolution to 256 tokens, a CLS token, learned positions, dropout 0.1, six pre-norm
blocks, a norm and one linear output. Weights can be copied from ours, to check that it is the same function.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import Tensor, nn

WIDTH, DEPTH, HEADS, PATCH, DROPOUT, EPSILON = 256, 6, 8, 16, 0.1, 1e-12

#: The unused pooler of the published model; ours and the rivals here leave it out.
POOLER = WIDTH * WIDTH + WIDTH

#: Their blocks -> ours: names of the parts that hold weights.
PARTS = {
    "transformers": {
        "layernorm_before": "attention_norm",
        "attention.o_proj": "attention.out",
        "layernorm_after": "ffn_norm",
        "mlp.fc1": "up",
        "mlp.fc2": "down",
    },
    "timm": {
        "norm1": "attention_norm",
        "attn.qkv": "attention.qkv",
        "attn.proj": "attention.out",
        "norm2": "ffn_norm",
        "mlp.fc1": "up",
        "mlp.fc2": "down",
    },
}


class RivalViT(nn.Module):
    """The network around six blocks of a library: flux (B, L) -> scaled label (B,)."""

    def __init__(self, block: Callable[[], nn.Module], pixels: int = 4096) -> None:
        super().__init__()
        self.patches = nn.Conv1d(1, WIDTH, PATCH, PATCH)
        self.cls = nn.Parameter(torch.randn(WIDTH))
        self.position = nn.Parameter(torch.randn(pixels // PATCH + 1, WIDTH))
        self.dropout = nn.Dropout(DROPOUT)
        self.blocks = nn.ModuleList(block() for _ in range(DEPTH))
        self.norm = nn.LayerNorm(WIDTH, eps=EPSILON)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, flux: Tensor) -> Tensor:
        """Return the scaled label of each spectrum."""
        tokens = self.patches(flux[:, None]).transpose(1, 2)
        tokens = torch.cat([self.cls.expand(len(tokens), 1, -1), tokens], dim=1)
        tokens = self.dropout(tokens + self.position)
        for block in self.blocks:
            tokens = block(tokens)
            tokens = tokens[0] if isinstance(tokens, tuple) else tokens
        return self.head(self.norm(tokens)[:, 0])[:, 0]


def build(name: str) -> RivalViT:
    """Return the network of "transformers" or "timm", freshly initialised.

    Raises:
        ImportError: if the library is not installed; the message says what is missing.
    """
    with contextlib.suppress(PackageNotFoundError):
        version("torchvision")
        _make_torchvision_importable()
    return RivalViT({"transformers": _transformers_block, "timm": _timm_block}[name])


def _transformers_block() -> nn.Module:
    from transformers import ViTConfig
    from transformers.models.vit.modeling_vit import ViTLayer

    config = ViTConfig(
        hidden_size=WIDTH, num_attention_heads=HEADS, intermediate_size=4 * WIDTH, layer_norm_eps=EPSILON,
        hidden_dropout_prob=DROPOUT, attention_probs_dropout_prob=DROPOUT,
    )  # fmt: skip
    # What its models take by default; a layer made by itself would take the slower eager attention.
    config._attn_implementation = "sdpa"
    return ViTLayer(config)


def _timm_block() -> nn.Module:
    from timm.models.vision_transformer import Block

    # `proj_drop` is also applied inside the MLP, after GELU; transformers and ours drop its output only.
    block = Block(
        WIDTH, HEADS, qkv_bias=True, proj_drop=DROPOUT, attn_drop=DROPOUT,
        norm_layer=functools.partial(nn.LayerNorm, eps=EPSILON),
    )  # fmt: skip
    block.mlp.drop1 = nn.Identity()
    return block


def _make_torchvision_importable() -> None:
    """Declare the operators whose absence stops torchvision from being imported.

    timm (and transformers, if it is there) imports torchvision, whose wheel on PyPI is built for CUDA: beside
    PyTorch's CPU build its compiled library cannot be loaded, and it fails when it describes operators that
    library would have brought. No block of a ViT uses them.
    """
    with contextlib.suppress(ImportError, RuntimeError):
        import torchvision  # noqa: F401

        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        with contextlib.suppress(RuntimeError):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    # The declarations live as long as the object.
    globals()["_torchvision_operators"] = library


@torch.no_grad()
def copy_weights(name: str, body: nn.Module, rival: RivalViT) -> None:
    """Set the rival's weights to those of the body of our network."""
    ours, backbone = body.state_dict(), body.backbone
    theirs = rival.state_dict()
    copied = {
        "patches.weight": backbone.tokenisers[0].map.weight, "patches.bias": backbone.tokenisers[0].map.bias,
        "cls": backbone.cls, "position": backbone.position,
        "norm.weight": backbone.norm.weight, "norm.bias": backbone.norm.bias,
        "head.weight": body.head.linear.weight, "head.bias": body.head.linear.bias,
    }  # fmt: skip
    for number in range(DEPTH):
        for kind in ("weight", "bias"):
            into, out_of = f"blocks.{number}", f"backbone.blocks.{number}"
            for part, our_part in PARTS[name].items():
                if f"{into}.{part}.{kind}" in theirs:
                    copied[f"{into}.{part}.{kind}"] = ours[f"{out_of}.{our_part}.{kind}"]
            thirds = ours[f"{out_of}.attention.qkv.{kind}"].chunk(3)
            for letter, third in zip("qkv", thirds, strict=True):
                if f"{into}.attention.{letter}_proj.{kind}" in theirs:
                    copied[f"{into}.attention.{letter}_proj.{kind}"] = third
    rival.load_state_dict(copied)
