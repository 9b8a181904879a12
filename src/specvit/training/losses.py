"""Losses on scaled labels. A label that is unknown (NaN) contributes nothing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from specvit.models.heads import LOG_VARIANCE_RANGE, Head, unit_factor

#: Where the Huber loss turns from square to absolute value, in scaled labels.
#: Huber 1964, Ann. Math. Stat. 35, 73, has it in units of the noise.
HUBER_DELTA = 0.5


def training_loss(name: str, head: Head, raw: Tensor, labels: Tensor) -> Tensor:
    """Return the mean loss over spectra and labels, a scalar.

    Args:
        name: one of `recipe.LOSSES` for the kind of `head`.
        head: gives the label scaling and the bins.
        raw: outputs, shape (B, P, outputs).
        labels: in their units, shape (B, P); NaN where unknown.
    """
    target = head.labels_scaling.to_scaled(labels)
    known = torch.isfinite(target)
    # Replaced before the loss: a NaN that is only left out afterwards still spoils the gradient.
    # An unknown label is taken to be as estimated: of a joint head, the others are then judged as if it were known.
    each = _ELEMENTS[name](head, raw, torch.where(known, target, raw[..., 0].detach()))
    # A batch that knows no label has loss 0, not 0 / 0.
    return torch.where(known, each, 0.0).sum() / known.sum().clamp(min=1)


def _mse(head: Head, raw: Tensor, target: Tensor) -> Tensor:
    return (raw[..., 0] - target).square()


def _l1(head: Head, raw: Tensor, target: Tensor) -> Tensor:
    return (raw[..., 0] - target).abs()


def _huber(head: Head, raw: Tensor, target: Tensor) -> Tensor:
    return F.huber_loss(raw[..., 0], target, reduction="none", delta=HUBER_DELTA)


def _nll(head: Head, raw: Tensor, target: Tensor) -> Tensor:
    """Return the Gaussian negative log-likelihood without its constant: (ln s² + (y - μ)²/s²) / 2.

    Source: Nix & Weigend 1994, IEEE ICNN (a network that states mean and variance).
    """
    log_variance = raw[..., 1].clamp(*LOG_VARIANCE_RANGE)
    return 0.5 * (log_variance + (raw[..., 0] - target).square() * (-log_variance).exp())


def _joint(head: Head, raw: Tensor, target: Tensor) -> Tensor:
    """Return the negative log-likelihood of all labels together, as one term per label given those before it.

    Source: Dorta et al. 2018, CVPR (a network that states a covariance by its Cholesky factor).
    """
    log_variance = raw[..., 1].clamp(*LOG_VARIANCE_RANGE)
    independent = (unit_factor(raw) @ (target - raw[..., 0])[..., None])[..., 0]
    return 0.5 * (log_variance + independent.square() * (-log_variance).exp())


def _faithful(head: Head, raw: Tensor, target: Tensor) -> Tensor:
    """Return MSE for the mean plus the likelihood of the variance given that mean.

    The mean is fitted as if there were no variance output, so that asking for errors costs no accuracy.
    Source: Stirn et al. 2023, AISTATS ("Faithful heteroscedastic regression").
    """
    detached = torch.stack([raw[..., 0].detach(), raw[..., 1]], dim=-1)
    return _mse(head, raw, target) + _nll(head, detached, target)


def _ordinal(head: Head, raw: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy of the bin that holds the label; labels out of range go to the end bins."""
    inner = head.edges[:, 1:-1]
    index = (target[..., None] >= inner).sum(dim=-1)
    # PyTorch wants the classes on axis 1.
    return F.cross_entropy(raw.transpose(1, 2), index, reduction="none")


_ELEMENTS = {
    "mse": _mse,
    "l1": _l1,
    "huber": _huber,
    "nll": _nll,
    "faithful": _faithful,
    "joint": _joint,
    "ordinal": _ordinal,
}
