"""Exact derivatives of a function of the labels. Owns one trap of torch's forward mode, nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor


def batched_jacobian(function: Callable[[Tensor], Tensor], labels: Tensor) -> Tensor:
    """Return ∂function/∂label, shape (B, K, P), where function maps (P,) to (K,), for labels (B, P).

    Forward-mode autodiff: the cost is P times that of the function, whatever K.
    """
    with warnings.catch_warnings():
        # torch 2.13 compiles its forward-mode rules on first use with its own deprecated torch.jit.script.
        warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=DeprecationWarning)
        jacobian: Tensor = torch.func.vmap(torch.func.jacfwd(function))(labels)
        return jacobian
