"""AdamW and Muon behind one interface. Owns which parameter goes to which, and weight decay.

Muon orthogonalises the momentum of each hidden weight matrix, so that all its directions learn at one rate.
Source: Jordan et al. 2024 (Muon; quintic Newton-Schulz coefficients); Liu et al. 2025, arXiv:2502.16982
(scale that matches the root mean square of AdamW updates).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from specvit.errors import ConfigError
from specvit.models.vit.tokens import LocalMap, Tokeniser
from specvit.training.fine_tuning import rate_factors
from specvit.training.recipe import Recipe

#: What each keeps of a parameter.
ADAMW_STATE, MUON_STATE = {"step", "exp_avg", "exp_avg_sq"}, {"momentum"}

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5


def orthogonalise(matrix: Tensor) -> Tensor:
    """Return nearly U Vᵀ of the singular value decomposition of each matrix, shape (..., m, n).

    The quintic iteration leaves singular values between about 0.7 and 1.2, which trains as well as exact
    ones. Runs in bf16 on accelerators and in float32 on the CPU.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrix.bfloat16() if matrix.device.type != "cpu" else matrix.float()
    # The Gram matrix of the shorter side is the smaller one.
    wide: Tensor = x if x.shape[-2] <= x.shape[-1] else x.mT
    # The iteration needs singular values of at most 1, and the Frobenius norm bounds the largest.
    wide = wide / wide.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = wide @ wide.mT
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return (wide if x.shape[-2] <= x.shape[-1] else wide.mT).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, with decoupled weight decay; for 2-D parameters.

    Matrices of one shape are orthogonalised together in one batched product.
    """

    def __init__(
        self, params: list[nn.Parameter], lr: float = 1e-3, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for parameters in by_shape.values():
                self._update(parameters, group)

    def _update(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        directions = []
        for parameter in parameters:
            state = self.state[parameter]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(parameter)
            gradient = parameter.grad
            assert gradient is not None
            state["momentum"].lerp_(gradient, 1 - group["momentum"])
            directions.append(gradient.lerp(state["momentum"], group["momentum"]))
        # 0.2 √max(m, n): the root mean square an AdamW update typically has.
        scale = group["lr"] * 0.2 * max(parameters[0].shape) ** 0.5
        for parameter, update in zip(parameters, orthogonalise(torch.stack(directions)), strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-scale)


class Optimisers:
    """One or two optimisers stepped as one; rates are set from the schedule's factor."""

    def __init__(self, body: nn.Module, recipe: Recipe) -> None:
        hidden, matrices, vectors = split_parameters(body, recipe.optimiser == "muon")
        groups = [
            {"params": matrices, "weight_decay": recipe.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        if recipe.layer_decay < 1:
            if hidden:
                raise ConfigError("layer_decay: rates by layer are AdamW's; take optimiser = adamw")
            groups = _by_rate(groups, rate_factors(body, recipe.layer_decay), recipe.lr)
        self.parts: list[torch.optim.Optimizer] = []
        if groups:
            fused = next(body.parameters()).device.type in ("cpu", "cuda")
            # Loshchilov & Hutter 2019, ICLR: decay apart from the gradient, so that its strength does not depend on it.
            self.parts.append(torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas, fused=fused))
        if hidden:
            self.parts.append(Muon(hidden, lr=recipe.lr, weight_decay=recipe.weight_decay))
        self._peaks = [[group["lr"] for group in part.param_groups] for part in self.parts]

    def step(self, factor: float) -> None:
        """Update all parameters at `factor` times the peak rates, then drop the gradients."""
        for part, peaks in zip(self.parts, self._peaks, strict=True):
            for group, peak in zip(part.param_groups, peaks, strict=True):
                group["lr"] = factor * peak
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        """Return the state of every part."""
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Continue from a saved state."""
        for part, saved in zip(self.parts, state, strict=True):
            part.load_state_dict(saved)

    def problem(self, state: list[dict[str, Any]]) -> str:
        """Return what of a saved state does not belong to these parameters, or ''; it is built as one is."""
        for part, saved in zip(self.parts, state, strict=True):
            names = MUON_STATE if isinstance(part, Muon) else ADAMW_STATE
            mine = part.state_dict()["param_groups"]
            if [group["params"] for group in saved["param_groups"]] != [group["params"] for group in mine]:
                return "optimiser groups hold other parameters"
            parameters = [parameter for group in part.param_groups for parameter in group["params"]]
            for at, entry in saved["state"].items():
                if at not in range(len(parameters)) or not isinstance(entry, dict) or entry.keys() != names:
                    return f"optimiser state {at} is not {', '.join(sorted(names))} of a parameter"
                for name, value in entry.items():
                    shape = () if name == "step" else tuple(parameters[at].shape)
                    if (
                        not isinstance(value, Tensor)
                        or tuple(value.shape) != shape
                        or not value.isfinite().all()
                    ):
                        return f"optimiser state {at}: '{name}' is not finite, of shape {shape}"
        return ""


def _by_rate(groups: list[dict[str, Any]], factors: dict[int, float], lr: float) -> list[dict[str, Any]]:
    """Return the groups divided by the factor on the rate of their parameters."""
    found = []
    for group in groups:
        for factor in sorted({factors[id(parameter)] for parameter in group["params"]}):
            mine = [parameter for parameter in group["params"] if factors[id(parameter)] == factor]
            found.append({**group, "params": mine, "lr": lr * factor})
    return found


def split_parameters(
    body: nn.Module, muon: bool
) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """Return (hidden matrices for Muon, other decayed weights, undecayed vectors and embeddings).

    Hidden matrices are the weights of linear layers of the backbone, except of the layer that reads the
    spectrum; without `muon` they join the second list. Biases, norms, positions and tokens are not decayed.
    """
    hidden, matrices, vectors = [], [], []
    layers = [m for m in body.modules() if isinstance(m, nn.Linear | nn.Conv1d | LocalMap)]
    # Muon is for hidden layers: Jordan et al. 2024 leave input and output layers to AdamW.
    readers = {id(layer.weight) for layer in layers[:1]} | {
        id(m.map.weight) for m in body.modules() if isinstance(m, Tokeniser)
    }
    linear = {id(layer.weight): layer for layer in layers}
    for name, parameter in body.named_parameters():
        layer = linear.get(id(parameter))
        if layer is None:
            vectors.append(parameter)
        elif (
            muon
            and isinstance(layer, nn.Linear)
            and name.startswith("backbone.")
            and id(parameter) not in readers
        ):
            hidden.append(parameter)
        else:
            matrices.append(parameter)
    return hidden, matrices, vectors
