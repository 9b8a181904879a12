"""Recalibration of stated errors: what a network says of its errors, corrected by what they turned out to be.

A histogram of 64 bins cannot be sharper than a bin, and a training that ends early is not sharp yet. Held-out
spectra show by how much, as a function of the stated error itself; estimates (means) are left as they are.
Source: Kuleshov, Fenner & Ermon 2018, ICML (recalibration of quantiles), here conditional on the stated error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

#: Shares of the spectra, by stated error, at which the correction is tabulated; linear in ln error between.
NODES = (0.02, 0.2, 0.4, 0.6, 0.8, 0.98)


class Calibration(nn.Module):
    """Correction of errors and quantiles per label, the identity until it is fitted.

    Args:
        labels: P.
        probabilities: the Q probabilities at which quantiles are stated.
    """

    log_std: Tensor
    share: Tensor
    scale: Tensor

    def __init__(self, labels: int, probabilities: Sequence[float]) -> None:
        super().__init__()
        self.probabilities = tuple(probabilities)
        count = len(NODES)
        self.register_buffer("log_std", torch.arange(count).double().repeat(labels, 1))
        self.register_buffer("share", torch.tensor(probabilities).double().repeat(labels, count, 1))
        self.register_buffer("scale", torch.ones(labels, count).double())

    @torch.no_grad()
    def fit(self, error: Tensor, std: Tensor, level: Tensor | None) -> Self:
        """Set the correction from N held-out spectra.

        Args:
            error: truth minus estimate, shape (N, P).
            std: the stated error, shape (N, P), > 0.
            level: the stated probability below the truth, shape (N, P); None if only errors are stated.
        """
        for label in range(std.shape[1]):
            log_std = std[:, label].double().log()
            nodes = torch.quantile(log_std, torch.tensor(NODES, dtype=torch.float64).to(log_std))
            # Stated errors may all be equal: nodes still have to increase.
            self.log_std[label] = nodes + 1e-9 * torch.arange(len(NODES)).to(nodes)
            # Every spectrum counts a little at every node: one without neighbours gets the overall value.
            weight = self._weights(log_std[:, None].expand(-1, std.shape[1]))[:, label] + 1e-6
            ratio = (error[:, label].double() / std[:, label].double()).square()
            self.scale[label] = ((weight * ratio[:, None]).sum(0) / weight.sum(0)).sqrt()
            if level is not None:
                self.share[label] = _weighted_quantiles(level[:, label].double(), weight, self.probabilities)
        return self

    def std(self, std: Tensor) -> Tensor:
        """Return corrected errors, shape (B, P)."""
        return std * (self._weights(std.double().log()) * self.scale).sum(dim=-1)

    def shares(self, std: Tensor) -> Tensor:
        """Return the stated probabilities at which the true quantiles lie, shape (B, P, Q), for std (B, P)."""
        return torch.einsum("bpn,pnq->bpq", self._weights(std.double().log()), self.share)

    def _weights(self, log_std: Tensor) -> Tensor:
        """Return linear interpolation weights on the nodes, shape (B, P, nodes); constant beyond the ends."""
        nodes = self.log_std
        passed = (log_std[..., None] - nodes[:, :-1]) / (nodes[:, 1:] - nodes[:, :-1])
        passed = passed.clamp(0, 1)
        one, zero = torch.ones_like(passed[..., :1]), torch.zeros_like(passed[..., :1])
        return torch.cat([one, passed], dim=-1) - torch.cat([passed, zero], dim=-1)


def _weighted_quantiles(values: Tensor, weight: Tensor, probabilities: Sequence[float]) -> Tensor:
    """Return quantiles of values (N,) under each column of weight (N, K), shape (K, Q)."""
    order = values.argsort()
    values, weight = values[order], weight[order]
    total = weight.cumsum(dim=0)
    middle = ((total - 0.5 * weight) / total[-1]).T.contiguous()
    wanted = torch.tensor(probabilities, dtype=values.dtype, device=values.device)
    at = torch.searchsorted(middle, wanted.expand(len(middle), -1).contiguous())
    return values[at.clamp(max=len(values) - 1)]
