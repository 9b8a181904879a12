"""Matrix products with a fixed right-hand side, on a CPU: the emulator's basis, network and noise tables.

PyTorch hands float32 products to MKL, which leaves the 512-bit units of processors that are not Intel's idle;
oneDNN, which is also part of PyTorch, uses them on all. Measured on one Zen 5 core for 64 spectra, 129 rows
and 4096 pixels: 11.0 µs per spectrum with MKL, 4.6 with oneDNN. Where oneDNN is missing or has nothing to
add, the product is PyTorch's own.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def has_fast_products() -> bool:
    """Return whether oneDNN's product for fixed matrices exists here and the processor gains from it."""
    names = ("_linear_pointwise", "_reorder_linear_weight")
    return (
        torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
        and all(hasattr(torch.ops.mkldnn, name) for name in names)
    )


class FixedProduct(nn.Module):
    """left (B, K) -> left @ table + bias, then SiLU if wanted, shape (B, L), float32, without gradient.

    Args:
        table: shape (K, L).
        rows: the B for which the table is laid out; others work.
        bias: shape (L,).
        silu: apply x · sigmoid(x).
    """

    def __init__(self, table: Tensor, rows: int, bias: Tensor | None = None, silu: bool = False) -> None:
        super().__init__()
        self.table, self.bias = table.detach().float(), None if bias is None else bias.detach().float()
        self.silu, self.fast = silu, has_fast_products()
        if self.fast:
            self.table = torch.ops.mkldnn._reorder_linear_weight(self.table.t(), rows)

    def forward(self, left: Tensor) -> Tensor:
        """Return the product, shape (B, L)."""
        if self.fast:
            after = "swish" if self.silu else "none"
            return torch.ops.mkldnn._linear_pointwise(left, self.table, self.bias, after, [], "")
        product = left @ self.table
        if self.bias is not None:
            product.add_(self.bias)
        return nn.functional.silu(product, inplace=True) if self.silu else product


def with_fixed_products(module: Module, rows: int) -> Module:
    """Return a copy of `module` for about `rows` inputs at a time: its linear layers are `FixedProduct`s.

    A SiLU that follows a linear layer in a `Sequential` becomes part of it.
    """
    module = copy.deepcopy(module)
    for parent in list(module.modules()):
        children = list(parent.named_children())
        for (name, child), (following, after) in zip(children, [*children, ("", None)][1:], strict=True):
            if isinstance(child, nn.Linear):
                silu = isinstance(parent, nn.Sequential) and isinstance(after, nn.SiLU)
                setattr(parent, name, FixedProduct(child.weight.t(), rows, child.bias, silu))
                if silu:
                    setattr(parent, following, nn.Identity())
    return module
