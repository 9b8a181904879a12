"""Matrix products with a fixed right-hand side, on a CPU: the emulator's basis, noise tables, trained networks.

PyTorch hands float32 products to MKL, which leaves the 512-bit units of processors that are not Intel's idle;
oneDNN, which is also part of PyTorch, uses them on all. Measured on one core for 64 spectra, 129 rows and 4096
pixels, µs per spectrum: Zen 5, 11.0 with MKL and 4.6 with oneDNN; a Xeon, 6.3 and 7.6. On Intel's processors
oneDNN therefore makes only products that something comes after, which it adds in the same pass. Where it is
missing or has nothing to add, the product is PyTorch's own.
"""

from __future__ import annotations

import copy
import functools
import platform
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)
After = Literal["none", "silu", "gelu"]


def has_fast_products() -> bool:
    """Return whether oneDNN's product for fixed matrices exists here and the processor gains from it."""
    # Private operators of PyTorch: their absence must cost speed only.
    names = ("_linear_pointwise", "_reorder_linear_weight")
    return (
        torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
        and all(hasattr(torch.ops.mkldnn, name) for name in names)
    )


@functools.cache
def is_intel() -> bool:
    """Return whether this processor is Intel's, as far as it can be told."""
    told = Path("/proc/cpuinfo")
    return "GenuineIntel" in (told.read_text() if told.is_file() else platform.processor())


class FixedProduct(nn.Module):
    """left (..., K) -> left @ table + bias, then what comes after, shape (..., L), float32, without gradient.

    Args:
        table: shape (K, L).
        rows: the number of rows of `left` for which the table is laid out; others work.
        bias: shape (L,).
        after: "silu" x · sigmoid(x), "gelu" (the exact one) or "none".
    """

    def __init__(self, table: Tensor, rows: int, bias: Tensor | None = None, after: After = "none") -> None:
        super().__init__()
        self.table, self.bias = table.detach().float(), None if bias is None else bias.detach().float()
        bare = bias is None and after == "none"
        self.after, self.fast = after, has_fast_products() and not (bare and is_intel())
        if self.fast:
            self.table = torch.ops.mkldnn._reorder_linear_weight(self.table.t(), rows)

    def forward(self, left: Tensor) -> Tensor:
        """Return the product, shape (..., L)."""
        if self.fast:
            # oneDNN calls SiLU swish, and wants to know which GELU.
            name = "swish" if self.after == "silu" else self.after
            exact = "none" if self.after == "gelu" else ""
            done: Tensor = torch.ops.mkldnn._linear_pointwise(left, self.table, self.bias, name, [], exact)
            return done
        product = left @ self.table
        if self.bias is not None:
            product.add_(self.bias)
        if self.after == "silu":
            return nn.functional.silu(product, inplace=True)
        return nn.functional.gelu(product) if self.after == "gelu" else product

    def added_to(self, total: Tensor, left: Tensor) -> Tensor:
        """Return total + left @ table + bias, shape (..., L); nothing may come after."""
        if self.fast:
            multiply = torch.ops.mkldnn._linear_pointwise.binary
            added: Tensor = multiply(left, total, self.table, self.bias, "add")
            return added
        product: Tensor = self(left)
        return product.add_(total)


def fixed_linear(layer: nn.Linear, rows: int, after: After = "none") -> FixedProduct:
    """Return a linear layer, and what comes after it, as a product for about `rows` rows."""
    return FixedProduct(layer.weight.t(), rows, layer.bias, after)


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
                setattr(parent, name, fixed_linear(child, rows, "silu" if silu else "none"))
                if silu:
                    setattr(parent, following, nn.Identity())
    return module
