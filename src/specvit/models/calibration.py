"""Recalibration of stated errors: what a network says of its errors, corrected by what they turned out to be.

A histogram of 64 bins cannot be sharper than a bin, and a training that ends early is not sharp yet. Held-out
spectra show by how much, as a function of the noise level and of the stated error among spectra of that level:
errors below a bin are all stated as about a bin, so that only the noise still tells sharp from sharper.
Estimates (means) are left as they are.
Source: Kuleshov, Fenner & Ermon 2018, ICML (recalibration of quantiles), here conditional on error and noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

#: Shares of the spectra, by noise level, around which the correction is tabulated; linear in the level between.
LEVELS = (0.02, 0.14, 0.28, 0.43, 0.57, 0.72, 0.86, 0.98)

#: Shares of the spectra near each of these levels, by stated error, likewise; linear in ln error between.
#: Being shares of what is there, no cell of the table is empty. (More nodes gained nothing for 70,000 spectra;
#: nor did a cubic instead of a linear cumulative inside the bins.)
ERRORS = (0.02, 0.2, 0.4, 0.6, 0.8, 0.98)

#: Spectra of all levels and errors that every cell counts beside its own: what few spectra cannot show, all do.
#: (30 would steady the fit to 1,500 spectra by a fifth, and spoil that to 20,000.)
PRIOR = 5.0


class Calibration(nn.Module):
    """Correction of errors and quantiles per label, the identity until it is fitted.

    Args:
        labels: P.
        probabilities: the Q probabilities at which quantiles are stated.
    """

    level: Tensor
    log_std: Tensor
    share: Tensor
    scale: Tensor

    def __init__(self, labels: int, probabilities: Sequence[float]) -> None:
        super().__init__()
        self.probabilities = tuple(probabilities)
        cells = (labels, len(LEVELS), len(ERRORS))
        self.register_buffer("level", torch.arange(len(LEVELS)).double())
        self.register_buffer("log_std", torch.arange(len(ERRORS)).double().expand(cells).clone())
        self.register_buffer("share", torch.tensor(probabilities).double().repeat(*cells, 1))
        self.register_buffer("scale", torch.ones(cells).double())

    @torch.no_grad()
    def fit(self, error: Tensor, std: Tensor, level: Tensor, below: Tensor | None) -> Self:
        """Set the correction from N held-out spectra.

        Args:
            error: truth minus estimate, shape (N, P).
            std: the stated error, shape (N, P), > 0.
            level: how noisy the spectra are, on any scale, shape (N,).
            below: the stated probability below the truth, shape (N, P); None if only errors are stated.
        """
        level = level.double()
        shares = torch.tensor(LEVELS, dtype=torch.float64, device=level.device)
        near = _near(level, torch.quantile(level, shares))
        # What a cell says belongs to the middle of its spectra, which lies inwards of the outermost nodes.
        self.level.copy_(_increasing(_centroids(level, near)))
        for label in range(std.shape[1]):
            log_std = std[:, label].double().log()
            nodes = _weighted_quantiles(log_std, near, ERRORS)
            weight = (near[..., None] * _near(log_std[:, None], nodes)).flatten(1)
            self.log_std[label] = _increasing(_centroids(log_std, weight).view_as(nodes))
            weight += PRIOR / len(near)
            ratio = (error[:, label].double() / std[:, label].double()).square()
            scale = ((weight * ratio[:, None]).sum(dim=0) / weight.sum(dim=0)).sqrt()
            self.scale[label] = scale.view_as(self.scale[label])
            if below is not None:
                share = _weighted_quantiles(below[:, label].double(), weight, self.probabilities)
                self.share[label] = share.view_as(self.share[label])
        return self

    def std(self, std: Tensor, level: Tensor) -> Tensor:
        """Return corrected errors, shape (B, P), for stated ones (B, P) at noise levels (B,)."""
        return std * torch.einsum("bpc,pc->bp", self._weights(std, level), self.scale.flatten(1))

    def corrected(self, std: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Return corrected errors (B, P), and the stated probabilities at which the true quantiles lie (B, P, Q).

        The probabilities never fall along Q.
        """
        table = torch.cat([self.scale[..., None], self.share], dim=-1).flatten(1, 2)
        found = torch.einsum("bpc,pcq->bpq", self._weights(std, level), table)
        return std * found[..., 0], found[..., 1:]

    def _weights(self, std: Tensor, level: Tensor) -> Tensor:
        """Return what each cell counts, shape (B, P, levels x errors); the sum over cells is 1."""
        by_level = _hat(level.double(), self.level)
        return (by_level[:, None, :, None] * _hat(std.double().log()[..., None], self.log_std)).flatten(2)


def _hat(values: Tensor, nodes: Tensor) -> Tensor:
    """Return weights of linear interpolation between nodes (..., K), shape (..., K); constant beyond the ends."""
    passed = ((values[..., None] - nodes[..., :-1]) / nodes.diff(dim=-1)).clamp(0, 1)
    one, zero = torch.ones_like(passed[..., :1]), torch.zeros_like(passed[..., :1])
    return torch.cat([one, passed], dim=-1) - torch.cat([passed, zero], dim=-1)


def _near(values: Tensor, nodes: Tensor) -> Tensor:
    """Return how much each of the values counts at each of the nodes (..., K), shape (..., K).

    Nodes at one value have the same spectra: a level beyond those of the training is bounded, and many are at the bound.
    """
    first = (nodes[..., :, None] > nodes[..., None, :]).sum(dim=-1)
    # None may be near a node; it takes all of them then.
    hat = _hat(values, _increasing(nodes)) + 1e-9
    return hat.gather(-1, first.expand_as(hat))


def _increasing(nodes: Tensor) -> Tensor:
    """Return nodes (..., K) that increase even where they did not."""
    return nodes.cummax(dim=-1).values + 1e-9 * torch.arange(nodes.shape[-1], device=nodes.device)


def _centroids(values: Tensor, weight: Tensor) -> Tensor:
    """Return the means of values (N,) under each column of weight (N, K), shape (K,)."""
    return (values @ weight) / weight.sum(dim=0)


def _weighted_quantiles(values: Tensor, weight: Tensor, probabilities: Sequence[float]) -> Tensor:
    """Return quantiles of values (N,) under each column of weight (N, K), shape (K, Q).

    Ranks are those of Weibull, k / (N + 1): between two quantiles lies, in expectation, exactly the stated share of
    further values, however few there were.
    """
    order = values.argsort()
    values, weight = values[order], weight[order]
    total = weight.cumsum(dim=0)
    # The last sum stands for N, the mean weight of what was counted for 1.
    rank = (total / (total[-1] + weight.square().sum(dim=0) / total[-1])).T.contiguous()
    wanted = torch.tensor(probabilities, dtype=values.dtype, device=values.device)
    wanted = wanted.expand(len(rank), -1).contiguous()
    above = torch.searchsorted(rank, wanted).clamp(1, len(values) - 1)
    lower, upper = rank.gather(1, above - 1), rank.gather(1, above)
    fraction = ((wanted - lower) / (upper - lower).clamp(min=1e-300)).clamp(0, 1)
    return torch.lerp(values[above - 1], values[above], fraction)
