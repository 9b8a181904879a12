"""A trained body made ready for estimates on a CPU: the same function from weights laid out once.

What it saves is measured by `benchmarks/infer.py`. Where the processor gains nothing it is the body itself.
"""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn

from specvit.models.batching import CPU_NUMBERS
from specvit.models.vit.blocks import Block, FixedBlock
from specvit.numerics.products import has_fast_products

Module = TypeVar("Module", bound=nn.Module)


def prepared(body: Module) -> Module:
    """Return `body`, or a copy for float32 estimates without gradient in which transformer blocks are fixed."""
    if not has_fast_products() or not any(isinstance(module, Block) for module in body.modules()):
        return body
    # The original keeps the weights as they are saved, and may be trained on.
    body = copy.deepcopy(body).eval()
    # A list: the tree changes while it is walked.
    for parent in list(body.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Block):
                # Tokens of a batch of `rows_for` spectra: the hidden layer is the widest.
                setattr(parent, name, FixedBlock(child, CPU_NUMBERS // child.up.out_features))
    return body
